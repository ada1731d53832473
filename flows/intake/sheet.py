"""A lab sheet into the ledger: everything is planned and checked against the table of states before the first write.

The plan is made from what the ledger holds now, so a sheet that was interrupted between two writes is finished by taking it
in again: what is done already is not in the new plan. The sheet is registered last; a registered sheet changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.trial import FIRST_STATE, TRANSITIONS, SubjectId, next_state, read_id
from flows.intake import cells, tables, times, typed
from flows.intake import done as really
from flows.intake.cells import Cell
from flows.intake.kept import Kept, Taken, called, limits
from flows.session import Session, now
from ingest import SheetContent, SheetRow, read_sheet

_BEGUN = ("mixing", "testing", "completed")
_TIMES = {"mixed_at": "mixed at", "started_at": "started at", "stopped_at": "stopped at"}
_TYPED_TOLERANCE = 0.01
"""A typed value within 1 % of the cycler's is the same value rounded."""


def take(session: Session, file: Kept, by: str) -> Taken:
    """Take in a filled or half-filled sheet, again and again.

    Raises:
        Refusal: anything in it is wrong, with row and column; nothing of it is taken then.
    """
    files = session.ledger.files(session.name)
    if files["sha256"].eq(file.sha256).any():
        return Taken(f"{file.name}: was taken in before; nothing has changed")
    asked = session.ledger.trials(session.name, recipe="asked")
    with called({file.sha256: file.name}):
        sheet = read_sheet(file.path, known_trials=asked[asked["evaluator"].eq("lab")], limits=limits())
        plan = _Plan(session, sheet, file.name, by)
    for step in plan.steps:
        step()
    for trial in {row.trial for row in sheet.rows if row.done}:
        cells.share_follows(session.ledger, trial, by=by, at=now())
    session.ledger.register_file(
        session.name, file.sha256, name=file.name, size=file.size, at=now(), by=by, details={"kind": "sheet"}
    )
    trials = tuple(dict.fromkeys(row.trial for row in sheet.rows))
    count = len(sheet.rows)
    said = (
        f"{file.name}: {count} row{'s' * (count != 1)} of {len(trials)} trial{'s' * (len(trials) != 1)} taken in"
        if trials
        else f"{file.name}: nothing is filled in yet"
    )
    notes = [f.sentence.replace(file.sha256, file.name) for f in sheet.findings if f.level != "ok"] + plan.notes
    flagged = any(f.level == "flag" for f in sheet.findings)
    return Taken(said, trials, tuple(notes), flagged=flagged)


@dataclass
class _Known:
    """A mix or cell as it will stand when the steps planned so far are done."""

    id: str
    state: str
    values: dict[str, Any]
    """Mix: `recipe_done`, `details`; cell: `channel`, `active_mass_mg`, `area_cm2`, `details`."""


class _Plan:
    """The writes that a sheet asks for, in order; made in full, with every change of state checked, before any is done."""

    def __init__(self, session: Session, sheet: SheetContent, name: str, by: str) -> None:
        self.session, self.ledger, self.by, self.name = session, session.ledger, by, name
        self.steps: list[Callable[[], Any]] = []
        self.notes: list[str] = []
        self.stamp = f"sheet {sheet.sha256} after {session.ledger.seq}"
        self.trials = session.ledger.trials(session.name)["state"].to_dict()
        self.provenance = session.ledger.trials(session.name)["provenance"].to_dict()
        self.mixes = {
            str(i): _Known(str(i), str(r["state"]), {n: json.loads(r[n] or "{}") for n in ("recipe_done", "details")})
            for i, r in session.ledger.mixes(session.name).iterrows()
        }
        self.cells = {
            str(i): _Known(
                str(i),
                str(r["state"]),
                {
                    "channel": None if pd.isna(r["channel"]) else str(r["channel"]),
                    "active_mass_mg": cells.number(r["active_mass_mg"]),
                    "area_cm2": cells.number(r["area_cm2"]),
                    "details": json.loads(r["details"] or "{}"),
                },
            )
            for i, r in session.ledger.cells(session.name).iterrows()
        }
        self.cycling = session.ledger.cycling(session.name, with_excluded=True)
        results = session.ledger.results(session.name, with_excluded=True)
        self.measured = {
            *self.cycling["trial"],
            *results["trial"],
            *(row.trial for row in sheet.rows if row.outcome or row.powder),
        }
        self.powder: dict[tuple[str, str], tuple[float, int]] = {}
        self.tested: dict[int, _Known] = {}
        self.rows_of = Counter(row.trial for row in sheet.rows)
        for part in (self._row, self._end_cell, self._end_trial):  # a trial ends when all its cells are known
            for row in sheet.rows:
                self.place = f"{name}, row {row.row}"
                try:
                    part(row)
                except Refusal as refusal:
                    text = str(refusal)
                    raise Refusal(text if text.startswith(self.place) else f"{self.place}: {text}") from None
        self.notes += self._shared_channels()

    def _shared_channels(self) -> list[str]:
        """Two cells that run on one channel: one of the two is over, or the channel is mistyped."""
        mine = {cell.id for cell in self.tested.values()}
        holders: dict[str, list[str]] = {}
        for cell in self.cells.values():
            if cell.state == "running" and pd.notna(cell.values["channel"]):
                holders.setdefault(str(cell.values["channel"]), []).append(cell.id)
        return [
            f"{self.name}: {' and '.join(cells)} run on channel {channel} at once; is one of them stopped, or a channel mistyped?"
            for channel, cells in holders.items()
            if len(cells) > 1 and mine.intersection(cells)
        ]

    # ---- one row ---------------------------------------------------------------------------------------------------
    def _row(self, row: SheetRow) -> None:
        for name, said in {**row.mix, **row.cell}.items():
            if name in _TIMES:
                times.refuse_future(datetime.fromisoformat(str(said)), f"column {_TIMES[name]!r}")
        told = row.done or row.mix or row.powder or row.cell or row.outcome
        if told or row.state in _BEGUN:
            mix = self._mix(row)
            self._powder(mix, row)
            if row.cell or row.outcome or row.state == "testing" or (row.state == "completed" and not row.powder):
                cell = self._cell(mix, row)
                self._typed(cell, row)
                self.tested[row.row] = cell
        elif row.note and row.state not in ("failed", "abandoned"):
            self._note(row)

    def _end_cell(self, row: SheetRow) -> None:
        cell, stopped = self.tested.get(row.row), row.cell.get("stopped_at")
        if cell is None:
            return
        if row.state == "completed" and cell.state in TRANSITIONS["cell"]["complete"]:
            self._move("cell", cell, "complete", row, at=stopped)
        elif row.state == "failed" and cell.state != "failed":
            self._move("cell", cell, "fail", row, why=row.note or f"so says {self.name}")
        elif stopped and cell.state in TRANSITIONS["cell"]["stop"]:
            self._move("cell", cell, "stop", row, at=stopped)

    def _end_trial(self, row: SheetRow) -> None:
        """A trial ends when no cell of it is under test any more; without a cell, as its row says."""
        states = [cell.state for cell in self.cells.values() if read_id(cell.id).trial == row.trial]
        if row.state == "abandoned":
            self._trial_move(row, "abandon", "abandoned")
        elif row.state not in ("completed", "failed") or any(state in ("planned", "running") for state in states):
            return
        elif row.state == "failed" and all(state == "failed" for state in states):
            self._trial_move(row, "fail", "failed")
        elif self.trials[row.trial] in TRANSITIONS["trial"]["complete"]:
            self._trial_move(row, "complete", "completed")
            if row.trial not in self.measured:
                self.notes.append(
                    f"{self.place}: {row.trial} counts as completed, but nothing measured of it is here yet; hand in its file"
                )

    # ---- mixes -----------------------------------------------------------------------------------------------------
    def _mix(self, row: SheetRow) -> _Known:
        """The mix of a row, planned as mixed or as corrected."""
        mix = self._which_mix(row)
        said = {"recipe_done": dict(row.done), "details": dict(row.mix)}
        at, by = row.mix.get("mixed_at"), str(row.mix.get("mixed_by") or self.by)
        new = {
            column: mix.values[column] | values
            for column, values in said.items()
            if mix.values[column] | values != mix.values[column]
        }
        mix.values |= new
        if new:
            self._check_done(mix, row)
        if mix.state == "planned":
            mix.state = next_state("mix", mix.state, "mix", name=mix.id)
            self.trials[row.trial] = next_state("trial", self.trials[row.trial], "mix", name=row.trial)
            done, details = dict(mix.values["recipe_done"]), dict(mix.values["details"])
            self._add(
                lambda key: self.ledger.mixed(mix.id, recipe_done=done, details=details, key=key, at=_when(at), by=by)
            )
        elif new:
            # What the trial's recipe really was is learned from the trial; the mix keeps it with its masses and lots.
            trial = {row.trial: {"recipe_done": dict(new["recipe_done"])}} if "recipe_done" in new else {}
            changes = {mix.id: {name: dict(value) for name, value in new.items()}, **trial}
            self._add(
                lambda key: self.ledger.amend(
                    why=f"so says {self.name}", subjects=changes, key=key, at=now(), by=self.by
                )
            )
        return mix

    def _check_done(self, mix: _Known, row: SheetRow) -> None:
        """Refuse what the chooser could not learn from; ask about what is far from the campaign."""
        said = really.check(self.ledger.trial(row.trial), row.done, self.session.space.parameters)
        said += really.batch_doubts(mix.id, mix.values["details"], self.session.spec.lab.batch_mass_g)
        self.notes += [f"{self.place}: {text}" for text in said]

    def _which_mix(self, row: SheetRow) -> _Known:
        """By the row's cell where it is known; else the mix whose record the row agrees with.

        Another time of mixing is another mix, except where the one batch of the trial still waits for a cell and the one row
        of it says another time: a date is mistyped more often than a batch is thrown away unseen.
        """
        cell = self._find_cell(row)
        if cell is not None:
            return self.mixes[read_id(cell.id).mix]
        mine = [mix for mix in self.mixes.values() if read_id(mix.id).trial == row.trial]
        for mix in mine:
            if _agrees(mix.values["details"], row.mix) and _agrees(mix.values["recipe_done"], row.done):
                return mix
        started = row.mix.get("mixed_at")
        same = [mix for mix in mine if started is None or mix.values["details"].get("mixed_at") in (None, started)]
        if same:
            return same[-1]
        waits = not any(read_id(cell).trial == row.trial for cell in self.cells)
        if len(mine) == 1 and mine[0].state == "mixed" and waits and self.rows_of[row.trial] == 1:
            before, after = mine[0].values["details"]["mixed_at"], str(started)
            self.notes.append(
                f"{self.place}: {mine[0].id} was mixed at {_local(after)}, not at {_local(before)}: corrected"
            )
            return mine[0]
        number = max((read_id(mix.id).mix_number for mix in mine), default=0) + 1
        name = str(SubjectId(read_id(row.trial).trial_number, number))
        if mine:
            self.notes.append(
                f"{self.place}: counted as a second batch {name}, as it was mixed at another time than {mine[-1].id}; if it is "
                f"none: mixwright exclude CAMPAIGN {name} --why '…'"
            )
        self.mixes[name] = _Known(name, FIRST_STATE["mix"], {"recipe_done": {}, "details": {}})
        return self.mixes[name]

    # ---- cells -----------------------------------------------------------------------------------------------------
    def _find_cell(self, row: SheetRow) -> _Known | None:
        label = str(row.cell.get("cell_id", ""))
        mine = [cell for cell in self.cells.values() if read_id(cell.id).trial == row.trial]
        for cell in mine:
            if label and (cell.values["details"].get("label") == label or cell.id == _as_id(label)):
                return cell
        nameless = [cell for cell in mine if "label" not in cell.values["details"]]
        return nameless[0] if len(mine) == len(nameless) == 1 and _as_id(label) is None else None

    def _cell(self, mix: _Known, row: SheetRow) -> _Known:
        """The cell of a row, planned as started or as corrected."""
        cell = self._find_cell(row) or self._new_cell(mix, row)
        said: dict[str, Any] = {
            name: row.cell[name] for name in ("channel", "active_mass_mg", "area_cm2") if name in row.cell
        }
        details = {name: row.cell[name] for name in ("file", "started_at", "stopped_at") if name in row.cell}
        label = str(row.cell.get("cell_id", ""))
        details |= {"label": label} if label and _as_id(label) is None else {}
        details |= {"note": row.note} if row.note else {}
        new = {name: value for name, value in said.items() if cell.values[name] != value}
        if cell.values["details"] | details != cell.values["details"]:
            new["details"] = cell.values["details"] | details
        cell.values |= new
        when = cell.values["details"]
        times.refuse_disorder(
            cell.id,
            mixed=times.read(mix.values["details"].get("mixed_at")),
            started=times.read(when.get("started_at")),
            stopped=times.read(when.get("stopped_at")),
        )
        if cell.state == "planned":
            cell.state = next_state("cell", cell.state, "start", name=cell.id)
            self.trials[row.trial] = next_state("trial", self.trials[row.trial], "start", name=row.trial)
            values = {name: value for name, value in cell.values.items() if value}
            at = row.cell.get("started_at")
            self._add(lambda key: self.ledger.start(cell.id, key=key, at=_when(at), by=self.by, **values))
            self._area_follows(cell)
        elif new:
            changes = dict(new)
            self.notes += cells.doubts_with(self.session, cells.cell_of(self.session, cell.id), changes)
            self._add(
                lambda key: cells.tell(
                    self.ledger, cell.id, changes, key=key, by=self.by, at=now(), why=f"so says {self.name}"
                )
            )
        return cell

    def _area_follows(self, cell: _Known) -> None:
        """What a file brought in mAh before the area was known."""
        area = cell.values["area_cm2"]
        if area and self.cycling["subject"].eq(cell.id).any():
            self._add(
                lambda key: cells.tell(
                    self.ledger,
                    cell.id,
                    {"area_cm2": area},
                    key=key,
                    by=self.by,
                    at=now(),
                    why="the area is known now",
                )
            )

    def _new_cell(self, mix: _Known, row: SheetRow) -> _Known:
        named = _as_id(str(row.cell.get("cell_id", "")))
        if named is not None:
            if read_id(named).trial != row.trial:
                raise Refusal(f"cell id {named} is no cell of trial {row.trial}; give the cell a name of your own")
            name = named
        else:
            mine = [read_id(cell).cell_number for cell in self.cells if read_id(cell).mix == mix.id]
            made = read_id(mix.id)
            name = str(SubjectId(made.trial_number, made.mix_number, max(mine, default=0) + 1))
        empty: dict[str, Any] = {"channel": None, "active_mass_mg": None, "area_cm2": None, "details": {}}
        self.cells[name] = _Known(name, FIRST_STATE["cell"], empty)
        return self.cells[name]

    # ---- results ---------------------------------------------------------------------------------------------------
    def _powder(self, mix: _Known, row: SheetRow) -> None:
        for name, value in row.powder.items():
            before = self.powder.setdefault((mix.id, name), (float(value), row.row))
            if before[0] != float(value):
                raise Refusal(
                    f"{name} of {mix.id} is {value:g} here and {before[0]:g} in row {before[1]}; one mix has one value"
                )
        values = {name: float(value) for name, value in row.powder.items()}
        if tables.powder_differs(self.session, mix.id, values):
            self._add(
                lambda key: tables.record_powder(self.session, mix.id, values, self.by, key, f"so says {self.name}")
            )

    def _typed(self, known: _Known, row: SheetRow) -> None:
        if not row.outcome:
            return
        facts = {name: known.values[name] for name in ("active_mass_mg", "area_cm2") if known.values[name]}
        trial = self.ledger.trial(row.trial)
        cell = Cell(known.id, known.state, None, None, known.values["details"], trial)
        new = typed.rows(row.outcome, cell, facts, self.place)
        self.notes += cells.refuse_impossible(
            new, cells.facts_of(self.session, cell, facts), cells.loading_mg_cm2(cell, facts), self.place
        )
        standing = self.cycling[self.cycling["subject"].eq(known.id)].set_index("cycle")
        fresh, changed = [], []
        for position, values in enumerate(new.to_dict("records")):
            if values["cycle"] not in standing.index:
                fresh.append(position)
                continue
            old = standing.loc[values["cycle"]]
            wrong = [
                n
                for n in values
                if n not in ("subject", "cycle", "flags") and pd.notna(values[n]) and values[n] != old[n]
            ]
            if wrong and pd.notna(old["file"]):
                self._keep_the_files(values, old, str(wrong[0]))
            elif wrong:
                changed.append(position)
        self._write_typed(new.iloc[fresh], new.iloc[changed])

    def _keep_the_files(self, values: Mapping[Any, Any], old: pd.Series, column: str) -> None:
        if not abs(values[column] - old[column]) <= _TYPED_TOLERANCE * abs(old[column]):
            self.notes.append(
                f"{self.place}: cycle {values['cycle']} was typed as {values[column]:.4g}, the cycler's file says "
                f"{old[column]:.4g}; the file stands (to change it: mixwright amend)"
            )

    def _write_typed(self, fresh: pd.DataFrame, changed: pd.DataFrame) -> None:
        if len(fresh):
            self._add(lambda key: self.ledger.record(cycling=fresh, key=key, at=now(), by=self.by))
        if len(changed):
            why = f"{self.name} says another value"
            self._add(lambda key: self.ledger.amend(cycling=changed, why=why, key=key, at=now(), by=self.by))

    # ---- states and notes ------------------------------------------------------------------------------------------
    def _trial_move(self, row: SheetRow, verb: str, target: str) -> None:
        if self.trials[row.trial] == target:
            return
        self.trials[row.trial] = next_state("trial", self.trials[row.trial], verb, name=row.trial)
        why = row.note or f"so says {self.name}"
        self._add(lambda key: getattr(self.ledger, verb)(row.trial, key=key, at=now(), by=self.by, why=why))

    def _move(
        self, kind: str, known: _Known, verb: str, row: SheetRow, *, at: Any = None, why: str | None = None
    ) -> None:
        known.state = next_state(kind, known.state, verb, name=known.id)
        more = {"why": why or row.note or None}
        self._add(lambda key: getattr(self.ledger, verb)(known.id, key=key, at=_when(at), by=self.by, **more))

    def _note(self, row: SheetRow) -> None:
        known = json.loads(self.provenance[row.trial] or "{}")
        if known.get("note") != row.note:
            new = {row.trial: {"provenance": known | {"note": row.note}}}
            self._add(
                lambda key: self.ledger.amend(why=f"noted in {self.name}", subjects=new, key=key, at=now(), by=self.by)
            )

    def _add(self, step: Callable[[str], Any]) -> None:
        key = f"{self.stamp} step {len(self.steps)}"
        self.steps.append(lambda: step(key))


def _agrees(known: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    return all(known.get(name, value) == value for name, value in said.items())


def _as_id(label: str) -> str | None:
    """A label that is one of our ids, as we write it."""
    try:
        named = read_id(label)
    except Refusal:
        return None
    return str(named) if named.kind == "cell" else None


def _local(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M}"


def _when(at: Any) -> datetime:
    return now() if not at else datetime.fromisoformat(str(at))

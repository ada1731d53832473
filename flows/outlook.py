"""What a running cell promises: its capacity at the cycle that counts, foreseen from the curve so far and stored with it.

The laws from early to late capacity are those of `surrogate.readouts`, taught by every cell on its way. A prediction is a
result of its own (`predicted_discharge_areal_capacity`, provenance `predicted`), so it is never mixed up with what was
measured; it names the file and the cycle that it was made from, and is made once for each.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd

from campaign import outcome
from flows import batches, evidence, under_test
from flows.session import Session, now, who

if TYPE_CHECKING:
    from review.plots import Plot

OBSERVABLE = "predicted_discharge_areal_capacity"
_BAND_DRAWS = 64
_Z95 = 1.6448536


@dataclass(frozen=True)
class Foreseen:
    """One prediction: capacity per cm2 of a cell at the target cycle, made from its first `made_from` cycles."""

    cell: str
    target: int
    made_from: int
    mean: float
    p05: float
    p95: float

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.cell}: {self.made_from} of {self.target} cycles; expected at cycle {self.target}: {self.mean:.3g} mAh/cm2 "
            f"(90 %: {self.p05:.3g} to {self.p95:.3g})"
        )


def target_cycle(session: Session) -> int | None:
    """The cycle that the objective speaks of."""
    return outcome.cycle_of(session.spec.objective.outcome)


def foresee(session: Session) -> list[Foreseen]:
    """Predict every running cell that has news, and store what was predicted.

    Returns:
        The predictions that were made now.
    """
    target = target_cycle(session)
    if target is None or session.spec.evaluator != "lab":
        return []
    reader = session.reader
    cells = [cell for cell in under_test.cells(session, reader) if len(cell.discharge)]
    running = [i for i, cell in enumerate(cells) if cell.state == "running" and len(cell.discharge) < target]
    known = {(old.cell, old.made_from) for old in foreseen(session)}
    new = [i for i in running if (cells[i].number, len(cells[i].discharge)) not in known]
    if not new:
        return []
    record = reader.cycling(session.name)
    finished = sum(len(cell.discharge) >= target for cell in cells)
    look = under_test.early(session, cells).outlook(cells, target)
    made = []
    for i in new:
        mean, reach, count = float(look.mean[i]), _Z95 * float(look.sd[i]), len(cells[i].discharge)
        ends = math.exp(mean), math.exp(mean - reach), math.exp(mean + reach)
        found = Foreseen(str(cells[i].number), target, count, *ends)
        _store(session, found, record, learned_from=finished)
        made.append(found)
    return made


def foreseen(session: Session) -> list[Foreseen]:
    """Every stored prediction, oldest first."""
    results = session.ledger.results(session.name)
    mine = results[results["observable"].eq(OBSERVABLE)]
    return [_read(row) for row in mine.to_dict("records")]


def latest(session: Session) -> list[Foreseen]:
    """The newest prediction of each cell that still runs, if it was made from all that is known of the cell by now."""
    known = {c.number: len(c.discharge) for c in under_test.cells(session, session.reader) if c.state == "running"}
    newest = {found.cell: found for found in foreseen(session) if found.made_from == known.get(found.cell)}
    return list(newest.values())


def _read(row: dict[Any, Any]) -> Foreseen:
    note = json.loads(row["note"])
    return Foreseen(
        str(row["subject"]), int(row["cycle"]), int(note["made_from"]), float(row["value"]), note["p05"], note["p95"]
    )


def _store(session: Session, found: Foreseen, record: pd.DataFrame, *, learned_from: int) -> None:
    mine = record[record["subject"].eq(found.cell) & record["cycle"].eq(found.made_from)]
    note = {
        "made_from": found.made_from,
        "p05": found.p05,
        "p95": found.p95,
        "model": f"mixwright {version('mixwright')} laws between readouts, {learned_from} finished cells",
        "result_seq": int(mine["seq"].iloc[0]),
    }
    row = {
        "subject": found.cell,
        "observable": OBSERVABLE,
        "unit": "mAh/cm2",
        "value": found.mean,
        "cycle": found.target,
        "provenance": "predicted",
        "file": mine["file"].iloc[0],
        "note": json.dumps(note),
    }
    key = f"foresee {found.cell} at {found.target} from cycle {found.made_from} of write {note['result_seq']}"
    session.ledger.record(results=pd.DataFrame([row]), key=key, at=now(), by=who())


def picture(session: Session) -> Plot:
    """Draw the cells under test: curve so far, the model's band, and the newest stored prediction."""
    from review.plots.running import running_cells

    cells = session.ledger.cells(session.name)
    record = session.ledger.cycling(session.name)
    own = record[record["subject"].isin(cells.index[cells["state"].eq("running")])]
    curves = own.rename(columns={"subject": "cell"})[["cell", "cycle", "discharge_areal_capacity_mAh_cm2"]].dropna()
    told = pd.DataFrame(
        [(found.cell, found.target, found.mean, found.p05, found.p95) for found in latest(session)],
        columns=["cell", "cycle", "mean", "p05", "p95"],
    )
    owner = own.drop_duplicates("subject").set_index("subject")["trial"]
    return running_cells(curves.reset_index(drop=True), _band(session, owner), told)


def _band(session: Session, owner: pd.Series) -> pd.DataFrame:
    """The physics' 90 % band of each cell as its own batch was mixed and it was loaded; none where it makes no prediction."""
    from models import limits
    from models.simulate import simulate

    empty = pd.DataFrame(columns=["cell", "cycle", "p05", "p95"])
    if owner.empty:
        return empty
    reader = session.reader
    mixed = batches.as_mixed(reader, session.name, reader.trials(session.name), owner)
    mixed[evidence.LOADING] = evidence.own_loading(reader.cells(session.name), mixed)
    designs = evidence.complete_designs(mixed)
    told = limits.refusals(designs, materials=session.materials)
    designs = designs[[sentence is None for sentence in told]]
    if designs.empty:
        return empty
    drawn = simulate(
        designs, fidelity="quick", draws=_BAND_DRAWS, seed=session.spec.seed, materials=session.materials
    ).outcome
    rows = []
    for cell in drawn.index:
        for name in drawn.columns:
            cycle = outcome.cycle_of(name)
            if cycle and name == f"discharge_areal_capacity_cycle_{cycle}_mAh_cm2" and f"{name}_p05" in drawn:
                rows.append((cell, cycle, drawn.loc[cell, f"{name}_p05"], drawn.loc[cell, f"{name}_p95"]))
    return pd.DataFrame(rows, columns=empty.columns).dropna().sort_values(["cell", "cycle"], ignore_index=True)

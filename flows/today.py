"""The lab's list for today, in the order of work: what to stop, what to start, what to mix and when, which files are due.

Everything is read from the ledger; nothing is written. Cells are stopped by the advice that the last tick put on record for
this very evidence, or that is made now. How long a test should take is a bound, not a forecast: planned cycles
times twice the theoretical capacity over the current (the capacity that was measured, where there is a record); of the planned
cycles only those up to the last that counts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from campaign import outcome
from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS, complete
from flows import choose, outlook, under_test, unlearned
from flows.advice import Advice
from flows.intake import cells
from flows.mixer import mixer_slots
from flows.session import Session, now
from ingest.sheet_write import weighing_table
from store import Reader

FILE_EVERY = timedelta(days=7)
NEAR_MELTING_C = 15.0
"""A vessel predicted within this of the melting point is warned of; the model's temperature is not known better [est]."""
OVERDUE = 1.2
"""A test is called overdue beyond this multiple of the longest time that its cycles can take [est]."""

_HEATS = ("speed_rpm", "time_h", "premill_h", "premill_speed_rpm", "mixer", "ball_ratio", "duty")
"""Columns of a design that bear on the vessel's temperature."""
_SETTINGS = {
    "loading_mg_cm2": "loading {:.4g} mg/cm2",
    "current_mA_cm2": "current {:.4g} mA/cm2",
    "cycles": "{:.0f} cycles",
    "stack_pressure_MPa": "stack pressure {:.4g} MPa",
    "temperature_C": "{:.4g} degC",
    "anode": "anode {}",
}
"""How the settings of a cell are said."""


@dataclass(frozen=True)
class ToMix:
    """One batch to weigh and mix."""

    trial: str
    weigh_g: dict[str, float]
    speed_rpm: float
    net_h: float
    clock_h: float
    steps: tuple[str, ...]
    """Premilling and heating, where asked for."""
    slot: str
    """When to begin, on which mixer, and when it is done by the clock."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Today:
    """The list, each entry a sentence or a batch."""

    campaign: str
    stop: tuple[str, ...]
    """Cells whose test should end, why, and the chance that they could still be the best."""
    start: tuple[str, ...]
    """Batches to build a cell of, with those of its settings that the campaign varies, and on which channel."""
    mix: tuple[ToMix, ...]
    propose: tuple[str, ...]
    """Channels for which no trial is there yet."""
    awaited: tuple[str, ...]
    overdue: tuple[str, ...]
    unassigned: tuple[str, ...]
    running: tuple[str, ...]
    """What the cells under test promise, and that they run on; of some nothing is known yet."""
    look: tuple[str, ...]
    """Checks that ask for a person's look."""
    judged_by: str
    """What is expected of cells and of the best tried, with its unit; empty where no cell is judged yet."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def today(session: Session, at: datetime | None = None) -> Today:
    """Make the list as of a time (by default now)."""
    at = at or now()
    reader = session.reader
    advised = advice_now(session, reader)
    trials = reader.trials(session.name, recipe="asked")
    table = reader.cells(session.name)
    files = reader.files(session.name)
    own = trials[trials["evaluator"].eq("lab")]
    running = table[table["state"].eq("running")]
    stopping = [str(item.number) for item in advised if item.stop]
    return Today(
        campaign=session.name,
        stop=tuple(_stop(item, running) for item in advised if item.stop),
        start=tuple(_to_start(session, reader, advised, running, trials)),
        mix=tuple(_to_mix(session, own[own["state"].isin(["proposed", "issued"])], at)),
        propose=tuple(_to_propose(session, reader, own, advised)),
        awaited=tuple(_awaited(running, files, at)),
        overdue=tuple(_overdue(session, running[~running.index.isin(stopping)], at)),
        unassigned=tuple(cells.unassigned(session, reader)),
        running=tuple([*_running(session, advised), *_unjudged(reader, session, advised, running, at)]),
        look=tuple(_look(session, reader, files)),
        judged_by=_in_words(session.spec.objective.outcome) if advised else "",
    )


# ---- mixing --------------------------------------------------------------------------------------------------------
def _to_mix(session: Session, trials: pd.DataFrame, at: datetime) -> list[ToMix]:
    if trials.empty:
        return []
    designs = complete(trials[list(DESIGN_COLUMNS)])
    weighed = weighing_table(designs, session.spec.lab.batch_mass_g).set_index("trial")
    hot, unknown = _vessel_temperature_C(session, designs)
    slots = mixer_slots(weighed["time on the clock (h)"].astype(float), session.spec.lab, at)
    batches = []
    for trial, design in designs.iterrows():
        row: dict[str, Any] = {str(name): value for name, value in weighed.loc[str(trial)].items()}
        grams = {
            str(row[part]): float(row[f"{part} (g)"]) for part in ("active", "SSE", "carbon") if row[f"{part} (g)"] > 0
        }
        batches.append(
            ToMix(
                trial=str(trial),
                weigh_g=grams | {"balls": float(row["balls (g)"])},
                speed_rpm=float(design["speed_rpm"]),
                net_h=float(design["time_h"]),
                clock_h=float(row["time on the clock (h)"]),
                steps=tuple(
                    f"{word}: {row[name]}"
                    for word, name in (("premill", "premill (h at rpm)"), ("then heat", "heat after mixing"))
                    if row[name] != "none"
                ),
                slot=slots[str(trial)].sentence,
                warnings=(
                    *_outside(session, design),
                    *_warnings(session, design, hot.get(str(trial)), unknown.get(str(trial))),
                ),
            )
        )
    return batches


def _outside(session: Session, design: pd.Series) -> list[str]:
    """Say why the campaign file would not ask for this recipe any more: its space may have been edited since."""
    space = session.space
    if space.feasible(design.to_frame().T.infer_objects())[0]:
        return []
    gone = [f"{c.name} {design[c.name]} is no choice" for c in space.categories if design[c.name] not in c.choices]
    try:
        said = gone or space.objections(design)
    except Refusal as refusal:  # so far outside that nothing else can be asked of it
        said = [str(refusal)]
    return [
        f"{'; '.join(said)} in the campaign file as it is now; if this is not to be mixed: mixwright abandon "
        f"{session.loaded.path} {design.name} --why '…'"
    ]


def _warnings(session: Session, design: pd.Series, vessel_C: float | None, unknown: str | None) -> list[str]:
    said = []
    name = str(design["sse"])
    sulfide = session.materials.electrolyte(name).is_sulfide
    inert, frees = "weigh, mix and open under inert gas", "moist air frees H2S"
    if sulfide is None:
        said.append(f"nobody says whether {name} is a sulfide: {inert}; of a sulfide {frees}")
    else:
        said.append(f"sulfide electrolyte: {inert}; {frees}" if sulfide else f"{name} takes up moisture: {inert}")
    if str(design["active"]) in ("Se", "SeS2", "Te"):
        said.append(f"{design['active']} dust is toxic: closed containers, gloves")
    if str(design["active"]) == "none":
        return said
    if unknown is not None:
        said.append(f"the model knows no temperature of this vessel: {unknown}")
    if vessel_C is None:
        return said
    melts = session.materials.active(str(design["active"])).melting_point_C
    if vessel_C >= melts - NEAR_MELTING_C:
        said.append(
            f"the model expects {vessel_C:.0f} degC in the vessel; {design['active']} melts at {melts:.0f} degC: "
            "watch the temperature, or take longer rests"
        )
    return said


def _vessel_temperature_C(session: Session, designs: pd.DataFrame) -> tuple[dict[str, float], dict[str, str]]:
    """The model's vessel temperature by trial; and by trial why there is none, where a recipe leaves what the model knows."""
    from models.simulate import simulate

    designs = complete(
        designs[list(_HEATS)]
    )  # the rest as published: no cell setting may keep the vessel from being judged
    told = {trial: _refused(session, designs.loc[[trial]]) for trial in designs.index}
    unknown = {str(trial): sentence for trial, sentence in told.items() if sentence is not None}
    known = designs[[told[trial] is None for trial in designs.index]]
    if known.empty:
        return {}, unknown
    composite = simulate(known, fidelity="quick", materials=session.materials).composite
    if "vessel_temperature_C" not in composite:
        return {}, unknown
    return {str(trial): float(value) for trial, value in composite["vessel_temperature_C"].items()}, unknown


def _refused(session: Session, design: pd.DataFrame) -> str | None:
    """Say why the model makes no prediction of one recipe; None where it does."""
    from models import limits

    try:
        return limits.refusals(design, materials=session.materials)[0]
    except Refusal as no_recipe:
        return str(no_recipe)


# ---- testing -------------------------------------------------------------------------------------------------------
def advice_now(session: Session, reader: Reader) -> list[Advice]:
    """Advice for the evidence as it is: as stored by the last tick, else made now."""
    standing = under_test.stored(session, reader)
    if standing or not under_test.any_to_judge(session, under_test.cells(session, reader)):
        return standing
    return under_test.advise(session, reader, choose.chooser(session, reader))


def _stop(item: Advice, running: pd.DataFrame) -> str:
    where = _on_channel(running.loc[str(item.number), "channel"])
    return f"{item.number}{where}: {item.reason}; bring its last file, then: mixwright stop {item.number}"


def _on_channel(channel: Any) -> str:
    return f" on channel {channel}" if channel and channel == channel else ""


def _to_start(
    session: Session, reader: Reader, advised: list[Advice], running: pd.DataFrame, trials: pd.DataFrame
) -> list[str]:
    free = under_test.free_channels(session, reader)
    freed = [(running.loc[str(i.number), "channel"], str(i.number)) for i in advised if i.stop]
    owners, varied = reader.mixes(session.name)["trial"], [name for name in _SETTINGS if name in session.spec.space]
    said = []
    for mix in [*under_test.waiting_mixes(reader, session.name), *_unstarted(reader, session.name)]:
        build = f"{mix}: build a cell{_settings(trials.loc[owners[mix]], varied)}"
        if free:
            channel = free.pop(0)
            place = f"channel {channel}"
        elif freed:
            on, cell = freed.pop(0)
            where = _on_channel(on).removeprefix(" on ")
            channel = str(on) if where else "CHANNEL"
            place = f"{where} when {cell} is off it" if where else f"the channel of {cell} when that is off it"
        else:
            said.append(f"{build}; all {session.spec.lab.channels} channels are taken, so it waits")
            continue
        said.append(f"{build}, put it on {place}; then: mixwright start {mix}-C1 --channel {channel}")
    return said


def _settings(trial: pd.Series, varied: list[str]) -> str:
    """Say the settings of a cell that nobody can know by heart."""
    said = [_SETTINGS[name].format(trial[name]) for name in varied if pd.notna(trial[name])]
    return f" ({', '.join(said)})" if said else ""


def _unstarted(reader: Reader, campaign: str) -> list[str]:
    """Batches of open trials whose first cell is known and was not started: its start was taken back."""
    table, states = reader.cells(campaign), reader.trials(campaign)["state"]
    mixes = table[table["trial"].map(states).isin(["mixing", "testing"])].groupby("mix")["state"]
    return [str(mix) for mix, found in mixes if found.eq("planned").all()]


def _to_propose(session: Session, reader: Reader, own: pd.DataFrame, advised: list[Advice]) -> list[str]:
    """Say how many channels will have nothing to test when all that is planned is on its way."""
    batches = [*under_test.waiting_mixes(reader, session.name), *_unstarted(reader, session.name)]
    on_the_way = int(own["state"].isin(["proposed", "issued"]).sum()) + len(batches)
    lacking = len(under_test.free_channels(session, reader)) + sum(item.stop for item in advised) - on_the_way
    left = session.spec.budget.trials - int(own["planned"].astype(bool).sum())
    q = min(lacking, left)
    if session.spec.evaluator != "lab" or q <= 0:
        return []
    return [
        f"{lacking} channel{'s' * (lacking != 1)} will have nothing to test; {q} more recipe{'s' * (q != 1)}: "
        f"mixwright propose {session.loaded.path} -q {q}"
    ]


def _in_words(name: str) -> str:
    defined = outcome.define(name)
    return f"{defined.label[0].lower()}{defined.label[1:]}, {defined.unit}"


def _running(session: Session, advised: list[Advice]) -> list[str]:
    """What each cell promises that is not to be stopped, with the advice to run on."""
    stopping = {str(item.number) for item in advised if item.stop}
    words = {str(item.number): item.reason for item in advised if not item.stop}
    promised = [
        f"{found.sentence}" + (f"; run on: {words.pop(found.cell)}" if found.cell in words else "")
        for found in outlook.latest(session)
        if found.cell not in stopping
    ]
    return promised + [f"{cell}: run on: {reason}" for cell, reason in words.items()]


def _unjudged(
    reader: Reader, session: Session, advised: list[Advice], running: pd.DataFrame, at: datetime
) -> list[str]:
    """Running cells of which nothing can be foreseen yet: too little of their record has come."""
    spoken_of = {str(item.number) for item in advised} | {found.cell for found in outlook.latest(session)}
    cycles = reader.cycling(session.name).groupby("subject")["cycle"].nunique()
    said = []
    for name, row in running[~running.index.isin(spoken_of)].iterrows():
        days, known = max(0, round((at - _started(row)) / timedelta(days=1))), int(cycles.get(name, 0))
        record = f"{known} cycle{'s are' if known > 1 else ' is'} known so far" if known else "no cycle is known yet"
        since = f"{days} day{'s' * (days != 1)} since its start"
        said.append(f"{name}{_on_channel(row['channel'])}: runs on, {since}; {record}")
    return said


def _awaited(running: pd.DataFrame, files: pd.DataFrame, at: datetime) -> list[str]:
    said = []
    for name, row in running.iterrows():
        mine = files[files["subject"].eq(str(name))]
        last = mine["at"].max() if len(mine) else None
        since = at - (last if last is not None else _started(row))
        if since >= FILE_EVERY:
            where = _on_channel(row["channel"])
            days = since.total_seconds() / 86400
            said.append(
                f"{name}{where}: no file for {days:.0f} days; export what there is and put it into the inbox"
                if last is not None
                else f"{name}{where}: runs for {days:.0f} days and no file has come yet"
            )
    return said


def _overdue(session: Session, running: pd.DataFrame, at: datetime) -> list[str]:
    record = session.ledger.cycling(session.name)
    said = []
    for name, row in running.iterrows():
        cell = cells.cell_of(session, str(name))
        hours = longest_test_h(session, cell, record[record["subject"].eq(str(name))])
        passed = (at - _started(row)).total_seconds() / 3600
        if hours is not None and passed > OVERDUE * hours:
            said.append(
                f"{name}: runs for {passed / 24:.0f} days; {_cycles_that_count(session, cell)} take {hours / 24:.0f} days "
                f"at most: look at it, bring its file, or say: mixwright stop {name}"
            )
    return said


def _cycles_that_count(session: Session, cell: cells.Cell) -> str:
    planned, count = cell.planned_cycles, under_test.last_cycle(session)
    return f"its {planned} cycles" if planned <= count else f"of its {planned} cycles the {count} that count"


def longest_test_h(session: Session, cell: cells.Cell, record: pd.DataFrame) -> float | None:
    """Hours that a test can take up to the last cycle that counts, or the last planned: cycles x 2 Q / I.

    Q is as measured at most, else by theory. None without a protocol.
    """
    current = cells.number(cell.trial.protocol.get("current_mA_cm2"))
    measured = record["discharge_areal_capacity_mAh_cm2"].max() if len(record) else float("nan")
    facts = cells.facts_of(session, cell, {})
    loading = cells.loading_mg_cm2(cell, {})
    theory = loading * facts.capacity_mAh_g / 1000.0 if loading and facts.capacity_mAh_g else None
    capacity = float(measured) if measured == measured else theory
    if not current or not capacity or not cell.planned_cycles:
        return None
    return min(cell.planned_cycles, under_test.last_cycle(session)) * 2.0 * capacity / current


def _started(row: pd.Series) -> datetime:
    said = json.loads(row["details"] or "{}").get("started_at")
    at: datetime = datetime.fromisoformat(said) if said else row["at"]
    return at


def _look(session: Session, reader: Reader, files: pd.DataFrame) -> list[str]:
    record = reader.cycling(session.name)
    flagged = record[record["flags"].fillna("").str.contains("flag:")]
    said = [
        f"{subject}: {len(part)} cycles carry a flag, the first at cycle {part['cycle'].iloc[0]}: {part['flags'].iloc[0]}"
        for subject, part in flagged.groupby("subject", sort=True)
    ]
    said += [*cells.unsaid(session, reader), *unlearned.sentences(session, reader)]
    for row in files.to_dict("records"):
        marks = [text for text in json.loads(row["details"]).get("checks", []) if text.startswith("flag:")]
        said += [f"{row['name']}: {text}" for text in marks]
    return said

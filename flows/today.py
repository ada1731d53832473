"""The lab's list for today: what to mix, which cell goes on which channel, which files are awaited, what is overdue.

Everything is read from the ledger; nothing is written. How long a test should take is a bound, not a forecast: planned cycles
times twice the theoretical capacity over the current (the capacity that was measured, where there is a record).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS, complete
from flows.intake import cells
from flows.session import Session, now
from ingest.sheet_write import weighing_table

FILE_EVERY = timedelta(days=7)
NEAR_MELTING_C = 15.0
"""A vessel predicted within this of the melting point is warned of; the model's temperature is not known better [est]."""
OVERDUE = 1.2
"""A test is called overdue beyond this multiple of the longest time that its cycles can take [est]."""


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
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Today:
    """The list, each entry a sentence or a batch."""

    campaign: str
    mix: tuple[ToMix, ...]
    start: tuple[str, ...]
    awaited: tuple[str, ...]
    overdue: tuple[str, ...]
    unassigned: tuple[str, ...]
    look: tuple[str, ...]
    """Checks that ask for a person's look."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def today(session: Session, at: datetime | None = None) -> Today:
    """Make the list as of a time (by default now)."""
    at = at or now()
    reader = session.reader
    trials = reader.trials(session.name, recipe="asked")
    table = reader.cells(session.name)
    files = reader.files(session.name)
    own = trials[trials["evaluator"].eq("lab")]
    running = table[table["state"].eq("running")]
    waiting = files[files["subject"].isna()]
    unassigned = [
        f"{row['name']} ({row['sha256'][:12]}): say which cell it is of: mixwright assign {session.loaded.path} "
        f"{row['sha256'][:12]} CELL"
        for row in waiting.to_dict("records")
        if json.loads(row["details"]).get("kind") == "cycler"
    ]
    return Today(
        campaign=session.name,
        mix=tuple(_to_mix(session, own[own["state"].isin(["proposed", "issued"])])),
        start=tuple(_to_start(session, table, running)),
        awaited=tuple(_awaited(running, files, at)),
        overdue=tuple(_overdue(session, running, at)),
        unassigned=tuple(unassigned),
        look=tuple(_look(session, files)),
    )


# ---- mixing --------------------------------------------------------------------------------------------------------
def _to_mix(session: Session, trials: pd.DataFrame) -> list[ToMix]:
    if trials.empty:
        return []
    designs = complete(trials[list(DESIGN_COLUMNS)])
    weighed = weighing_table(designs, session.spec.lab.batch_mass_g).set_index("trial")
    hot = _vessel_temperature_C(session, designs)
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
                warnings=tuple(_warnings(session, design, hot.get(str(trial)))),
            )
        )
    return batches


def _warnings(session: Session, design: pd.Series, vessel_C: float | None) -> list[str]:
    said = []
    formula = session.materials.electrolyte(str(design["sse"])).formula
    sulfide = "P" in formula and "S" in formula
    said.append(
        "sulfide electrolyte: weigh, mix and open under inert gas; moist air frees H2S"
        if sulfide
        else f"{design['sse']} takes up moisture: weigh, mix and open under inert gas"
    )
    if str(design["active"]) in ("Se", "SeS2", "Te"):
        said.append(f"{design['active']} dust is toxic: closed containers, gloves")
    if vessel_C is None or str(design["active"]) == "none":
        return said
    melts = session.materials.active(str(design["active"])).melting_point_C
    if vessel_C >= melts - NEAR_MELTING_C:
        said.append(
            f"the model expects {vessel_C:.0f} degC in the vessel; {design['active']} melts at {melts:.0f} degC: "
            "watch the temperature, or take longer rests"
        )
    return said


def _vessel_temperature_C(session: Session, designs: pd.DataFrame) -> dict[str, float]:
    """The model's vessel temperature by trial; nothing where the recipe lies outside what the model knows."""
    from models.simulate import simulate

    try:
        composite = simulate(designs, fidelity="quick", materials=session.materials).composite
    except Refusal:
        return {}
    if "vessel_temperature_C" not in composite:
        return {}
    return {str(trial): float(value) for trial, value in composite["vessel_temperature_C"].items()}


# ---- testing -------------------------------------------------------------------------------------------------------
def _to_start(session: Session, table: pd.DataFrame, running: pd.DataFrame) -> list[str]:
    taken = {str(channel) for channel in running["channel"].dropna()}
    free = [str(number) for number in range(1, session.spec.lab.channels + 1) if str(number) not in taken]
    mixes = session.ledger.mixes(session.name)
    open_trials = session.ledger.trials(session.name)["state"]
    said = []
    for mix, row in mixes[mixes["state"].eq("mixed")].iterrows():
        if table["mix"].eq(str(mix)).any() or open_trials.get(row["trial"]) not in ("mixing", "testing"):
            continue
        if free:
            channel = free.pop(0)
            said.append(
                f"{mix}: build a cell, put it on channel {channel}; then: mixwright start {mix}-C1 --channel {channel}"
            )
        else:
            said.append(f"{mix}: build a cell; all {session.spec.lab.channels} channels are taken, so it waits")
    return said


def _awaited(running: pd.DataFrame, files: pd.DataFrame, at: datetime) -> list[str]:
    said = []
    for name, row in running.iterrows():
        mine = files[files["subject"].eq(str(name))]
        last = mine["at"].max() if len(mine) else None
        since = at - (last if last is not None else _started(row))
        if since >= FILE_EVERY:
            where = f" on channel {row['channel']}" if row["channel"] else ""
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
                f"{name}: runs for {passed / 24:.0f} days; its {cell.planned_cycles} cycles take {hours / 24:.0f} at most: look "
                f"at it, bring its file, or say: mixwright stop {name}"
            )
    return said


def longest_test_h(session: Session, cell: cells.Cell, record: pd.DataFrame) -> float | None:
    """Hours that a test can take: cycles x 2 Q / I, with Q as measured at most, else by theory; None without a protocol."""
    current = cells.number(cell.trial.protocol.get("current_mA_cm2"))
    measured = record["discharge_areal_capacity_mAh_cm2"].max() if len(record) else float("nan")
    facts = cells.facts_of(session, cell, {})
    loading = cells.loading_mg_cm2(cell, {})
    theory = loading * facts.capacity_mAh_g / 1000.0 if loading and facts.capacity_mAh_g else None
    capacity = float(measured) if measured == measured else theory
    if not current or not capacity or not cell.planned_cycles:
        return None
    return cell.planned_cycles * 2.0 * capacity / current


def _started(row: pd.Series) -> datetime:
    said = json.loads(row["details"] or "{}").get("started_at")
    at: datetime = datetime.fromisoformat(said) if said else row["at"]
    return at


def _look(session: Session, files: pd.DataFrame) -> list[str]:
    record = session.ledger.cycling(session.name)
    flagged = record[record["flags"].fillna("").str.contains("flag:")]
    said = [
        f"{subject}: {len(part)} cycles carry a flag, the first at cycle {part['cycle'].iloc[0]}: {part['flags'].iloc[0]}"
        for subject, part in flagged.groupby("subject", sort=True)
    ]
    for row in files.to_dict("records"):
        marks = [text for text in json.loads(row["details"]).get("checks", []) if text.startswith("flag:")]
        said += [f"{row['name']}: {text}" for text in marks]
    return said

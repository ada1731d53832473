"""What the ledger knows of a cell, and what of its record must follow when its mass or area is corrected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from campaign import materials
from campaign.errors import Refusal
from campaign.trial import OPEN, Trial, read_id
from flows import batches
from flows.session import Session
from ingest import CellFacts
from ingest.checks import HIGH_SHARE, MAX_CE, MAX_THEORY
from ingest.findings import Start
from store import Ledger, Reader

AREAL = {
    "discharge_areal_capacity_mAh_cm2": "discharge_capacity_mAh",
    "charge_areal_capacity_mAh_cm2": "charge_capacity_mAh",
}
"""Column per area -> the column in mAh that it follows from."""


@dataclass(frozen=True)
class Cell:
    """One cell as the ledger has it, its trial as its own batch was mixed; `state` None where it has not heard of the cell."""

    id: str
    state: str | None
    active_mass_mg: float | None
    area_cm2: float | None
    details: Mapping[str, Any]
    trial: Trial

    @property
    def planned_cycles(self) -> int:
        """Cycles after which the test is complete; 0 where nobody said."""
        return int(self.trial.protocol.get("cycles", 0) or 0)

    @property
    def start(self) -> Start:
        """Direction of the first half-cycle of cycle 1: as the trial says, else discharge (a pristine chalcogen holds no Li)."""
        said = self.trial.provenance.get("cycle_start") or self.details.get("cycle_start")
        return "charge" if said == "charge" else "discharge"


def cell_of(session: Session, name: str) -> Cell:
    """Read one cell of the campaign."""
    return known(session.ledger, name)


def known(ledger: Ledger, name: str) -> Cell:
    """Read one cell of any campaign of the ledger."""
    trial = batches.own(ledger, ledger.trial(name), read_id(name))
    cells = ledger.cells(trial.campaign)
    if name not in cells.index:
        return Cell(name, None, None, None, {}, trial)
    row = cells.loc[name]
    return Cell(
        name,
        str(row["state"]),
        number(row["active_mass_mg"]),
        number(row["area_cm2"]),
        json.loads(row["details"] or "{}"),
        trial,
    )


def facts_of(session: Session, cell: Cell, said: Mapping[str, float]) -> CellFacts:
    """What a reader needs of a cell: its own mass and area (said now, or standing), and its active by the trial."""
    active = str(cell.trial.recipe.get("active", "none"))
    return CellFacts(
        active_mass_mg=said.get("active_mass_mg", cell.active_mass_mg),
        area_cm2=said.get("area_cm2", cell.area_cm2),
        active_wt_pct=number(cell.trial.recipe.get("active_wt_pct")),
        capacity_mAh_g=None if active == "none" else session.materials.active(active).capacity_mAh_g,
    )


def number(value: Any) -> float | None:
    """A float, or None where there is none."""
    return None if value is None or pd.isna(value) else float(value)


def loading_mg_cm2(cell: Cell, said: Mapping[str, float]) -> float | None:
    """Active per area: of the cell itself where mass and area are known, else as the trial asked."""
    mass, area = said.get("active_mass_mg", cell.active_mass_mg), said.get("area_cm2", cell.area_cm2)
    return mass / area if mass and area else number(cell.trial.protocol.get("loading_mg_cm2"))


def refuse_impossible(rows: pd.DataFrame, facts: CellFacts, loading: float | None, place: str) -> list[str]:
    """Check capacities per area against what the active can hold.

    Returns:
        Sentences about values that hardly can be.

    Raises:
        Refusal: ten times the theory, or a negative value.
    """
    said: list[str] = []
    theory = None if loading is None or facts.capacity_mAh_g is None else loading * facts.capacity_mAh_g / 1000.0
    for column in (name for name in AREAL if name in rows):
        for cycle, value in zip(rows["cycle"], rows[column], strict=True):
            if pd.isna(value):
                continue
            what = f"{place}: cycle {cycle}, {column.split('_', maxsplit=1)[0]} of {value:.4g} mAh/cm2"
            if value < 0:
                raise Refusal(f"{what} is negative; a capacity is 0 or more")
            if theory and value >= MAX_THEORY * theory:
                raise Refusal(
                    f"{what} is {value / theory:.3g} times what the active of this cell can hold ({theory:.4g} mAh/cm2); "
                    "is the unit, or the cell's mass or area, right?"
                )
            if theory and value > HIGH_SHARE * theory and len(said) < 5:
                said.append(f"{what} is {value / theory:.2g} times the theory of the active; is the mass right?")
    return said


def given_in(unit: str, trial: Trial) -> str:
    """How a row says that its capacities were not given in mAh: they follow when the mass, area or share of active changes."""
    share = f" with {trial.recipe.get('active_wt_pct'):.9g} wt% active" if unit.endswith("composite") else ""
    return f"given in {unit}{share}"


def mass_doubts(cell: Cell, said: Mapping[str, Any], *, usual_area_cm2: float | None = None) -> list[str]:
    """Say where a mass that is told now is far from what the recipe asks for: grams for milligrams, composite for active.

    Args:
        cell: the cell.
        said: what is told of it.
        usual_area_cm2: area of the lab's cells, for one whose own area nobody has said.
    """
    mass, asked = number(said.get("active_mass_mg")), number(cell.trial.protocol.get("loading_mg_cm2"))
    own = number(said.get("area_cm2", cell.area_cm2))
    area = own or usual_area_cm2
    if not (mass and asked and area):
        return []
    factor = mass / (asked * area)
    if 0.5 <= factor <= 2.0 or (own is None and 0.2 <= factor <= 5.0):
        return []
    return [
        f"{cell.id}: an active mass of {mass:g} mg is {factor:.2g} times what {asked:g} mg/cm2 on {area:g} cm2 asks for; is it "
        "the mass of active, in mg?"
    ]


def rows_with(ledger: Ledger, before: Cell, new: Mapping[str, Any]) -> pd.DataFrame | None:
    """Rows of a cell's record that are others with a corrected mass or area; None where none is.

    What was given stands: mAh as the cycler counted it, mAh/cm2 of a table, mAh/g of a table or a typed value. The rest is
    reckoned again: per cm2 from mAh and area, mAh from mAh/cm2 and area, mAh from mAh/g and mass.
    """
    standing = ledger.cycling(before.trial.campaign, with_excluded=True)
    mine = standing[standing["subject"].eq(before.id)]
    mass, area = (number(new.get(n, getattr(before, n))) for n in ("active_mass_mg", "area_cm2"))
    heavier = mass / before.active_mass_mg if mass and before.active_mass_mg else 1.0
    denser = (loading_mg_cm2(before, new) or 1.0) / (loading_mg_cm2(before, {}) or 1.0)
    flags = mine["flags"].fillna("")
    per_gram, per_area = (flags.str.contains(f"given in {unit}", regex=False) for unit in ("mAh/g", "mAh/cm2"))
    rows = mine[["subject", "cycle", "partial", "file", "flags"]].copy()
    changed = pd.Series(False, index=mine.index)
    for areal, amount in AREAL.items():
        total = mine[amount].where(~per_gram, mine[amount] * heavier)
        by_area = mine[areal].where(~per_gram, mine[areal] * denser)
        if area:
            total = total.where(~per_area, by_area * area)
            by_area = by_area.where(per_area | total.isna(), total / area)
        for column, value in ((amount, total), (areal, by_area)):
            rows[column] = value
            changed |= value.notna() & ~((value - mine[column]).abs() <= 1e-9 * value.abs())
    return rows[changed].reset_index(drop=True) if changed.any() else None


def doubts_with(session: Session, cell: Cell, new: Mapping[str, Any]) -> list[str]:
    """Check the whole record of a cell as it would stand with a corrected mass or area.

    Returns:
        Sentences about values that hardly can be.

    Raises:
        Refusal: with these values the record could not be (ten times the theory).
    """
    doubts = _doubts_of_record(session.ledger, cell, new, facts_of(session, cell, new))
    return doubts + mass_doubts(cell, new, usual_area_cm2=session.spec.lab.cell_area_cm2)


def doubts_without_campaign(ledger: Ledger, cell: Cell, new: Mapping[str, Any]) -> list[str]:
    """As `doubts_with`, where no campaign file was named: of an active of our own tables, and of no usual area."""
    known, active = materials.load(), str(cell.trial.recipe.get("active", "none"))
    theory = known.active(active).capacity_mAh_g if active in known.actives else None
    return _doubts_of_record(ledger, cell, new, CellFacts(capacity_mAh_g=theory)) + mass_doubts(cell, new)


def _doubts_of_record(ledger: Ledger, cell: Cell, new: Mapping[str, Any], facts: CellFacts) -> list[str]:
    standing = ledger.cycling(cell.trial.campaign, with_excluded=True)
    mine = standing[standing["subject"].eq(cell.id)].set_index("cycle")
    rows = rows_with(ledger, cell, new)
    if rows is not None:
        mine.update(rows.set_index("cycle")[list(AREAL)])
    return refuse_impossible(mine.reset_index(), facts, loading_mg_cm2(cell, new), cell.id)


def doubts_of_cycle(session: Session, cell: Cell, row: Mapping[str, Any]) -> list[str]:
    """Check one corrected cycle by itself and against its neighbours.

    Returns:
        Sentences about values that hardly can be.

    Raises:
        Refusal: a negative value, ten times the theory, or a coulombic efficiency of 300 % or more.
    """
    doubts = refuse_impossible(pd.DataFrame([row]), facts_of(session, cell, {}), loading_mg_cm2(cell, {}), cell.id)
    standing = session.ledger.cycling(session.name, with_excluded=True)
    mine = standing[standing["subject"].eq(cell.id)].set_index("cycle")
    cycle, areal = int(row["cycle"]), list(AREAL)
    mine.loc[cycle, areal] = [row.get(name, mine.at[cycle, name]) for name in areal]
    out, back = (mine[name].astype(float) for name in areal)
    back.index += 1 if cell.start == "discharge" else 0
    efficiency = (out / back).dropna()
    for number, value in efficiency[efficiency.index.isin([cycle, cycle + 1])].items():
        if value >= MAX_CE:
            raise Refusal(
                f"{cell.id}: with this, cycle {number} has a coulombic efficiency (ce_out_in) of {value:.0%}, which cannot be; "
                "is the value, or its unit, right?"
            )
        if not 0.5 <= value <= 1.2:
            doubts.append(f"cycle {number} then has a coulombic efficiency (ce_out_in) of {value:.0%}")
    return doubts


def tell(ledger: Ledger, cell: str, new: Mapping[str, Any], *, key: str, by: str, at: Any, why: str) -> None:
    """Give a known cell other values; what its record holds per area and per gram follows in the same write."""
    rows = rows_with(ledger, known(ledger, cell), new) if {"area_cm2", "active_mass_mg"} & set(new) else None
    ledger.amend(why=why, subjects={cell: dict(new)}, cycling=rows, key=key, at=at, by=by)


def share_follows(ledger: Ledger, name: str, *, by: str, at: datetime) -> None:
    """Reckon again what was given per gram of composite, where the batch's share of active is another by now. Repeatable."""
    trial = ledger.trial(name)
    standing = ledger.cycling(trial.campaign, with_excluded=True)
    mine = standing[standing["trial"].eq(trial.id)]
    shares = {
        str(subject): number(batches.own(ledger, trial, read_id(str(subject))).recipe.get("active_wt_pct"))
        for subject in mine["subject"].unique()
    }
    share = mine["subject"].map(shares).astype(float)
    was = mine["flags"].astype("string").str.extract(r"of composite with (\S+) wt% active")[0].astype(float)
    stale = was.notna() & share.gt(0) & ((was - share).abs() > 1e-6)
    if not stale.any():
        return
    old, was, share = mine[stale], was[stale], share[stale]
    rows = old[["subject", "cycle", "partial", "file"]].copy()
    for column in (*AREAL, *AREAL.values()):
        rows[column] = old[column] * was / share
    rows["flags"] = [
        text.replace(f"with {before:.9g} wt%", f"with {after:.9g} wt%")
        for text, before, after in zip(old["flags"], was, share, strict=True)
    ]
    now = ", ".join(f"{value:.6g}" for value in sorted(set(share)))
    why = f"given per gram of composite; its share of active is {now} wt%"
    ledger.amend(cycling=rows, why=why, key=f"share {trial.id} after {ledger.seq}", at=at, by=by)


def others_run(session: Session, cell: str) -> bool:
    """Whether another cell of the same trial is still under test."""
    cells = session.ledger.cells(session.name)
    mine = cells[cells["trial"].eq(read_id(cell).trial) & (cells.index != cell)]
    return bool(mine["state"].isin(["planned", "running"]).any())


def unsaid(session: Session, reader: Reader) -> list[str]:
    """Say of which cells nobody has told area or mass of active, what that costs, and where to tell it.

    Ended cells too: without an area, what a cycler counted in mAh says nothing of the recipe.
    """
    trials, table, record = reader.trials(session.name), reader.cells(session.name), reader.cycling(session.name)
    per_area = set(record.loc[record["discharge_areal_capacity_mAh_cm2"].notna(), "subject"])
    cycled = set(record["subject"])
    said = []
    for name, cell in table[table["state"].isin(["running", "stopped", "completed"])].iterrows():
        trial = trials.loc[cell["trial"]]
        lacking = {"area_cm2": "area", "active_mass_mg": "active mass"}
        lacking = {column: word for column, word in lacking.items() if pd.isna(cell[column])}
        if not lacking or trial["evaluator"] != "lab" or trial["state"] == "excluded":
            continue
        costs = ""
        if name in cycled:
            costs = ", so its loading counts as asked" if name in per_area else ", so nothing is learned from it"
        values = " ".join(f"--set {column}=…" for column in lacking)
        where = (
            f"type {'it' if len(lacking) == 1 else 'them'} on the lab sheet"
            if trial["state"] in OPEN
            else f"mixwright amend {session.loaded.path} {name} {values} --why '…'"
        )
        said.append(f"{name}: nobody has said its {' and '.join(lacking.values())}{costs}; {where}")
    return said


def unassigned(session: Session, reader: Reader) -> list[str]:
    """Say which files are of cells that nobody has named: what they hold counts for nothing until somebody does."""
    files = reader.files(session.name)
    return [
        f"{row['name']} ({row['sha256'][:12]}): say which cell it is of: mixwright assign {session.loaded.path} "
        f"{row['sha256'][:12]} CELL"
        for row in files[files["subject"].isna()].to_dict("records")
        if json.loads(row["details"]).get("kind") == "cycler"
    ]

"""Cycles of a file as rows of the ledger, and how they differ from what stands there."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from campaign.errors import Refusal
from ingest import CyclingFile
from ingest.findings import Finding

CYCLING = {
    "cycle": "cycle",
    "discharge_areal_capacity_mAh_cm2": "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2": "charge_areal_capacity_mAh_cm2",
    "discharge_capacity_mAh": "discharge_capacity_mAh",
    "charge_capacity_mAh": "charge_capacity_mAh",
    "ce_same_cycle": "coulombic_efficiency",
    "mean_discharge_voltage_V": "mean_discharge_voltage_V",
    "mean_charge_voltage_V": "mean_charge_voltage_V",
    "polarisation_V": "polarisation_V",
    "vendor_cycle": "vendor_cycle",
    "vendor_discharge_capacity_mAh": "vendor_discharge_capacity_mAh",
    "vendor_charge_capacity_mAh": "vendor_charge_capacity_mAh",
}
"""Column of a cycle table -> column of the ledger."""
NUMBERS = tuple(name for name in CYCLING.values() if name != "cycle")
_SAME = 1e-9
_SHOWN = 5


@dataclass(frozen=True)
class CellRows:
    """Rows for the ledger; `whole` is the last cycle whose discharge is certainly over, `cut` whether one was cut short."""

    table: pd.DataFrame
    whole: int
    cut: bool


def ledger_rows(found: CyclingFile, cell: str, *, given: str = "", offset: int = 0, finished: bool = False) -> CellRows:
    """Cycles with a discharge that is over; one that a longer version of the file may still change is marked partial."""
    table = found.cycles[found.cycles["cycle"] > 0]
    over = table["discharge_state"].isin(["complete", "ended"]) & table["discharge_capacity_mAh"].notna()
    over |= table["discharge_areal_capacity_mAh_cm2"].notna()  # a table per cm2, of a cell whose area nobody has said
    rows = table.loc[over, list(CYCLING)].rename(columns=CYCLING).assign(subject=cell, file=found.sha256)
    charges = table["charge_state"].ne("absent").any()
    last = table["cycle"].max() if len(table) else 0
    open_end = table["charge_state"].isin(["running", "ended"]) | (
        table["charge_state"].eq("absent") & table["cycle"].eq(last) & bool(charges)
    )
    open_end = (open_end if found.start == "discharge" else False) | table["discharge_state"].eq("ended")
    rows["partial"] = False if finished else open_end[over]
    rows["flags"] = [flags_of(found.findings, int(cycle), given=given) for cycle in rows["cycle"]]
    rows["cycle"] += offset
    certain = table.loc[over & ~table["discharge_state"].eq("ended"), "cycle"]
    cut = bool(len(table) and not over.iloc[-1])
    return CellRows(rows.reset_index(drop=True), int(certain.max()) + offset if len(certain) else 0, cut)


def flags_of(findings: tuple[Finding, ...], cycle: int, *, given: str = "") -> str | None:
    """What the checks said of one cycle, and what it was given in where that was not mAh, for its row."""
    said = [given] if given else []
    said += [
        f"{finding.level}: {finding.sentence}"
        for finding in findings
        if finding.cycle == cycle and finding.level in ("flag", "warning")
    ]
    return "; ".join(said) or None


@dataclass(frozen=True)
class Against:
    """New rows against what stands: which replace a typed value, and which contradict what another file said."""

    typed: pd.DataFrame
    contradicting: pd.DataFrame
    sentence: str


def against(rows: pd.DataFrame, history: pd.DataFrame, cell: str) -> Against:
    """Sort rows by what stands for their cycle. A partial cycle gives way to its longer version, a typed one to its file.

    Args:
        rows: of a file.
        history: every row that the ledger holds, superseded ones too.
        cell: the cell.
    """
    known = history[history["subject"].eq(cell)]
    told = set(known.loc[known["file"].notna(), "cycle"])
    newest = known.drop_duplicates("cycle", keep="last")
    mine = newest[~newest["withdrawn"].astype(bool)].set_index("cycle")
    typed, contradicting, said = [], [], []
    for position, row in enumerate(rows.to_dict("records")):
        if row["cycle"] not in mine.index:
            continue
        old = mine.loc[row["cycle"]]
        wrong = [name for name in NUMBERS if pd.notna(row[name]) and _differ(row[name], old[name])]
        if row["cycle"] not in told:
            typed.append(position)
        elif wrong and not old["partial"]:
            contradicting.append(position)
            said.append(f"cycle {row['cycle']}, {wrong[0]}: was {_shown(old[wrong[0]])}, is {row[wrong[0]]:.6g}")
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return Against(rows.iloc[typed], rows.iloc[contradicting], "; ".join(said[:_SHOWN]) + more)


def _differ(new: float, old: float) -> bool:
    return pd.isna(old) or abs(new - old) > _SAME * max(abs(new), abs(old))


def _shown(value: float) -> str:
    return "not known" if pd.isna(value) else f"{value:.6g}"


def refuse_without_capacity(found: CyclingFile, rows: pd.DataFrame, cell: str) -> None:
    """Refuse rows that carry neither mAh nor mAh per cm2."""
    empty = rows["discharge_capacity_mAh"].isna() & rows["discharge_areal_capacity_mAh_cm2"].isna()
    if empty.any():
        raise Refusal(
            f"{found.name}: cycle {rows.loc[empty, 'cycle'].iloc[0]} of {cell} has no capacity in mAh or mAh/cm2; "
            "give the cell's mass with --active-mass-mg or on the lab sheet"
        )

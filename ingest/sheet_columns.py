"""The columns of the lab sheet: one table that the writer, the reader and the instructions share.

A row of the sheet is one trial (or one more cell of it: a copied row with another cell id). White columns are typed in by
the lab, grey ones say what was asked and are locked; `check` is a checksum over the asked columns, so that an id which
came apart from its recipe (one column sorted alone) is caught.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

VERSION = "1"
MARKER = "mixwright_sheet"
SHEET = "Trials"
INSTRUCTIONS = "Instructions"
WEIGHING = "Weighing"

STATES: Mapping[str, str] = MappingProxyType(
    {
        "issued": "nothing done yet",
        "mixing": "weighed, mixing or mixed",
        "testing": "a cell of it runs",
        "completed": "the test is over",
        "failed": "tried, gave no result (say why in note)",
        "abandoned": "will not be done (say why in note)",
    }
)

Kind = Literal["text", "number", "date", "state"]
Group = Literal["id", "asked", "done", "powder", "cell", "outcome", "note"]


@dataclass(frozen=True)
class Column:
    """One column: its key in our tables, the header a person reads, its unit, and what may stand in it."""

    key: str
    title: str
    unit: str
    kind: Kind
    group: Group
    help: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def header(self) -> str:
        """The header as written: title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


ID_COLUMNS = (
    Column("trial", "trial", "", "text", "id", "do not change; every row keeps its own"),
    Column("check", "check", "", "text", "id", "belongs to the trial beside it; do not change"),
)

_RECIPE: tuple[tuple[str, str, str, Kind], ...] = (
    ("speed_rpm", "speed", "rpm", "number"),
    ("time_h", "net mixing time", "h", "number"),
    ("active", "active", "", "text"),
    ("active_wt_pct", "active share", "wt%", "number"),
    ("sse", "SSE", "", "text"),
    ("sse_wt_pct", "SSE share", "wt%", "number"),
    ("carbon", "carbon", "", "text"),
    ("carbon_wt_pct", "carbon share", "wt%", "number"),
    ("premill_h", "premill time", "h", "number"),
    ("premill_speed_rpm", "premill speed", "rpm", "number"),
    ("heat_C", "heat", "degC", "number"),
    ("heat_h", "heat time", "h", "number"),
    ("mixer", "mixer", "", "text"),
    ("ball_ratio", "balls to powder", "g/g", "number"),
    ("duty", "duty", "share of the clock", "number"),
    ("loading_mg_cm2", "active loading", "mg/cm2", "number"),
    ("current_mA_cm2", "current density", "mA/cm2", "number"),
    ("cycles", "cycles", "", "number"),
    ("stack_pressure_MPa", "stack pressure", "MPa", "number"),
    ("temperature_C", "temperature", "degC", "number"),
    ("anode", "anode", "", "text"),
)
ASKED_COLUMNS = tuple(
    Column(key, f"asked {title}", unit, kind, "asked", "as asked; locked") for key, title, unit, kind in _RECIPE
)

DONE_COLUMNS = (
    Column("state", "state", "", "state", "done", "where this trial stands"),
    Column("speed_rpm", "done speed", "rpm", "number", "done", "only if it was not as asked", 0, 3000),
    Column(
        "time_h",
        "done net mixing time",
        "h",
        "number",
        "done",
        "only if it was not as asked; hours of rotation",
        0,
        200,
    ),
    Column("weighed_active_g", "weighed active", "g", "number", "done", "balance reading", 0, 1000),
    Column("weighed_sse_g", "weighed SSE", "g", "number", "done", "balance reading", 0, 1000),
    Column("weighed_carbon_g", "weighed carbon", "g", "number", "done", "balance reading", 0, 1000),
    Column("weighed_balls_g", "weighed balls", "g", "number", "done", "balance reading", 0, 10000),
    Column("sse_lot", "SSE lot", "", "text", "done", "as printed on the bottle"),
    Column("mixed_at", "mixed at", "", "date", "done", "start of mixing, as 2026-03-04 10:30 (local time)"),
    Column("mixed_by", "mixed by", "", "text", "done", "who"),
)
POWDER_COLUMNS = (
    Column(
        "surface_halide_to_P",
        "halide to P on the surface, EDS",
        "atomic ratio",
        "number",
        "powder",
        "if measured",
        0,
        100,
    ),
    Column("crystallite_size_um", "crystallite size, XRD", "um", "number", "powder", "if measured", 0, 1000),
    Column(
        "sse_pellet_conductivity_mS_cm",
        "pellet conductivity",
        "mS/cm",
        "number",
        "powder",
        "if measured, 25 degC",
        0,
        1000,
    ),
)
CELL_COLUMNS = (
    Column("cell_id", "cell id", "", "text", "cell", "your own; one row for each cell"),
    Column("channel", "channel", "", "text", "cell", "cycler channel"),
    Column(
        "active_mass_mg",
        "active mass",
        "mg",
        "number",
        "cell",
        "mass of active (S, Se, Te) in this cell, not of composite",
        0.01,
        100_000,
    ),
    Column("area_cm2", "area", "cm2", "number", "cell", "area of the cathode", 0.01, 1000),
    Column("started_at", "started at", "", "date", "cell", "start of cycling, as 2026-03-04 10:30 (local time)"),
    Column("stopped_at", "stopped at", "", "date", "cell", "only when the test is over; local time"),
    Column("file", "file", "", "text", "cell", "name of the cycler file of this cell"),
)
NOTE_COLUMN = Column("note", "note", "", "text", "note", "anything worth knowing")

OUTCOME_COLUMNS = (
    Column(
        "discharge_capacity_cycle_1_mAh",
        "discharge capacity of cycle 1",
        "mAh",
        "number",
        "outcome",
        "only without a cycler file",
        0,
        100_000,
    ),
    Column(
        "discharge_capacity_cycle_2_mAh",
        "discharge capacity of cycle 2",
        "mAh",
        "number",
        "outcome",
        "only without a cycler file",
        0,
        100_000,
    ),
)


_TYPED = "only without a cycler file"
_OUTCOME_UNITS = (
    ("_mAh_g_composite", "mAh per g of composite"),
    ("_mAh_g_active", "mAh per g of active"),
    ("_mAh_g", "mAh/g"),
    ("_mAh_cm2", "mAh/cm2"),
    ("_mAh", "mAh"),
    ("_Wh_kg_composite", "Wh per kg of composite"),
    ("_pct", "%"),
    ("_h", "h"),
    ("_V", "V"),
)


def outcome_by_header(header: str) -> Column | None:
    """Return the outcome column that was written with this header, or None."""
    for ending, unit in _OUTCOME_UNITS:
        title = header.removesuffix(f" ({unit})")
        if title != header and ("cycle" in title or "capacity" in title) and title == title.strip():
            return outcome_column(title.replace(" ", "_") + ending)
    return None


def outcome_column(key: str) -> Column:
    """Make a column for an outcome whose name ends in its unit, such as `discharge_capacity_cycle_100_mAh_g_composite`."""
    known = {column.key: column for column in OUTCOME_COLUMNS}
    if key in known:
        return known[key]
    for ending, unit in _OUTCOME_UNITS:
        if key.endswith(ending):
            title = key.removesuffix(ending).replace("_", " ")
            return Column(key, title, unit, "number", "outcome", _TYPED, 0, 1e6)
    return Column(key, key.replace("_", " "), "", "number", "outcome", _TYPED)


def columns(outcomes: tuple[str, ...]) -> tuple[Column, ...]:
    """Return every column of a sheet, in order."""
    extra = tuple(outcome_column(key) for key in outcomes)
    return ID_COLUMNS + ASKED_COLUMNS + DONE_COLUMNS + POWDER_COLUMNS + CELL_COLUMNS + extra + (NOTE_COLUMN,)


def checksum(trial: str, asked: Mapping[str, Any]) -> str:
    """Return eight letters that belong to this trial id with this recipe and no other."""
    parts = [str(trial)]
    for column in ASKED_COLUMNS:
        value = asked.get(column.key)
        parts.append(f"{column.key}={spelled(value)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def spelled(value: Any) -> str:
    """Spell a cell so that a number survives a round trip through a spreadsheet: six significant digits, absent is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, str) else f"{float(value):.6g}"

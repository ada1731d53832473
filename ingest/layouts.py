"""What vendors' tables look like: told by their column names, with the units that their headers leave out.

One row of `LAYOUTS` a format, in the manner of PyProBE's column maps. The first whose names are all there is taken; a
table that none fits is read as plain CSV, with units in its headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ingest.headers import Header


@dataclass(frozen=True)
class Layout:
    """How one format names and measures its columns."""

    format: str
    names: frozenset[str]
    """Bare header names (`ingest.headers`) that all stand in such a table."""
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Unit of a series quantity where the header carries none."""
    unsigned_current: bool = False
    """True where the current may come without sign and the state (C, D, R) gives the direction."""
    net_counter: bool = False
    """True where `Capacity` counts net charge: up on charge, down on discharge."""
    spelled: tuple[str, ...] = ()
    """Where given, some header starts with one of these: the label of the format itself."""


_ARBIN_UNITS = MappingProxyType(
    {
        "time_s": "s",
        "step_time_s": "s",
        "current_mA": "A",
        "voltage_V": "V",
        "charge_counter_mAh": "Ah",
        "discharge_counter_mAh": "Ah",
    }
)

LAYOUTS = (
    Layout(
        "maccor",
        frozenset({"rec", "cyc", "amps", "volts", "state"}),
        MappingProxyType({"current_mA": "A", "voltage_V": "V", "counter_mAh": "Ah", "time_s": "s", "step_time_s": "s"}),
        unsigned_current=True,
    ),
    Layout(
        "maccor",
        frozenset({"rec", "cycle", "amps", "volts"}),
        MappingProxyType({"current_mA": "A", "voltage_V": "V", "counter_mAh": "Ah", "time_s": "s", "step_time_s": "s"}),
        unsigned_current=True,
    ),
    Layout(
        "arbin",
        frozenset({"testtime", "stepindex", "cycleindex", "chargecapacity", "dischargecapacity", "current", "voltage"}),
        _ARBIN_UNITS,
    ),
    Layout("biologic-mpt", frozenset({"mode", "oxred", "error", "time"})),
    Layout("landt", frozenset({"testtime", "steptime", "voltage", "current", "capacity", "state"})),
    Layout(
        "neware",
        frozenset({"totaltime", "steptype", "current", "voltage"}),
        MappingProxyType({"time_s": "s", "step_time_s": "s"}),
    ),
    Layout(
        "novonix",
        frozenset({"runtime", "steptime", "current", "potential", "capacity", "circuittemperature"}),
        net_counter=True,
    ),
    Layout("bdf", frozenset({"testtime", "voltage", "current"}), spelled=("test time / ", "test_time_")),
)

CSV = Layout("csv", frozenset())


def recognise(headers: list[Header]) -> Layout:
    """Return the layout of a table from its headers."""
    names = {header.name for header in headers}
    for layout in LAYOUTS:
        texts = [header.text.lower() for header in headers]
        if layout.names <= names and (not layout.spelled or any(text.startswith(layout.spelled) for text in texts)):
            return layout
    return CSV

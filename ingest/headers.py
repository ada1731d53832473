"""Headers such as `Discharge Capacity (mAh/g)`, `I/mA` or `test_time_s`: which quantity, in which unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from campaign import units


@dataclass(frozen=True)
class Header:
    """A header taken apart; `unit` is None where the header names none."""

    text: str
    name: str
    """The name in lower case without punctuation: `dischargecapacity`."""
    unit: str | None


SERIES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "time_s": (
            "time",
            ("testtime", "totaltime", "elapsedtime", "timetotal", "runtime", "elapsed", "time", "seconds", "test", "t"),
        ),
        "step_time_s": ("time", ("steptime", "relativetime", "step", "time")),
        "current_mA": ("current", ("current", "i", "amps", "amp", "cur", "iavg", "meancurrent")),
        "voltage_V": (
            "voltage",
            (
                "voltage",
                "v",
                "u",
                "e",
                "ewe",
                "ecell",
                "volts",
                "volt",
                "potential",
                "cellvoltage",
                "cellpotential",
                "eweece",
                "vol",
            ),
        ),
        "charge_counter_mAh": (
            "capacity",
            (
                "chargecapacity",
                "chargingcapacity",
                "chgcap",
                "capacitycharge",
                "qcharge",
                "qchg",
                "chargecap",
                "chgcapacity",
            ),
        ),
        "discharge_counter_mAh": (
            "capacity",
            (
                "dischargecapacity",
                "dischargingcapacity",
                "dchgcap",
                "capacitydischarge",
                "qdischarge",
                "qdis",
                "dischargecap",
                "dchgcapacity",
            ),
        ),
        "counter_mAh": ("capacity", ("capacity", "cap", "q", "amphr", "amphour", "stepcapacity")),
        "throughput_mAh": ("capacity", ("qqo", "netcapacity", "throughput")),
        "cycle": (
            "",
            ("cycle", "cyclenumber", "cycleindex", "cyclecount", "cycleid", "cyc", "cycleno", "cycles", "fullcycle"),
        ),
        "step": ("", ("step", "stepindex", "stepnumber", "stepid", "ns", "stepcount", "stepno")),
        "state": ("", ("state", "status", "steptype", "mode", "md", "stepname")),
        "wall": (
            "",
            (
                "datetime",
                "dateandtime",
                "date",
                "timestamp",
                "dpttime",
                "realtime",
                "absolutetime",
                "systemtime",
                "datetimeutc",
            ),
        ),
    }
)
"""Columns of a time series: canonical name -> (quantity of its unit, names seen)."""


def parse(text: str) -> Header:
    """Take a header apart.

    >>> parse("Discharge Capacity (mAh/g)"), parse("<I>/mA").unit, parse("discharge_capacity_mAh_g").unit
    (Header(text='Discharge Capacity (mAh/g)', name='dischargecapacity', unit='mAh/g'), 'mA', 'mAh_g')
    """
    cleaned = " ".join(text.replace("\ufeff", "").split())
    per_what = re.fullmatch(r"(.+?)[_ ]+(composite|active)([)\]]?)", cleaned)
    if per_what:
        inner = parse(per_what[1] + per_what[3])
        return Header(text, inner.name, f"{inner.unit}_{per_what[2]}") if inner.unit else inner
    for pattern in (
        r"(.+?)\s*[(\[{]\s*([^()\[\]{}]*(?:\([^()]*\))?[^()\[\]{}]*)\s*[)\]}]\s*$",
        r"(.+?)\s+/\s+(\S.*)$",
        r"(.+?),\s*(\S+)$",
    ):
        match = re.fullmatch(pattern, cleaned)
        if match and units.is_unit(match[2]):
            return Header(text, _bare(match[1]), match[2])
    if "/" in cleaned:
        for position in [index for index, letter in enumerate(cleaned) if letter == "/"]:
            name, unit = cleaned[:position], cleaned[position + 1 :]
            if name and units.is_unit(unit):
                return Header(text, _bare(name), unit)
    match = re.fullmatch(r"(.+?)\s*[(\[{]\s*(.+?)\s*[)\]}]\s*$", cleaned)
    if match and not re.fullmatch(r"(?i)(vs|from|avg|mean).*|q-?qo", match[2]) and not match[1].endswith("-"):
        return Header(text, _bare(match[1]), match[2])
    tokens = re.split(r"[_ ]+", cleaned)
    for split in range(1, len(tokens)):
        unit = "_".join(tokens[split:])
        if units.is_unit(unit):
            return Header(text, _bare("".join(tokens[:split])), unit)
    return Header(text, _bare(cleaned), None)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find(headers: list[Header], quantity: str) -> int | None:
    """Return the position of the column that holds a series quantity: the first of the names seen, or None.

    A name that a number without unit may carry as well (`step`) counts as a time only with a unit of time.
    """
    kind, names = SERIES[quantity]
    found = []
    for position, header in enumerate(headers):
        if header.name not in names:
            continue
        is_time = header.unit is not None and units.is_unit(header.unit, "time")
        if (kind == "" and header.unit is not None) or (
            header.name in ("step", "test", "t") and kind == "time" and not is_time
        ):
            continue
        found.append((names.index(header.name), position))
    return min(found)[1] if found else None

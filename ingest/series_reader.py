"""A table of a cycler becomes a `Series`: columns by name, units by header or layout, direction of the current made sure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from campaign import units
from campaign.errors import Refusal
from ingest import numbers
from ingest.headers import SERIES, Header, find, parse
from ingest.layouts import Layout, recognise
from ingest.series import Floats, Series
from ingest.tables import Columns, Table, Text

_COUNTERS = ("charge_counter_mAh", "discharge_counter_mAh", "counter_mAh", "throughput_mAh")
_CHARGE_STATES = ("c", "chg", "charge", "cc chg", "cccv chg", "cv chg", "c_cc", "c_cv", "cc charge", "charging")
_DISCHARGE_STATES = (
    "d",
    "dchg",
    "discharge",
    "cc dchg",
    "cccv dchg",
    "cv dchg",
    "d_cc",
    "d_cv",
    "cc discharge",
    "discharging",
)
_REST_STATES = ("r", "rest", "p", "s", "o", "i", "", "pause", "suspend", "end", "idle", "silence")
_DATES = (
    "%m/%d/%y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
)


def is_series(headers: list[Header]) -> bool:
    """Say whether a table with these headers is a time series of a cycler."""
    charge = find(headers, "current_mA") is not None or _dq(headers) is not None
    timed = find(headers, "time_s") is not None or find(headers, "step_time_s") is not None
    return timed and find(headers, "voltage_V") is not None and charge


def _dq(headers: list[Header]) -> int | None:
    return next((position for position, header in enumerate(headers) if header.name == "dq" and header.unit), None)


def read(table: Table) -> tuple[str, Series]:
    """Return the name of the format and the series in our units.

    Raises:
        Refusal: a needed column is missing, has no unit or a unit that its quantity cannot have, or holds no number.
    """
    headers = [parse(name) for name in table.header]
    layout = recognise(headers)
    _refuse_impedance(table, headers)
    at = {name: find(headers, name) for name in SERIES}
    if at["step_time_s"] == at["time_s"]:
        at["step_time_s"] = None
    for name, what in (("time_s", "test time"), ("voltage_V", "voltage")):
        if at[name] is None and (name != "time_s" or at["step_time_s"] is None):
            raise Refusal(f"{table.place}: has no column of {what}; its columns are " + ", ".join(table.header[:12]))
    if isinstance(table.cells, Text):
        table.cells.prefetch([position for name, position in at.items() if position is not None and name != "state"])
    step_time = _seconds(table, headers, at["step_time_s"], "step_time_s", layout, empty=at["time_s"] is not None)
    time = _seconds(table, headers, at["time_s"], "time_s", layout)
    if time is None:
        assert step_time is not None
        time = _from_step_time(step_time)
    voltage = _column(table, headers, at["voltage_V"], "voltage_V", layout)
    assert voltage is not None
    current, derived = _current(table, headers, at, layout, time)
    counters = {name: _counter(table, headers, at[name], name, layout) for name in _COUNTERS}
    if layout.format == "biologic-mpt":
        counters["counter_mAh"] = None
    if layout.net_counter:
        counters["throughput_mAh"], counters["counter_mAh"] = counters["counter_mAh"], None
    series = Series(
        time_s=time,
        current_mA=current,
        voltage_V=voltage,
        step_time_s=step_time,
        vendor_cycle=_index(table, at["cycle"]),
        step=_index(table, at["step"]),
        wall_s=_wall(table, at["wall"]),
        current_derived=derived,
        interval_mean=derived or (at["current_mA"] is not None and table.header[at["current_mA"]].startswith("<I>")),
        notes=table.notes,
        charge_counter_mAh=counters["charge_counter_mAh"],
        discharge_counter_mAh=counters["discharge_counter_mAh"],
        counter_mAh=counters["counter_mAh"],
        throughput_mAh=counters["throughput_mAh"],
    )
    return layout.format, _checked_order(_directed(table, at["state"], layout, series), table)


def _refuse_impedance(table: Table, headers: list[Header]) -> None:
    for position, header in enumerate(headers):
        if header.name.startswith("freq") and table.rows:
            values = table.floats(position, empty=True)
            if float(np.mean(np.isfinite(values) & (values > 0))) > 0.3:
                raise Refusal(
                    f"{table.place}: is an impedance record (column {header.text!r}), not galvanostatic cycling"
                )


def _unit(table: Table, header: Header, quantity: str, layout: Layout) -> str:
    unit = header.unit or layout.units.get(quantity) or _spelled_in_name(header.name)
    if unit is None:
        kind = SERIES[quantity][0]
        example = units.CANONICAL[kind]
        raise Refusal(
            f"{table.place}, column {header.text!r}: its header names no unit; write {header.text.strip()} ({example})"
        )
    return unit


def _spelled_in_name(name: str) -> str | None:
    return {"seconds": "s", "amps": "A", "amp": "A", "volts": "V", "volt": "V", "amphr": "Ah", "amphour": "Ah"}.get(
        name
    )


def _column(
    table: Table, headers: list[Header], position: int | None, quantity: str, layout: Layout, *, empty: bool = False
) -> Floats | None:
    if position is None:
        return None
    unit = _unit(table, headers[position], quantity, layout)
    try:
        factor = units.factor(unit, SERIES[quantity][0])
    except Refusal as refusal:
        raise Refusal(f"{table.place}, column {headers[position].text!r}: {refusal}") from None
    values = table.floats(position, empty=empty)
    return values if factor == 1.0 else values * factor


def _counter(table: Table, headers: list[Header], position: int | None, quantity: str, layout: Layout) -> Floats | None:
    """A counter is a witness, not the evidence: one without a usable unit or with gaps is left aside."""
    if position is None:
        return None
    unit = headers[position].unit or layout.units.get(quantity) or _spelled_in_name(headers[position].name)
    if unit is None or not units.is_unit(unit, "capacity"):
        return None
    values = _column(table, headers, position, quantity, layout, empty=True)
    return values if values is not None and bool(np.isfinite(values).all()) else None


def _seconds(
    table: Table, headers: list[Header], position: int | None, quantity: str, layout: Layout, *, empty: bool = False
) -> Floats | None:
    """Read a column of time: numbers in the header's unit, or clock readings such as 120:15:30."""
    if position is None:
        return None
    if table.cells.floats(position) is None:
        texts = table.texts(position)
        if any(":" in text for text in texts[:3]):
            seconds = []
            for row, text in enumerate(texts):
                try:
                    seconds.append(numbers.duration_s(text))
                except ValueError as error:
                    raise Refusal(f"{table.where(row, position)}: {error}") from None
            return np.array(seconds)
    return _column(table, headers, position, quantity, layout, empty=empty)


def _from_step_time(step_time_s: Floats) -> Floats:
    """Return a test time where a file has the step time alone: each step begins when the one before it ended."""
    restart = np.flatnonzero(np.diff(step_time_s) < 0)
    offset = np.zeros(len(step_time_s))
    offset[restart + 1] = step_time_s[restart]
    return step_time_s + np.cumsum(offset)


def _current(
    table: Table, headers: list[Header], at: dict[str, int | None], layout: Layout, time: Floats
) -> tuple[Floats, bool]:
    current = _column(table, headers, at["current_mA"], "current_mA", layout)
    if current is not None:
        return current, False
    position = _dq(headers)
    if position is None:
        raise Refusal(f"{table.place}: has no column of current; its columns are " + ", ".join(table.header[:12]))
    charge = table.floats(position) * units.factor(headers[position].unit or "", "capacity")
    return current_from_charge(time, charge), True


def current_from_charge(time_s: Floats, dq_mAh: Floats) -> Floats:
    """Return I = dq/dt (mA) where a file holds charge steps instead of a current (BioLogic GCPL)."""
    gap = np.diff(time_s, prepend=time_s[:1])
    return np.where(gap > 0, dq_mAh * 3600.0 / np.where(gap > 0, gap, 1.0), 0.0)


def _index(table: Table, position: int | None) -> Floats | None:
    if position is None:
        return None
    fast = table.cells.floats(position)
    if fast is not None and bool(np.isfinite(fast).all()):
        return fast
    texts = table.texts(position)
    names = {text: float(number) for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([names[text] for text in texts])


def _wall(table: Table, position: int | None) -> Floats | None:
    """Return the wall clock in seconds: a serial day, seconds or milliseconds since 1970, or a date; None if unreadable."""
    if position is None:
        return None
    fast = table.cells.floats(position)
    if fast is not None:
        size = float(np.nanmax(fast)) if len(fast) else 0.0
        scale = 86400.0 if 2e4 < size < 8e4 else (1e-3 if size > 1e11 else 1.0)
        return fast * scale if bool(np.isfinite(fast).all()) else None
    cells = table.cells.column(position)
    moments = [cell for cell in cells if isinstance(cell, datetime)]
    if len(moments) == len(cells):
        return np.array([(cell - moments[0]).total_seconds() for cell in moments])
    texts = [str(cell).strip() for cell in cells]
    form = next((form for form in _DATES if _fits(texts[0], form) and _fits(texts[-1], form)), None)
    if form is None:
        return None
    first = datetime.strptime(texts[0], form)
    last = datetime.strptime(texts[-1], form)
    return np.linspace(0.0, (last - first).total_seconds(), len(texts)) if last >= first else None


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _directed(table: Table, position: int | None, layout: Layout, series: Series) -> Series:
    """Give the current its sign from the state column where the vendor writes it without one."""
    if position is None or not layout.unsigned_current or bool((series.current_mA < 0).any()):
        return series
    states = [text.lower() for text in table.texts(position)]
    sign = np.zeros(len(states))
    for row, state in enumerate(states):
        if state in _CHARGE_STATES or state in _DISCHARGE_STATES:
            sign[row] = 1.0 if state in _CHARGE_STATES else -1.0
        elif state not in _REST_STATES and series.current_mA[row] != 0:
            raise Refusal(
                f"{table.where(row, position)}: nobody knows the state {state!r}, and the current has no sign; known "
                "are C, D and R"
            )
    return replace(
        series,
        current_mA=series.current_mA * sign,
        notes=(*series.notes, "the current has no sign in this file; its direction was taken from the state column"),
    )


def _checked_order(series: Series, table: Table) -> Series:
    fall = np.flatnonzero(np.diff(series.time_s) < 0)
    if len(fall):
        row = int(fall[0]) + 1
        raise Refusal(
            f"{table.place}, row {table.first_row + row}: the test time falls from {series.time_s[row - 1]:g} s to "
            f"{series.time_s[row]:g} s; "
            "two tests or two channels stand in one file, or rows were sorted: export one test in order of time"
        )
    return series


def in_order(table: Table, points: Floats) -> Table:
    """Return a table sorted by its data points, which must be all there.

    Raises:
        Refusal: a data point is missing or stands there twice.
    """
    order = np.argsort(points, kind="stable")
    steps = np.diff(points[order])
    wrong = np.flatnonzero(steps != 1)
    if len(wrong):
        after = points[order][wrong[0]]
        what = "stands there twice" if steps[wrong[0]] == 0 else f"is followed by {points[order][wrong[0] + 1]:g}"
        raise Refusal(f"{table.place}: data point {after:g} {what}; the file is damaged, cut off or holds two channels")
    if bool((order == np.arange(len(order))).all()):
        return table
    columns = []
    for position in range(len(table.header)):
        fast = table.cells.floats(position)
        column = fast if fast is not None else np.array(table.cells.column(position), dtype=object)
        columns.append(column[order])
    return replace(table, cells=Columns(tuple(columns)))

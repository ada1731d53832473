"""Numbers, units, dates, earlier work and powder results."""

import math
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_files import write

import ingest
from campaign import units
from campaign.errors import Refusal
from ingest import numbers
from ingest.headers import parse


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_every_float_comes_back(value):
    assert numbers.number(repr(value)) == value
    assert numbers.number(repr(value).replace(".", ",")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6.28", 6.28),
        (" 6,28 ", 6.28),
        ("−3", -3),
        ("1.234,5", 1234.5),
        ("1,234.5", 1234.5),
        ("1 234,5", 1234.5),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("+2", 2),
    ],
)
def test_numbers_as_people_write_them(text, value):
    assert numbers.number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1_000",
        "٣",
        "１",
        "0x10",
        "1.2.3",
        "1,2,3",
        "1.234,5,6",
        "1e",
        "--1",
        "6.28 mAh",
        "True",
        "²",
        "1 2",
    ],
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        numbers.number(text)


@pytest.mark.parametrize(
    "text",
    [
        "04/03/2026",
        "4.3.26",
        "13/03/2026",
        "March 2026",
        "2026-13-01",
        "2026-02-30",
        "12:30",
        "1",
        "46085x",
        "0026-03-04",
        "9999-03-04",
    ],
)
def test_dates_that_are_ambiguous_or_none_are_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        numbers.moment(text)


@pytest.mark.parametrize(
    ("place", "winter", "summer"), [("UTC", 12, 12), ("Europe/Berlin", 11, 10), ("Asia/Shanghai", 4, 4)]
)
def test_dates_without_a_zone_are_local_time(place, winter, summer, monkeypatch):
    monkeypatch.setenv("TZ", place)
    time.tzset()
    try:
        assert numbers.moment("2026-03-04T10:30+02:00").isoformat() == "2026-03-04T08:30:00+00:00"
        assert numbers.moment("2026-03-04T10:30Z").isoformat() == "2026-03-04T10:30:00+00:00"
        for noon in ("2026-03-04 12:00", "46085.5"):
            assert numbers.moment(noon).isoformat() == f"2026-03-04T{winter:02d}:00:00+00:00"
        assert numbers.moment("2026-07-04 12:00").isoformat() == f"2026-07-04T{summer:02d}:00:00+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("unit", "quantity", "factor"),
    [
        ("A", "current", 1e3),
        ("µA", "current", 1e-3),
        ("uA", "current", 1e-3),
        ("mAh g-1", "capacity_per_mass", 1),
        ("mA·h/g", "capacity_per_mass", 1),
        ("Ah/kg", "capacity_per_mass", 1),
        ("mAh cm⁻²", "capacity_per_area", 1),
        ("C", "capacity", 1 / 3.6),
        ("mAhr", "capacity", 1),
        ("min", "time", 60),
        ("wt%", "share", 1),
        ("S/cm", "conductivity", 1e3),
        ("S/m", "conductivity", 10),
        ("nm", "length", 1e-3),
        ("g/m2", "loading", 0.1),
    ],
)
def test_units_of_labs(unit, quantity, factor):
    assert units.factor(unit, quantity) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("unit", "quantity"),
    [
        ("ma", "current"),
        ("MA", "current"),
        ("C", "current"),
        ("mAh", "capacity_per_mass"),
        ("V", "current"),
        ("K", "temperature"),
        ("year", "time"),
        ("", "time"),
    ],
)
def test_units_off_the_list_are_refused(unit, quantity):
    with pytest.raises(Refusal, match="right would be one of"):
        units.factor(unit, quantity)


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        ("Discharge Capacity (mAh/g)", "dischargecapacity", "mAh/g"),
        ("<I>/mA", "i", "mA"),
        ("discharge_capacity_mAh_g", "dischargecapacity", "mAh_g"),
        ("Test Time / s", "testtime", "s"),
        ("(Q-Qo)/mA.h", "qqo", "mA.h"),
        ("Q charge/discharge/mA.h", "qchargedischarge", "mA.h"),
        ("Voltage (V vs Li)", "voltage", "V vs Li"),
        ("Cycle_Index", "cycleindex", None),
        ("\ufeffCycle", "cycle", None),
        ("discharge_capacity_mAh_g_composite", "dischargecapacity", "mAh_g_composite"),
    ],
)
def test_headers(header, name, unit):
    found = parse(header)
    assert (found.name, found.unit) == (name, unit)


HISTORY = (
    "label,speed_rpm,time_h,sse,active_wt_pct,discharge_capacity_cycle_50_mAh_g_composite,doi\n"
    'old 1,400,5,LPSCl,22.75,"110,5",10.1/x\nold 2,1500,,LGPS,20,,\n'
)


def test_earlier_work(tmp_path):
    found = ingest.read_history(write(tmp_path / "h.csv", HISTORY))
    assert found.designs["speed_rpm"].tolist() == [400, 1500]
    assert found.designs["carbon_wt_pct"].tolist() == [27.25, 30]
    assert found.designs["time_h"].tolist() == [5, 5]
    assert found.outcomes.iloc[0, 0] == 110.5 and math.isnan(found.outcomes.iloc[1, 0])
    assert found.notes["label"].tolist() == ["old 1", "old 2"] and found.rows == (2, 3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("speed_rpm", "speed", "nobody knows the column 'speed': did you mean"),
        ("400", "fast", "row 2, column 'speed_rpm': 'fast' is not a number"),
        ("22.75", "82.75", "row 2.*100"),
        ("400", "-400", "row 2.*negative"),
        ("110,5", "-1", "row 2.*negative"),
    ],
)
def test_earlier_work_that_is_wrong(tmp_path, old, new, reason):
    with pytest.raises(Refusal, match=reason):
        ingest.read_history(write(tmp_path / "h.csv", HISTORY.replace(old, new)))


POWDER = "trial,EDS halide to P,crystallite size (nm),pellet conductivity (S/cm)\nT0001,2.4,300,0.00044\nT0002,,250,\n"
KNOWN = pd.Index(["T0001", "T0002"])


def test_powder_results_in_our_units(tmp_path):
    found = ingest.read_powder(write(tmp_path / "p.csv", POWDER), known_trials=KNOWN)
    assert found["crystallite_size_um"].tolist() == [0.3, 0.25]
    assert found["sse_pellet_conductivity_mS_cm"].tolist()[0] == pytest.approx(0.44)
    assert math.isnan(found["surface_halide_to_P"][1])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("T0002", "T0020", "nobody knows 'T0020': did you mean"),
        ("(S/cm)", "(V)", "no unit of conductivity"),
        (" (nm)", "", "names no unit"),
        ("2.4", "-2.4", "not possible"),
        ("0.00044", "440", "not possible"),
        ("EDS halide to P", "colour", "nobody knows the column"),
        ("trial,", "sample,", "nobody knows the column"),
    ],
)
def test_powder_results_that_are_wrong(tmp_path, old, new, reason):
    with pytest.raises(Refusal, match=reason):
        ingest.read_powder(write(tmp_path / "p.csv", POWDER.replace(old, new)), known_trials=KNOWN)

"""Names, units, states and dates as cyclers and people write them: which column is taken for what, and in which unit."""

import math
from datetime import datetime

import numpy as np
import pytest
from lab_files import record

from campaign.errors import Refusal
from ingest import formats, text
from ingest.headers import parse
from ingest.layouts import recognise
from ingest.limits import Limits
from ingest.series import Series
from ingest.series_reader import in_order, is_series, read
from ingest.tables import Columns, Table

ROWS = 6
VALUES = {"time_s": [0, 10, 20, 30, 40, 50], "current_mA": [-1, -1, -1, 1, 1, 1], "voltage_V": [3, 2, 1, 1, 2, 3]}


def understood(columns, limits=None):
    """Write columns (header -> cells) as CSV and read them; returns the format and what was found."""
    rows = zip(*columns.values(), strict=True)
    raw = ";".join(columns) + "\n" + "".join(";".join(str(cell) for cell in row) + "\n" for row in rows)
    document = text.document("f", raw.encode())
    found = formats.from_table(text.table(document, delimiter=";", limits=limits or Limits()))
    return found.format, found.content


def plain(**changes):
    names = {"time_s": "Test Time (s)", "current_mA": "Current (mA)", "voltage_V": "Voltage (V)"}
    return {changes.get(key, name): VALUES[key] for key, name in names.items()}


NAMES = {
    "time_s": "Test Time (s);TotalTime/s;Elapsed Time(s);Time Total [s];Run Time, s;elapsed_s;time_s;Test (s);t/s;t (s)",
    "current_mA": "Current(mA);current_mA;I/mA;Amps (mA);amp_mA;Cur(mA);I_avg/mA;Mean Current (mA);<I>/mA",
    "voltage_V": "Voltage(V);V (V);U/V;E (V);Ewe/V;Ecell/V;Volts;volt;Potential (V);Cell Voltage (V);cell_potential_V;"
    "Ewe-Ece/V;Vol(V)",
}


@pytest.mark.parametrize(
    ("quantity", "name"), [(quantity, name) for quantity, names in NAMES.items() for name in names.split(";")]
)
def test_names_of_the_three_columns(quantity, name):
    _, found = understood(plain(**{quantity: name}))
    assert {key: getattr(found, key).tolist() for key in VALUES} == VALUES


COUNTERS = {
    "charge_counter_mAh": "Charge Capacity (mAh);charging_capacity_mAh;Chg. Cap.(mAh);Capacity Charge (mAh);Q charge/mA.h;"
    "q_chg (mAh);Charge Cap (mAh);Chg Capacity (mAh)",
    "discharge_counter_mAh": "Discharge Capacity (mAh);discharging_capacity_mAh;DChg. Cap.(mAh);Capacity Discharge (mAh);"
    "Q discharge/mA.h;q_dis (mAh);Discharge Cap (mAh);DChg Capacity (mAh)",
    "counter_mAh": "Capacity (mAh);Cap (mAh);Q (mAh);Amp-hr (mAh);Amp Hour (mAh);Step Capacity (mAh)",
    "throughput_mAh": "(Q-Qo)/mA.h;Net Capacity (mAh);throughput_mAh",
    "step_time_s": "Step Time (s);Relative Time (s);Step (s);Time (s)",
    "vendor_cycle": "Cycle;Cycle Number;Cycle_Index;Cycle Count;Cycle ID;Cyc#;Cycle No.;Cycles;full cycle",
    "step": "Step;Step Index;Step Number;Step ID;Ns;Step Count;Step No",
}


@pytest.mark.parametrize(
    ("quantity", "name"), [(quantity, name) for quantity, names in COUNTERS.items() for name in names.split(";")]
)
def test_names_of_the_other_columns(quantity, name):
    extra = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    _, found = understood(plain() | {name: extra})
    assert getattr(found, quantity).tolist() == extra
    for other in {*COUNTERS} - {quantity}:
        assert getattr(found, other) is None, other


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Test Time", r"names no unit; write Test Time \(s\)"),
        ("t", "names the columns|no column of test time"),
        ("Test", "names the columns|no column of test time"),
        ("Step", "names the columns|no column of test time"),
        ("Cycle (s)", "no column of test time"),
    ],
)
def test_what_is_no_time_without_its_unit(name, reason):
    with pytest.raises(Refusal, match=reason):
        understood(plain(time_s=name))


def test_counters_without_a_usable_unit_or_with_gaps_are_left_aside():
    good = [1, 2, 3, 4, 5, 6]
    for name, cells in (
        ("Charge Capacity", good),
        ("Charge Capacity (V)", good),
        ("Charge Capacity (%)", good),
        ("Charge Capacity (mAh)", [1, 2, "", 4, 5, 6]),
    ):
        assert understood(plain() | {name: cells})[1].charge_counter_mAh is None
    assert understood(plain() | {"Charge Capacity (Ah)": good})[1].charge_counter_mAh.tolist() == [
        1e3 * n for n in good
    ]


def test_what_counts_or_names_has_no_unit_of_a_quantity():
    _, found = understood(
        plain() | {name: [1, 1, 1, 2, 2, 2] for name in ("Cycle (h)", "Date (h)", "Ns (V)", "Mode (V)")}
    )
    assert found.vendor_cycle is None and found.wall_s is None and found.step is None
    states = maccor(["D"] * 6, [1] * 6)
    unsigned = {("State (V)" if name == "State" else name): cells for name, cells in states.items()}
    assert understood(unsigned)[1].current_mA.tolist() == [1000] * 6


def test_the_better_name_wins_wherever_it_stands():
    twice = {"Time (s)": [0, 1, 2, 0, 1, 2], **plain(), "Relative Time (min)": [0, 1, 2, 0, 1, 2]}
    _, found = understood(twice)
    assert found.time_s.tolist() == VALUES["time_s"]
    assert found.step_time_s.tolist() == [0, 60, 120, 0, 60, 120]


# ---- vendors ---------------------------------------------------------------------------------------------------------
LAYOUTS = {
    "maccor": "Rec#;Cyc#;Step;Test (Sec);Step (Sec);Amp-hr;Watt-hr;Amps;Volts;State",
    "maccor ": "Rec;Cycle;Step;TestTime;StepTime;Amp-hr;Amps;Volts;MD",
    "arbin": "Data_Point;Test_Time;Step_Time;Step_Index;Cycle_Index;Current;Voltage;Charge_Capacity;Discharge_Capacity",
    "biologic-mpt": "mode;ox/red;error;Ns;time/s;Ewe/V;I/A",
    "landt": "Index;TestTime/s;StepTime/s;Voltage/V;Current/A;Capacity/Ah;State",
    "neware": "Step Type;Time;Total Time;Current(A);Capacity(Ah);Voltage(V)",
    "bdf": "Test Time / s;Voltage / V;Current / A",
    "bdf ": "test_time_second;voltage_volt;current_ampere",
    "csv": "Test Time (s);Voltage (V);Current (A)",
}
MEANING = {
    "test": "time_s", "testtime": "time_s", "totaltime": "time_s", "testtimesec": "time_s", "time": "step_time_s",
    "amps": "current_mA", "current": "current_mA", "i": "current_mA", "volts": "voltage_V", "voltage": "voltage_V",
    "ewe": "voltage_V", "amphr": "counter_mAh", "capacity": "counter_mAh", "chargecapacity": "charge_counter_mAh",
    "dischargecapacity": "discharge_counter_mAh", "steptime": "step_time_s",
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_vendor_s_table_is_told_by_its_names_and_has_its_units(case):
    columns = {}
    for name in LAYOUTS[case].split(";"):
        meaning = MEANING.get(parse(name).name)
        if name == "Step (Sec)" or (meaning == "step_time_s"):
            meaning = "time_s" if case == "biologic-mpt" else "step_time_s"
        if meaning == "current_mA":
            columns[name] = [-1, -1, -1, 1, 1, 1]
        elif meaning in VALUES:
            columns[name] = VALUES[meaning]
        elif meaning == "step_time_s":
            columns[name] = [0, 10, 20, 0, 10, 20]
        elif meaning is not None:
            columns[name] = [0, 1, 2, 3, 4, 5]
        else:
            columns[name] = ["D", "D", "D", "C", "C", "C"] if name in ("State", "MD", "Step Type") else [1] * ROWS
    kind, found = understood(columns)
    assert kind == case.strip()
    assert found.time_s.tolist() == VALUES["time_s"] and found.voltage_V.tolist() == VALUES["voltage_V"]
    assert found.current_mA.tolist() == [1000.0 * i for i in VALUES["current_mA"]]
    for name in ("charge_counter_mAh", "discharge_counter_mAh", "counter_mAh"):
        if any(MEANING.get(parse(header).name) == name for header in columns):
            assert getattr(found, name).tolist() == [0, 1000, 2000, 3000, 4000, 5000]
    if any(MEANING.get(parse(header).name) == "step_time_s" for header in columns) and kind != "biologic-mpt":
        assert found.step_time_s.tolist() == [0, 10, 20, 0, 10, 20]


@pytest.mark.parametrize("missing", range(7))
def test_one_name_less_is_another_layout(missing):
    names = (
        "Test_Time(s);Step_Index;Cycle_Index;Current(A);Voltage(V);Charge_Capacity(Ah);Discharge_Capacity(Ah)".split(
            ";"
        )
    )
    assert recognise([parse(name) for name in names]).format == "arbin"
    del names[missing]
    assert recognise([parse(name) for name in names]).format == "csv"


CHARGES = "C,CHG,Charge,CC Chg,CCCV Chg,CV Chg,C_CC,C_CV,CC Charge,Charging".split(",")
DISCHARGES = "D,DChg,Discharge,CC DChg,CCCV DChg,CV DChg,D_CC,D_CV,CC Discharge,Discharging".split(",")
RESTS = "R,Rest,P,S,O,I,Pause,Suspend,End,Idle,Silence".split(",")


def maccor(states, current):
    columns = {"Rec#": [1] * ROWS, "Cyc#": [1] * ROWS, "Test (Sec)": VALUES["time_s"], "Amps": current}
    return columns | {"Volts": VALUES["voltage_V"], "State": states}


@pytest.mark.parametrize(("states", "sign"), [*((s, 1) for s in CHARGES), *((s, -1) for s in DISCHARGES)])
def test_a_current_without_sign_takes_it_from_the_state(states, sign):
    _, found = understood(maccor(["R", states, states, states, states, "R"], [0.002, 1, 1, 1, 1, 0]))
    assert found.current_mA.tolist() == [0.0, *[1000.0 * sign] * 4, 0.0]
    assert "the current has no sign in this file; its direction was taken from the state column" in found.notes


@pytest.mark.parametrize("state", RESTS)
def test_at_rest_there_is_no_direction(state):
    _, found = understood(maccor(["D", "D", state, state, "C", "C"], [1, 1, 0.5, 0, 1, 1]))
    assert found.current_mA.tolist() == [-1000, -1000, 0, 0, 1000, 1000]


def test_a_state_that_nobody_knows():
    with pytest.raises(Refusal, match="row 4, column 'State': nobody knows the state 'z'"):
        understood(maccor(["D", "D", "Z", "C", "C", "C"], [1] * ROWS))
    _, found = understood(maccor(["D", "D", "Z", "C", "C", "C"], [1, 1, 0, 1, 1, 1]))
    assert found.current_mA.tolist() == [-1000, -1000, 0, 1000, 1000, 1000]
    signed = understood(maccor(["Z"] * ROWS, [-1, -1, -1, 1, 1, 1]))[1]
    assert signed.current_mA.tolist() == [-1000] * 3 + [1000] * 3 and signed.notes == ()
    others = plain() | {"State": ["Z"] * ROWS}
    assert understood({**others, "Current (mA)": [1] * ROWS})[1].current_mA.tolist() == [1] * ROWS


# ---- clocks ----------------------------------------------------------------------------------------------------------
STAMPS = {
    "month first, two digits": ("01/15/26 10:00:00", "01/15/26 10:00:50"),
    "month first": ("01/15/2026 10:00:00", "01/15/2026 10:00:50"),
    "day first": ("15/01/2026 10:00:00", "15/01/2026 10:00:50"),
    "year first, slashes": ("2026/01/15 10:00:00", "2026/01/15 10:00:50"),
    "half a day": ("01/15/2026 11:59:30 AM", "01/15/2026 12:00:20 PM"),
    "ISO": ("2026-01-15 10:00:00", "2026-01-15 10:00:50"),
    "ISO with a fraction": ("2026-01-15 10:00:00.25", "2026-01-15 10:00:50.25"),
    "seconds": (1.77e9, 1.77e9 + 50),
    "milliseconds": (1.77e12, 1.77e12 + 50_000),
    "days of a spreadsheet": (46037.0, 46037.0 + 50 / 86400),
}
NAMES_OF_CLOCKS = "DateTime;Date;Timestamp;DPt Time;Real Time;Absolute Time;System Time;date_time_utc".split(";")


@pytest.mark.parametrize("stamp", STAMPS)
def test_the_wall_clock(stamp):
    first, last = STAMPS[stamp]
    _, found = understood(plain() | {"DateTime": [first] * (ROWS - 1) + [last]})
    assert found.wall_s[-1] - found.wall_s[0] == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize("name", NAMES_OF_CLOCKS)
def test_names_of_the_wall_clock(name):
    assert understood(plain() | {name: VALUES["time_s"]})[1].wall_s.tolist() == VALUES["time_s"]


@pytest.mark.parametrize("last", ["soon", "2026-01-14 10:00:00", ""])
def test_a_clock_that_is_none_or_falls_back_is_left_aside(last):
    stamps = ["2026-01-15 10:00:00"] * (ROWS - 1) + [last]
    assert understood(plain() | {"DateTime": stamps})[1].wall_s is None


def test_a_workbook_s_own_dates():
    moments = np.array([datetime(2026, 1, 15, 10, 0, n) for n in range(3)], dtype=object)
    arrays = (np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0]), moments)
    table = Table("f", ("Test Time (s)", "Current (mA)", "Voltage (V)", "Date"), 2, 3, Columns(arrays))
    assert read(table)[1].wall_s.tolist() == [0, 1, 2]
    stamps = np.array(["2026-01-15T10:00:00", "2026-01-15T10:00:01", "2026-01-15T10:00:02"], dtype="datetime64[us]")
    assert np.diff(read(Table("f", table.header, 2, 3, Columns((*arrays[:3], stamps))))[1].wall_s).tolist() == [1, 1]


def test_time_by_clock_readings_and_by_step_time_alone():
    clocks = ["0:00:00", "0:00:10", "0:00:20", "0:00:30", "0:00:40", "0:00:50"]
    assert understood(plain(time_s="Time") | {"Time": clocks})[1].time_s.tolist() == VALUES["time_s"]
    with pytest.raises(Refusal, match=r"row 5, column 'Time': '0:61:30' is not a time"):
        understood(plain(time_s="Time") | {"Time": [*clocks[:3], "0:61:30", *clocks[4:]]})
    alone = {
        "Step Time (s)": [0, 10, 20, 0, 10, 20],
        "Current (mA)": VALUES["current_mA"],
        "Voltage (V)": VALUES["voltage_V"],
    }
    found = understood(alone)[1]
    assert found.time_s.tolist() == [0, 10, 20, 20, 30, 40]
    assert understood({**alone, "Step Time (s)": [5, 15, 3, 13, 4, 14]})[1].time_s.tolist() == [5, 15, 18, 28, 32, 42]


def test_time_that_falls_and_columns_that_are_missing():
    with pytest.raises(Refusal, match=r"f, row 5: the test time falls from 20 s to 19 s"):
        understood(plain() | {"Test Time (s)": [0, 10, 20, 19, 40, 50]})
    assert is_series([parse(name) for name in ("time (s)", "V (V)", "dq/mA.h")])
    assert not is_series([parse(name) for name in ("time (s)", "V (V)", "dq")])
    assert not is_series([parse(name) for name in ("time (s)", "I/mA")])
    assert not is_series([parse(name) for name in ("V (V)", "I/mA")])


def test_current_from_charge():
    _, found = understood({"time/s": [0, 10, 20, 20], "Ewe/V": [1, 2, 3, 3], "dq/mA.h": [0, 1 / 360, -2 / 360, 5]})
    assert found.current_mA.tolist() == pytest.approx([0, 1, -2, 0])
    assert found.current_derived and found.interval_mean
    assert not understood(plain())[1].interval_mean
    assert understood(plain(current_mA="<I>/mA"))[1].interval_mean


@pytest.mark.parametrize(("positive", "refused"), [(2, True), (1, False)])
def test_an_impedance_record(positive, refused):
    columns = plain() | {"freq/Hz": [1000.0] * positive + [0.0] * (ROWS - positive)}
    if refused:
        with pytest.raises(Refusal, match=r"f: is an impedance record \(column 'freq/Hz'\)"):
            understood(columns)
    else:
        assert isinstance(understood(columns)[1], Series)


def test_names_of_steps_are_numbered():
    assert understood(plain() | {"Step": ["a", "a", "b", "b", "a", "c"]})[1].step.tolist() == [0, 0, 1, 1, 0, 2]


# ---- points in order -------------------------------------------------------------------------------------------------
def points(*values):
    cells = (np.array(values, dtype=float), np.array([f"n{v}" for v in values], dtype=object))
    return Table("f", ("Data_Point", "name"), 1, len(values), Columns(cells))


def test_data_points_are_put_in_order_and_none_is_missing():
    found = in_order(points(3, 1, 2), np.array([3.0, 1.0, 2.0]))
    assert found.floats(0).tolist() == [1, 2, 3] and found.texts(1) == ["n1", "n2", "n3"]
    ordered = points(4, 5, 6)
    assert in_order(ordered, np.array([4.0, 5.0, 6.0])) is ordered
    with pytest.raises(Refusal, match="f: data point 2 is followed by 4"):
        in_order(points(1, 4, 2), np.array([1.0, 4.0, 2.0]))
    with pytest.raises(Refusal, match="f: data point 2 stands there twice"):
        in_order(points(1, 2, 2), np.array([1.0, 2.0, 2.0]))


# ---- capacities by cycle ---------------------------------------------------------------------------------------------
DISCHARGE = (
    "Discharge Capacity (mAh);discharge_areal_capacity_mAh;Areal Discharge Capacity (mAh);Discharge specific capacity (mAh);"
    "Specific discharge capacity (mAh);Specific capacity discharge (mAh);Capacity discharge (mAh);Discharge Cap (mAh);"
    "Dischg. Capacity (mAh);DChg Capacity (mAh);DChg. Cap. (mAh);DChg. Spec. Cap. (mAh);Q_dis (mAh);Qdischarge/mAh;Qd (mAh);"
    "Capacity (mAh);Specific capacity (mAh);Areal capacity (mAh)"
)
CHARGE = (
    "Charge Capacity (mAh);charge_areal_capacity_mAh;Areal Charge Capacity (mAh);Charge specific capacity (mAh);"
    "Specific charge capacity (mAh);Specific capacity charge (mAh);Capacity charge (mAh);Charge Cap (mAh);"
    "Chg Capacity (mAh);Chg. Cap. (mAh);Chg. Spec. Cap. (mAh);Q_chg (mAh);Qcharge/mAh;Qcha (mAh);Qc (mAh)"
)


@pytest.mark.parametrize(
    ("kind", "name"), [("discharge", n) for n in DISCHARGE.split(";")] + [("charge", n) for n in CHARGE.split(";")]
)
def test_names_of_capacities_by_cycle(kind, name):
    from ingest import capacity_table
    from ingest.checks import CellFacts

    _, table = understood({"cycle": [1, 2], name: [5.0, 4.0]})
    rows, _ = capacity_table.read(table, start="discharge", facts=CellFacts(), need_mAh=True)
    assert [row[f"{kind}_capacity_mAh"] for row in rows] == [5.0, 4.0]
    other = "charge" if kind == "discharge" else "discharge"
    assert all(math.isnan(row[f"{other}_capacity_mAh"]) for row in rows)


def test_a_record_of_a_test_is_no_table_of_capacities():
    with pytest.raises(Refusal, match="no column of voltage"):
        understood({"cycle": [1, 2], "time (s)": [1, 2], "I (mA)": [1, 1], "Qdis (mAh)": [1, 2]})
    assert understood({"cycle": [1, 2], "time (s)": [1, 2], "Qdis (mAh)": [1, 2]})[0] == "capacity-table"
    assert understood({"cycle": [1, 2], "I (mA)": [1, 1], "Qdis (mAh)": [1, 2]})[0] == "capacity-table"


# ---- the cell that a column names ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["cell_id", "Cell Name", "cell", "Barcode"])
def test_a_column_may_name_the_cell(name):
    def found(cells):
        columns = {name: cells, "cycle": [1, 2], "Qdis (mAh)": [5.0, 4.0]}
        raw = ";".join(columns) + "\n" + "".join(f"{c};{n};{q}\n" for c, n, q in zip(*columns.values(), strict=True))
        return formats.from_table(text.table(text.document("f", raw.encode()), limits=Limits()))

    assert found(["A-1", "A-1"]).metadata == {"cell_id": "A-1"}
    assert found(["A-1", ""]).metadata == {"cell_id": "A-1"}
    assert found(["", ""]).metadata == {}
    with pytest.raises(Refusal, match=r"names 2 cells \(A-1, A-2\)"):
        found(["A-1", "A-2"])


def test_the_record_of_the_kit_is_what_it_says():
    rows = record([(-1, 1)], dt_s=1800)
    assert rows[:, 0].tolist() == [0, 1800]

"""Thirty files that any reader would parse and that are wrong: each is stopped or flagged, with the reason."""

import re

import numpy as np
import pytest
from lab_files import record, series_csv, table, write
from test_vendor_files import ARBIN, TWO_CYCLES, arbin_rows

import ingest
from campaign.errors import Refusal

CELL = ingest.CellFacts(active_mass_mg=0.9, area_cm2=0.785, active_wt_pct=22.75, capacity_mAh_g=1672.0)
SERIES = record(TWO_CYCLES, dt_s=60, logged="both")


def with_columns(**changes):
    rows = SERIES.copy()
    for name, change in changes.items():
        column = {"time": 0, "current": 3, "voltage": 4}[name]
        rows[:, column] = change(rows[:, column])
    return series_csv(rows)


def capacities(header, values, name="cycle"):
    return table(f"{name},{header}", [[n, *row] for n, row in values])


def wall_clock(factor):
    body = [
        [f"{t:.3f}", f"{i:.5f}", f"{v:.4f}", f"{1.77e9 + t * factor:.2f}"] for t, _, _, i, v, _, _ in SERIES.tolist()
    ]
    return table("Test Time (s),Current (mA),Voltage (V),Timestamp", body)


def arbin(change):
    rows = SERIES.copy()
    change(rows)
    return table(ARBIN, arbin_rows(rows))


def doubled(rows):
    rows[:, 5:7] *= 2


def other_unit(rows):
    rows[:, 5:7] *= 1000


def slow_step_clock():
    body = [[f"{t:.3f}", f"{s / 60:.5f}", f"{i:.5f}", f"{v:.4f}"] for t, _, s, i, v, _, _ in SERIES.tolist()]
    return table("Test Time (s),Step Time (s),Current (mA),Voltage (V)", body)


two_channels = np.concatenate([SERIES, SERIES])
interleaved = np.repeat(SERIES, 2, axis=0)
interleaved[1::2, 0] -= 30

WRONG = {
    "current reversed": (with_columns(current=lambda i: -i), "reverse the sign"),
    "voltage reversed": (with_columns(voltage=lambda v: -v), "reverse the sign"),
    "amperes under a header of mA": (with_columns(current=lambda i: i / 1000), "theory"),
    "mA under a header of A": (series_csv(SERIES, "time_s,current_A,voltage_V"), "times the theory"),
    "minutes under a header of s": (wall_clock(60), "unit of the time column"),
    "hours under a header of s": (wall_clock(3600), "unit of the time column"),
    "ms under a header of s": (wall_clock(0.001), "unit of the time column"),
    "s under a header of min": (series_csv(SERIES, "time_min,current_mA,voltage_V"), "times the theory"),
    "step time in minutes": (slow_step_clock(), "step time"),
    "counter doubled": (arbin(doubled), "apart"),
    "counter in mAh under a header of Ah": (arbin(other_unit), "apart"),
    "two channels one after another": (series_csv(two_channels), "test time falls"),
    "two channels interleaved": (series_csv(interleaved), "test time falls"),
    "current without unit": (series_csv(SERIES, "time_s,current,voltage_V"), "names no unit"),
    "current in volts": (series_csv(SERIES, "time_s,current_V,voltage_V"), "no unit of current"),
    "no voltage": (table("time_s,current_mA", [[0, 1], [60, 1]]), "voltage"),
    "rest only": (with_columns(current=lambda i: i * 0), "carries no current"),
    "capacity doubled": (capacities("discharge capacity (mAh)", [(1, [3.0]), (2, [2.9])]), "times the theory"),
    "capacity in mAh/g called mAh": (
        capacities("discharge capacity (mAh)", [(1, [1200]), (2, [1100])]),
        "times the theory",
    ),
    "Ah called mAh": (capacities("discharge capacity (mAh)", [(1, [0.0012]), (2, [0.0011])]), "of the theory"),
    "per gram of cell": (capacities("discharge capacity (mAh/g)", [(1, [17000]), (2, [16900])]), "times the theory"),
    "negative capacity": (capacities("discharge capacity (mAh)", [(1, [1.2]), (2, [-1.1])]), "negative"),
    "efficiency of 300 %": (capacities("Discharge (mAh),x", []), None),
    "efficiency column of swapped capacities": (
        capacities(
            "discharge capacity (mAh),charge capacity (mAh),CE (%)",
            [(1, [1.2, 0.9, 90]), (2, [1.1, 1.0, 91]), (3, [1.0, 0.95, 92])],
        ),
        "fits none",
    ),
    "cycle 2.5": (capacities("discharge capacity (mAh)", [(1, [1.2]), (2.5, [1.1])]), "no cycle number"),
    "cycle 2 pi": (capacities("discharge capacity (mAh)", [(6.283185, [1.2]), (12.56637, [1.1])]), "no cycle number"),
    "cycles falling": (
        capacities("discharge capacity (mAh)", [(1, [1.2]), (3, [1.1]), (2, [1.0])]),
        "comes after cycle",
    ),
    "two cells in one table": (
        capacities("discharge capacity (mAh)", [(1, [1.2]), (1, [1.3]), (2, [1.1])]),
        "stands there twice",
    ),
    "cycles from zero": (capacities("discharge capacity (mAh)", [(0, [1.2]), (1, [1.1])]), "counted from 1"),
    "percent for a capacity": (capacities("discharge capacity (%)", [(1, [98]), (2, [97])]), "no unit of a capacity"),
    "capacity without unit": (capacities("discharge capacity", [(1, [1.2]), (2, [1.1])]), "names no unit"),
    "gap in the table": (capacities("discharge capacity (mAh)", [(1, [1.2]), (2, [""]), (3, [1.0])]), "row out"),
}
WRONG["efficiency of 300 %"] = (
    capacities("discharge capacity (mAh),charge capacity (mAh)", [(1, [1.2, 0.3]), (2, [1.1, 1.1])]),
    "coulombic efficiency",
)


def test_there_are_thirty():
    assert len(WRONG) >= 30


@pytest.mark.parametrize("case", WRONG)
def test_stopped_or_flagged_with_the_reason(tmp_path, case):
    text, reason = WRONG[case]
    path = write(tmp_path / "cell.csv", text)
    try:
        found = ingest.read_cycler(path, cell=CELL)
    except Refusal as refusal:
        assert re.search(reason, str(refusal)) and str(refusal).startswith("cell.csv")
        return
    told = [
        finding for finding in found.findings if finding.level in ("flag", "warning") and reason in finding.sentence
    ]
    assert told, [finding.sentence for finding in found.findings]


def test_a_right_file_is_neither_stopped_nor_flagged(tmp_path):
    for text in (series_csv(SERIES), table(ARBIN, arbin_rows(SERIES)), wall_clock(1)):
        found = ingest.read_cycler(write(tmp_path / "cell.csv", text), cell=CELL)
        assert not [finding for finding in found.findings if finding.level in ("flag", "warning")]


def test_a_mass_of_one_milligram_is_asked_about(tmp_path):
    text = capacities("discharge capacity (mAh/g)", [(1, [1200]), (2, [1100])])
    found = ingest.read_cycler(write(tmp_path / "cell.csv", text), cell=ingest.CellFacts(active_mass_mg=1.0))
    assert any("never entered" in finding.sentence for finding in found.findings if finding.level == "flag")

"""Every row of the definitions' case table, however the rows were logged, and laws that hold for any protocol."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_files import CASES, record, series_csv, write

import ingest
from ingest.halfcycles import split
from ingest.series import Series


def capacities(found, kind):
    return [None if math.isnan(q) else q for q in found.cycles[f"{kind}_capacity_mAh"]]


@pytest.mark.parametrize("logged", ["start", "end", "both"])
@pytest.mark.parametrize("case", CASES)
def test_case_table(tmp_path, case, logged):
    steps, discharge, charge = CASES[case]
    rest_after = case not in ("cut",)
    path = write(tmp_path / "cell.csv", series_csv(record(steps, logged=logged, rest_after=rest_after)))
    found = ingest.inspect(path)
    assert capacities(found, "discharge") == [q if q is None else pytest.approx(q, rel=0.004) for q in discharge]
    assert capacities(found, "charge") == [q if q is None else pytest.approx(q, rel=0.004) for q in charge]
    assert found.start == "discharge" and not found.first_cycle_partial


def test_efficiencies_of_the_plain_case(tmp_path):
    steps, _, _ = CASES["plain"]
    path = write(tmp_path / "cell.csv", series_csv(record(steps, logged="both", rest_after=True)))
    cycles = ingest.inspect(path).cycles
    assert cycles["ce_out_in"].tolist()[1] == pytest.approx(1.056, abs=0.001)
    assert math.isnan(cycles["ce_out_in"].tolist()[0])
    assert cycles["ce_same_cycle"].tolist()[0] == pytest.approx(0.90, abs=0.001)
    by_charge = ingest.inspect(path, start="charge").cycles
    assert by_charge["cycle"].tolist() == [0, 1, 2]
    assert by_charge["ce_out_in"].tolist()[1] == pytest.approx(0.95 / 0.9, abs=0.001)


def test_case_table_holds_without_a_closing_rest(tmp_path):
    for case in ("plain", "rest inside", "three rates", "CV tail and leak", "pulse in charge"):
        steps, discharge, charge = CASES[case]
        found = ingest.inspect(write(tmp_path / "cell.csv", series_csv(record(steps, logged="both"))))
        assert capacities(found, "discharge")[0] == pytest.approx(discharge[0], rel=0.004)
        assert capacities(found, "charge")[0] == pytest.approx(charge[0], rel=0.004)


def test_running_half_cycle_has_no_value_but_says_how_far_it_came(tmp_path):
    steps, _, _ = CASES["cut"]
    found = ingest.inspect(write(tmp_path / "cell.csv", series_csv(record(steps, logged="both"))))
    last = found.cycles.iloc[-1]
    assert last["discharge_state"] == "running"
    assert last["discharge_so_far_mAh"] == pytest.approx(0.4, rel=0.01)
    finished = ingest.read_cycler(tmp_path / "cell.csv", finished=True)
    assert finished.cycles.iloc[-1]["discharge_capacity_mAh"] == pytest.approx(0.4, rel=0.01)


def test_pulse_is_named_in_a_note(tmp_path):
    steps, _, _ = CASES["pulse in charge"]
    found = ingest.inspect(write(tmp_path / "cell.csv", series_csv(record(steps, rest_after=True))))
    assert any(finding.check == "pulse" for finding in found.findings)


def test_a_cell_that_dies_keeps_its_cycles(tmp_path):
    steps = [(-1, 1), (1, 0.9), (-1, 0.5), (1, 0.4)] + [(-1, 0.01), (1, 0.01)] * 4
    found = ingest.inspect(
        write(tmp_path / "cell.csv", series_csv(record(steps, dt_s=3, logged="both", rest_after=True)))
    )
    assert len(found.cycles) == 6


def test_first_discharge_from_the_middle_is_partial(tmp_path):
    steps = [(-1, 0.2), (1, 0.95), (-1, 0.9), (1, 0.9)]
    found = ingest.inspect(write(tmp_path / "cell.csv", series_csv(record(steps, logged="both", rest_after=True))))
    assert found.first_cycle_partial
    assert math.isnan(found.cycles["discharge_capacity_mAh"][0])
    assert found.cycles["discharge_so_far_mAh"][0] == pytest.approx(0.2, rel=0.01)
    assert found.cycles["discharge_capacity_mAh"][1] == pytest.approx(0.9, rel=0.004)


def test_a_pristine_cell_that_loses_capacity_is_not_partial(tmp_path):
    steps = [(-1, 1), (1, 0.6), (-1, 0.55), (1, 0.54)]
    assert not ingest.inspect(write(tmp_path / "c.csv", series_csv(record(steps, logged="both")))).first_cycle_partial


currents = st.floats(0.2, 5.0)
hours = st.floats(0.2, 3.0)


def as_series(rows, counters=False):
    return Series(
        time_s=rows[:, 0],
        current_mA=rows[:, 3],
        voltage_V=rows[:, 4],
        charge_counter_mAh=rows[:, 5] if counters else None,
        discharge_counter_mAh=rows[:, 6] if counters else None,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(currents, hours), min_size=2, max_size=8), st.sampled_from(["both", "start", "end"]))
def test_any_alternating_protocol_gives_current_times_time(pairs, logged):
    steps = [((-1) ** (k + 1) * current, length) for k, (current, length) in enumerate(pairs)]
    true = [abs(current) * length for current, length in steps]
    if min(true) < 0.05 * max(true):
        return
    dt = 60 * min(length for _, length in steps) / 5
    rows = record([(0, 0.1), *steps, (0, 0.1)], dt_s=dt, logged=logged)
    halves = split(as_series(rows, counters=True))
    assert [half.sign for half in halves] == [int(np.sign(current)) for current, _ in steps]
    for half, expected in zip(halves, true, strict=True):
        assert half.charge_mAh == pytest.approx(expected, rel=0.004 if logged == "both" else 0.02)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 1e4), st.floats(0, 1e7), st.integers(0, 5))
def test_scale_and_start_of_the_clock_do_not_matter(scale, offset, case):
    steps = list(CASES.values())[case][0]
    rows = record(steps, dt_s=20, logged="both")
    base = [half.charge_mAh for half in split(as_series(rows))]
    moved = rows.copy()
    moved[:, 0] += offset
    moved[:, 3] *= scale
    again = [half.charge_mAh / scale for half in split(as_series(moved))]
    assert again == pytest.approx(base, rel=1e-5)


def test_cutting_rests_into_a_half_cycle_changes_nothing():
    whole = split(as_series(record([(-1, 2), (1, 2)], logged="both")))
    pieces = split(as_series(record([(-1, 0.7), (0, 1), (-1, 0.8), (0, 0.3), (-1, 0.5), (1, 2)], logged="both")))
    assert [half.charge_mAh for half in pieces] == pytest.approx([half.charge_mAh for half in whole], rel=0.002)
    assert pieces[0].rests == 2


def test_mean_voltage_is_weighted_by_charge():
    rows = record([(-1, 1), (1, 1)], logged="both")
    rows[:, 4] = np.where(rows[:, 3] < 0, 1.2, 2.0)
    assert [half.mean_voltage_V for half in split(as_series(rows))] == pytest.approx([1.2, 2.0], rel=1e-3)

"""The rules of the integration, each on a record so short that the charge can be added up in the head (mA s)."""

import math

import numpy as np
import pytest

from ingest.cycles import first_direction, states, table, with_efficiencies
from ingest.halfcycles import HalfCycle, signs, split
from ingest.series import Series

SWITCH = [2, 2, 2, -1, -1, -1]
EVEN = [0, 10, 20, 30, 40, 50]


def series(time, current, voltage=None, **more):
    arrays = {name: np.array(values, dtype=float) for name, values in more.items() if not isinstance(values, bool)}
    flags = {name: value for name, value in more.items() if isinstance(value, bool)}
    volts = np.linspace(1.0, 2.0, len(time)) if voltage is None else np.array(voltage, dtype=float)
    return Series(np.array(time, dtype=float), np.array(current, dtype=float), volts, **arrays, **flags)


def charges(found):
    return [half.sign * half.charge_mAh * 3600 for half in found]


def unsure(found):
    return [half.unsure_mAh * 3600 for half in found]


RULES = {
    # name: (time, current, further columns, signed charges, unsure)
    "even, stamped at its start: the current before holds": (EVEN, SWITCH, {}, [60, -20], [20, 10]),
    "even, stamped at its end: the current after holds": ([t + 10 for t in EVEN], SWITCH, {}, [40, -30], [20, 10]),
    "stamped just before half an interval": ([t + 4.9 for t in EVEN], SWITCH, {}, [60, -20], [20, 10]),
    "stamped at half an interval": ([t + 5 for t in EVEN], SWITCH, {}, [40, -30], [20, 10]),
    "a short last interval was logged at the end of its step": ([0, 10, 20, 23, 33, 43], SWITCH, {}, [40, -23], [6, 3]),
    "even within 2 %": ([0, 10, 20, 30.19, 40, 50], SWITCH, {}, [60.38, -19.81], [20.38, 10.19]),
    "not even by 3 %": ([0, 10, 20, 30.3, 40.3, 50.3], SWITCH, {}, [40, -30.3], [20.6, 10.3]),
    "not even by 3 % one before": ([0, 10, 20.3, 30.6, 41, 51], SWITCH, {}, [40.6, -30.7], [20.6, 10.3]),
    "three rows are too few to call even": ([0, 10, 20], [2, 2, -1], {}, [20, -10], [20, 10]),
    "four rows are enough": ([0, 10, 20, 30], [2, 2, 2, -1], {}, [60, 0], [20, 10]),
    "an interval of 1.5 of the next is no hole": ([0, 10, 20, 35, 45, 55], SWITCH, {}, [40, -35], [30, 15]),
    "a longer one is": ([0, 10, 20, 35.2, 45.2, 55.2], SWITCH, {}, [40, -20], [0, 0]),
    "5 % is no change of step": ([0, 10, 20, 30], [2, 2, 2, 2.08], {}, [60.4], [0]),
    "9 % is one": ([0, 10, 20, 30], [2, 2, 2, 2.2], {}, [60], [42]),
    "steps are numbered: a slope inside one is a slope": (EVEN[:4], [4, 4, 2, 2], {"step": [1, 1, 1, 1]}, [90], [0]),
    "steps are numbered: a change of step is one": (EVEN[:5], [4, 4, 4, 2, 2], {"step": [1, 1, 1, 2, 2]}, [140], [60]),
    "a new step at the same current is none": (EVEN[:4], [2, 2, 2, 2], {"step": [1, 1, 1, 2]}, [60], [0]),
    "step time falls: a change of step": (
        EVEN[:5],
        [4, 4, 4, 2, 2],
        {"step_time_s": [0, 10, 20, 4, 14]},
        [80 + 24 + 8 + 20],
        [0],
    ),
    "step time goes on: a slope": (EVEN[:5], [4, 4, 4, 2, 2], {"step_time_s": [0, 10, 20, 30, 40]}, [130], [0]),
    "the step time tells the instant": (
        EVEN[:5],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 4, 14]},
        [52, -14],
        [0, 0],
    ),
    "a step time that goes on tells nothing": (
        EVEN[:4],
        [2, -1, -1, -1],
        {"step_time_s": [0, 10, 20, 30]},
        [-30],  # the first row's own charge is unknown, so nothing is left of it
        [10],
    ),
    "a step time longer than the interval tells nothing": (
        EVEN[:5],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 12, 22]},
        [60, -10],
        [20, 10],
    ),
    "a step time longer by a rounding tells it": (
        EVEN[:5],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 10.0005, 20]},
        [40, -20],
        [0, 0],
    ),
    "a step time of zero is the instant itself": (
        EVEN[:5],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 0, 10]},
        [60, -10],
        [0, 0],
    ),
    "a step time that goes on to a thousandth tells nothing": (
        EVEN[:4],
        [-1, -1, 2, 2],
        {"step_time_s": [0, 5, 15.009, 25]},
        [-10, 40],
        [10, 20],
    ),
    "a negative step time tells nothing": (
        EVEN[:5],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, -1, 9]},
        [60, -10],
        [20, 10],
    ),
    "a hole before the instant is no current": (
        [0, 10, 20, 60, 70],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 5, 15]},
        [40, -15],
        [0, 0],
    ),
    "up to 1.5 intervals before it is": (
        [0, 10, 20, 40, 50],
        SWITCH[:5],
        {"step_time_s": [0, 10, 20, 5, 15]},
        [70, -15],
        [0, 0],
    ),
    "a current that is the mean since the row before": (
        EVEN[:4],
        [5, 2, 2, -1],
        {"interval_mean": True},
        [40, -10],
        [0, 0],
    ),
    "a rest does not end a half-cycle": (EVEN, [2, 2, 2, 0, 2, 2], {}, [20 + 20 + 20 + 20], [40]),
    "one row": ([5], [1], {}, [0], [0]),
    "two rows": ([0, 10], [2, 2], {}, [20], [0]),
    "nothing flows": (EVEN[:3], [0, 0, 0], {}, [], []),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule):
    time, current, more, expected, open_charge = RULES[rule]
    found = split(series(time, current, **more))
    assert charges(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert unsure(found) == pytest.approx(open_charge, rel=1e-9, abs=1e-9)


def test_energy_is_charge_times_the_voltage_where_it_flowed():
    volts = [1, 2, 3, 4, 5, 6]
    for time, expected in ((EVEN, [140, 100]), ([0, 10, 20, 23, 33, 43], [80, 112])):
        found = split(series(time, SWITCH, volts))
        assert [half.energy_mWh * 3600 for half in found] == pytest.approx(expected)
    found = split(series(EVEN[:4], [5, 2, 2, -1], [1, 2, 3, 2], interval_mean=True))
    assert [half.mean_voltage_V for half in found] == pytest.approx([2.0, 2.5])
    assert math.isnan(split(series([5], [1]))[0].mean_voltage_V)


def test_up_to_a_thousandth_of_the_largest_current_is_rest():
    assert signs(np.array([1000.0, 1.0, -1.0, 1.01, -1.01, 0.0])).tolist() == [1, 0, 0, 1, -1, 0]
    assert signs(np.array([])).tolist() == []


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({"charge_counter_mAh": [0, 1, 2, 2, 2, 2], "discharge_counter_mAh": [5, 5, 5, 6, 7, 8]}, [2, 3]),
        ({"throughput_mAh": [10, 11, 12, 11, 10, 9]}, [2, 3]),
        ({"throughput_mAh": [10, 11, 12, 13, 12, 11]}, [2, 2]),
        ({"counter_mAh": [0, 1, 2, 0.1, 1, 2]}, [2, 2]),
        ({"counter_mAh": [0, 1, 2, 0.25, 1, 2]}, [2, 1.75]),
        ({"counter_mAh": [0, -1, -2, -2.5, -3, -4]}, [2, 2]),
        ({"counter_mAh": [7, 8, 9, 9.5, 10, 11]}, [2, 2]),
        ({"charge_counter_mAh": [0, 1, 2, 2, 2, 2]}, [math.nan, math.nan]),
        ({"discharge_counter_mAh": [0, 1, 2, 2, 2, 2]}, [math.nan, math.nan]),
        ({"discharge_counter_mAh": [0, 0, 0, 1, 2, 3], "counter_mAh": [0, 1, 2, 3, 4, 5]}, [2, 3]),
        ({}, [math.nan, math.nan]),
    ],
)
def test_the_vendor_s_counter_counts_by_its_steps_up(counters, expected):
    assert [half.vendor_mAh for half in split(series(EVEN, SWITCH, **counters))] == pytest.approx(expected, nan_ok=True)


def test_the_vendor_s_counter_stands_still_at_rest():
    found = split(series(EVEN, [2, 2, 0, 2, 2, 2], counter_mAh=[0, 1, 3, 4, 5, 6]))
    assert [half.vendor_mAh for half in found] == pytest.approx([4.0])


def blocks(*pieces):
    """Rows every 10 s, stamped at their start: (current, rows) each, and a rest at the end."""
    current = [amount for amount, rows in pieces for _ in range(rows)] + [0.0]
    return series([10.0 * n for n in range(len(current))], current, counter_mAh=np.cumsum(np.abs(current)) * 10 / 3600)


BIG = 10_000
PULSES = {
    "under 2 % between larger ones": ([(100, 10), (-9, 2), (100, 10), (-100, 10)], [2 * BIG, -BIG], [1, 0]),
    "of 2 % is a half-cycle": ([(100, 10), (-10, 2), (100, 10), (-100, 10)], [BIG, -200, BIG, -BIG], [0, 0, 0, 0]),
    "several under 2 % together": (
        [(100, 10), (-6, 1), (6, 1), (-6, 1), (100, 10), (-100, 10)],
        [2 * BIG, -BIG],
        [3, 0],
    ),
    "several that reach 2 %": (
        [(100, 10), (-9, 1), (9, 1), (-9, 1), (100, 10), (-100, 10)],
        [BIG, -90, 90, -90, BIG, -BIG],
        [0, 0, 0, 0, 0, 0],
    ),
    "before the first": ([(-6, 3), (100, 10), (-100, 10)], [BIG, -BIG], [0, 0]),
    "at the end it may be growing": ([(100, 10), (-100, 10), (9, 2)], [BIG, -BIG, 180], [0, 0, 0]),
    "two apart": ([(100, 10), (-9, 1), (100, 10), (-9, 1), (100, 10)], [3 * BIG], [2]),
}


@pytest.mark.parametrize("case", PULSES)
def test_a_pulse(case):
    pieces, expected, dropped = PULSES[case]
    found = split(blocks(*pieces))
    assert charges(found) == pytest.approx(expected, rel=1e-9)
    assert [half.pulses for half in found] == dropped


def test_what_a_pulse_parted_is_added_up():
    found = split(blocks((100, 5), (0, 1), (100, 5), (-5, 1), (100, 5), (0, 2), (100, 5), (0, 1), (100, 5)))
    (half,) = found
    assert (half.first, half.last, half.rests, half.pulses) == (0, 29, 3, 1)
    assert half.charge_mAh * 3600 == pytest.approx(25_000)
    assert half.vendor_mAh == pytest.approx(25_000 / 3600 - 1000 / 3600)  # its first row has no difference yet
    alone = split(blocks((100, 5), (0, 1), (100, 5)))[0]
    assert half.energy_mWh / half.charge_mAh == pytest.approx(half.mean_voltage_V)
    assert half.unsure_mAh > 2 * alone.unsure_mAh > 0 and alone.rests == 1


# ---- whole, running, partial -----------------------------------------------------------------------------------------
def halves_of(*parts):
    """(signed charge, voltage at its end, rests inside) each, one row a half-cycle; returns them and their voltages."""
    halves = [
        HalfCycle(int(np.sign(charge)), row, row, abs(charge), abs(charge), math.nan, rests=rests)
        for row, (charge, _, rests) in enumerate(parts)
    ]
    return halves, [volt for _, volt, _ in parts]


def last_state(*parts, rest_after=False, finished=False):
    halves, volts = halves_of(*parts)
    volts = [*volts, 2.0] if rest_after else volts
    told = series(range(len(volts)), [1.0] * len(volts), volts)
    found, findings = states(told, halves, finished=finished)
    assert {(finding.check, finding.level) for finding in findings} <= {
        ("running", "note"),
        ("first_half_cycle", "warning"),
    }
    assert any(finding.check == "running" for finding in findings) == (found[-1] in ("running", "ended"))
    return found[-1]


DIS, CHG = (-1.0, 1.0, 0), (1.0, 3.0, 0)  # a window of 2 V
LAST = {
    "alone and no rest after": ([DIS], False, "running"),
    "alone and a rest after": ([DIS], True, "complete"),
    "alone, paused before, and a rest after": ([(-1.0, 1.0, 1)], True, "running"),
    "first of its direction, 80 % of the one before": ([DIS, (0.8, 2.5, 0)], False, "ended"),
    "first of its direction, less": ([DIS, (0.79, 2.5, 0)], False, "running"),
    "first of its direction, paused, 80 %": ([DIS, (0.8, 2.5, 1)], True, "ended"),
    "rest after, at the limit": ([DIS, CHG, (-0.3, 1.039, 1)], True, "complete"),
    "rest after, not at the limit, paused, far less": ([DIS, CHG, (-0.3, 1.041, 1)], True, "running"),
    "rest after, not at the limit, paused, equal charge": ([DIS, CHG, (-0.991, 1.5, 1)], True, "complete"),
    "rest after, not at the limit, paused, 1.5 % less": ([DIS, CHG, (-0.985, 1.5, 1)], True, "running"),
    "rest after, not at the limit, never paused, over half": ([DIS, CHG, (-0.51, 1.5, 0)], True, "complete"),
    "rest after, not at the limit, never paused, half": ([DIS, CHG, (-0.5, 1.5, 0)], True, "running"),
    "no rest, at the limit, over half": ([DIS, CHG, (-0.51, 1.039, 0)], False, "ended"),
    "no rest, at the limit, half": ([DIS, CHG, (-0.5, 1.0, 0)], False, "running"),
    "no rest, not at the limit": ([DIS, CHG, (-0.9, 1.041, 0)], False, "running"),
    "no rest, equal charge": ([DIS, CHG, (-1.009, 1.5, 0)], False, "ended"),
    "no rest, 2 % more": ([DIS, CHG, (-1.02, 1.5, 0)], False, "running"),
    "the last one of its direction counts, not the first": (
        [DIS, CHG, (-0.6, 1.2, 0), CHG, (-0.6, 1.21, 0)],
        False,
        "ended",
    ),
    "of a flat voltage a millivolt is the window": ([(-1, 2.0, 0), (1, 2.0, 0), (-0.6, 2.001, 0)], False, "running"),
}


@pytest.mark.parametrize("case", LAST)
def test_the_last_half_cycle_is(case):
    parts, rest_after, expected = LAST[case]
    assert last_state(*parts, rest_after=rest_after) == expected
    assert last_state(*parts, rest_after=rest_after, finished=True) == "complete"


FIRST = {
    # name: half-cycles, counters, share of the reason
    "70 % of the next": ([(-0.7, 1, 0), CHG, DIS], {}, None),
    "less than that": ([(-0.69, 1, 0), CHG, DIS], {}, "69% of the next"),
    "a file of two half-cycles has no next": ([(-0.4, 1, 0), CHG], {}, None),
    "a third of what follows": ([(-0.34, 1, 0), CHG], {}, None),
    "less than a third": ([(-0.33, 1, 0), CHG], {}, "less than a third"),
    "its counter begins above zero": ([DIS, CHG], {"discharge_counter_mAh": [0.02, 1]}, "begins at 0.02 mAh"),
    "a counter below a hundredth": ([DIS, CHG], {"discharge_counter_mAh": [0.01, 1]}, None),
    "the other direction's counter": ([DIS, CHG], {"charge_counter_mAh": [0.5, 1]}, None),
    "the charge counter where it begins with charge": ([CHG, DIS], {"charge_counter_mAh": [0.5, 1]}, "begins at 0.5"),
    "the one counter": ([DIS, CHG], {"counter_mAh": [-0.5, 1]}, "begins at 0.5"),
    "no data": ([], {}, None),
}


@pytest.mark.parametrize("case", FIRST)
def test_the_first_half_cycle_is_partial_where(case):
    parts, counters, reason = FIRST[case]
    halves, volts = halves_of(*parts)
    found, findings = states(series(range(len(volts)), [1.0] * len(volts), volts, **counters), halves, finished=True)
    told = [finding.sentence for finding in findings if finding.check == "first_half_cycle"]
    assert (found[0] == "partial" if found else False) == bool(reason)
    assert len(told) == bool(reason) and all(reason in sentence for sentence in told)
    assert all(finding.level == "warning" for finding in findings)
    kind = "discharge" if first_direction(halves) == "discharge" else "charge"
    assert all(f"the first {kind}" in sentence for sentence in told)


def test_the_running_one_is_named_by_its_direction():
    for last, kind in ((DIS, "discharge"), (CHG, "charge")):
        halves, volts = halves_of(last)
        assert first_direction(halves) == kind
        _, findings = states(series([0], [1], volts), halves, finished=False)
        assert findings[0].sentence.startswith(f"the last {kind} is still running")
    halves, volts = halves_of(DIS, (0.9, 3, 0))
    _, findings = states(series([0, 1], [1, 1], volts), halves, finished=False)
    assert findings[0].sentence.startswith("the file ends with a charge that looks whole")
    assert first_direction([]) == "charge"


def test_cycles_are_numbered_by_the_start_and_each_half_stands_in_its_own_columns():
    halves, volts = halves_of((0.5, 3, 0), (-1.0, 1, 0), (0.9, 3, 0), (-0.8, 1, 0))
    record = series(range(4), [1] * 4, volts, vendor_cycle=[7, 8, 9, 10])
    rows = table(record, halves, ["complete", "complete", "complete", "running"], "discharge")
    assert [row["cycle"] for row in rows] == [0, 1, 2]
    assert [row["discharge_state"] for row in rows] == ["absent", "complete", "running"]
    assert [row["charge_state"] for row in rows] == ["partial", "complete", "absent"]
    assert rows[0]["charge_so_far_mAh"] == 0.5 and math.isnan(rows[0]["charge_capacity_mAh"])
    assert rows[1]["discharge_capacity_mAh"] == 1.0 and math.isnan(rows[1]["discharge_so_far_mAh"])
    assert rows[2]["discharge_so_far_mAh"] == 0.8 and math.isnan(rows[2]["mean_discharge_voltage_V"])
    assert [row["vendor_cycle"] for row in rows] == [7, 8, 10]
    assert rows[1]["mean_discharge_voltage_V"] == 1.0 and math.isnan(rows[0]["mean_charge_voltage_V"])
    by_charge = table(record, halves, ["complete", "complete", "complete", "ended"], "charge")
    assert [row["cycle"] for row in by_charge] == [1, 2]
    assert by_charge[1]["discharge_capacity_mAh"] == 0.8


def test_efficiencies_by_their_definitions():
    def cycle(number, discharge, charge):
        return {
            "cycle": number,
            "discharge_capacity_mAh": discharge,
            "charge_capacity_mAh": charge,
            "mean_discharge_voltage_V": 1.9,
            "mean_charge_voltage_V": 2.2,
        }

    rows = [cycle(1, 10.0, 8.0), cycle(2, 6.0, 5.0), cycle(4, 4.0, 3.0), cycle(5, 0.0, 0.0), cycle(6, 1.0, 1.0)]
    by_discharge = with_efficiencies([dict(row) for row in rows], "discharge")
    assert [row["ce_out_in"] for row in by_discharge] == pytest.approx(
        [math.nan, 0.75, math.nan, 0.0, math.nan], nan_ok=True
    )
    assert [row["ce_same_cycle"] for row in by_discharge] == pytest.approx([0.8, 5 / 6, 0.75, math.nan, 1], nan_ok=True)
    assert [row["polarisation_V"] for row in by_discharge] == pytest.approx([0.3] * 5)
    by_charge = with_efficiencies([dict(row) for row in rows], "charge")
    assert [row["ce_out_in"] for row in by_charge] == pytest.approx([1.25, 1.2, 4 / 3, math.nan, 1], nan_ok=True)
    formation = with_efficiencies([cycle(0, math.nan, 8.0), cycle(1, 6.0, 5.0)], "discharge")
    assert math.isnan(formation[1]["ce_out_in"])

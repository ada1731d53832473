"""Each check at both sides of its limit: what it is called, how loud it is, and the number that it found."""

import math
import re

import numpy as np
import pytest
from lab_files import write

import ingest
from campaign.errors import Refusal
from ingest import checks
from ingest.checks import CellFacts
from ingest.cycles import empty, with_efficiencies
from ingest.halfcycles import HalfCycle, split
from ingest.series import Series


def series(time, current, voltage=None, **more):
    arrays = {name: value if isinstance(value, bool) else np.array(value, dtype=float) for name, value in more.items()}
    volts = np.linspace(1.0, 2.0, len(time)) if voltage is None else np.array(voltage, dtype=float)
    return Series(np.array(time, dtype=float), np.array(current, dtype=float), volts, **arrays)


def told(finding):
    return (finding.check, finding.level, None if finding.value is None else pytest.approx(finding.value, rel=1e-6))


# ---- the sign of the current -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("current", "voltage", "expected"),
    [
        ([1, 1, 1, 1], [1, 1, 2, 2], ("sign", "ok", 1.0)),
        ([1, 1, -1, -1], [1.0, 1.9, 2.0, 1.9], ("sign", "ok", 1.0)),
        ([1, 1, -1, -1], [1.0, 1.91, 2.0, 2.1], ("sign", "ok", 0.91 / 1.01)),
        ([1, 1, -1, -1], [1.0, 1.8, 2.0, 2.1], ("sign", "warning", 8 / 9)),
        ([1, 1, -1, -1], [1.0, 1.5, 1.0, 1.5], ("sign", "warning", 0.5)),
        ([1, 1, 0, 0, -1, -1], [1, 2, 2, 9, 2, 1], ("sign", "ok", 1.0)),
        ([1, 1, -1, -1], [2, 2, 2, 2], ("sign", "warning", None)),
        # both limits lie far apart and the slopes inside are small: the plateaus tell, not the slopes
        ([1, 1, -1, -1], [3.0, 2.9, 1.0, 1.1], ("sign", "warning", 0.0)),
    ],
)
def test_voltage_goes_with_the_current(current, voltage, expected):
    found = checks.sign(series(range(len(current)), current, voltage), "f")
    assert (found.check, found.level, found.value) == (
        *expected[:2],
        None if expected[2] is None else pytest.approx(expected[2]),
    )


@pytest.mark.parametrize(
    ("current", "voltage"),
    [
        ([1, 1, -1, -1], [1.0, 1.4, 1.0, 1.5]),
        ([1, 1, -1, -1], [2, 1, 1, 2]),
        ([1, 1, 1], [2, 2, 1]),
        ([-1, -1, -1], [1, 1, 2]),
        ([1, 1, -1, -1], [1.2, 1.1, 1.0, 1.1]),
    ],
)
def test_voltage_against_the_current_is_refused(current, voltage):
    with pytest.raises(Refusal, match=r"^f: .*reverse the sign"):
        checks.sign(series(range(len(current)), current, voltage), "f")


# ---- clocks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        ([0, 50, 100], ("ok", 1.0)),
        ([7e8, 7e8 + 50, 7e8 + 89], ("warning", 0.89)),
        ([0, 50, 90], ("ok", 0.9)),
        ([0, 50, 150], ("ok", 1.5)),
        ([0, 50, 152], ("warning", 1.52)),
        ([0, 50, 5600], ("warning", 56.0)),
        ([0, 50, 6400], ("warning", 64.0)),
        ([0, 5, 9.9], ("note", None)),
        (None, ("note", None)),
    ],
)
def test_test_time_against_the_wall_clock(wall, expected):
    record = series([0, 50, 100], [1, 1, 1], **({} if wall is None else {"wall_s": wall}))
    found = checks.time_unit(record, "f")
    assert (found.check, found.level) == ("time_unit", expected[0])
    assert found.value == (None if expected[1] is None else pytest.approx(expected[1]))


@pytest.mark.parametrize("factor", [60, 1000, 3600, 86400])
@pytest.mark.parametrize("near", [0.96, 1.0, 1.04])
def test_a_clock_off_by_a_unit_is_refused(factor, near):
    for ratio, words in ((factor, f"moves {factor} times the test time"), (1 / factor, f"moves 1/{factor} of the")):
        record = series([0, 50e6, 100e6], [1, 1, 1], wall_s=[0, 1, 100e6 * ratio * near])
        with pytest.raises(Refusal, match=words):
            checks.time_unit(record, "f")


def test_two_rows_are_too_few_for_a_clock():
    assert checks.time_unit(series([0, 100], [1, 1], wall_s=[0, 6000]), "f").level == "note"
    assert checks.time_unit(series([5, 5, 5], [1, 1, 1], wall_s=[0, 50, 100]), "f").level == "note"


@pytest.mark.parametrize(
    ("factor", "shares", "expected"),
    [(1.0, 1.0, 1.0), (0.85, 1.0, 0.85), (60, 0.7, 60), (60, 1.0, None), (1 / 60, 1.0, None), (0.79, 1.0, None)],
)
def test_step_time_against_test_time(factor, shares, expected):
    gaps = np.where(np.arange(20) < 20 * shares, 1.0, 5.0)
    times = np.concatenate(([0.0], np.cumsum(gaps)))
    record = series(times * factor, [1] * 21, step_time_s=np.arange(21.0))
    if expected is None:
        with pytest.raises(Refusal, match=f"moves {factor:.3g} times the step time"):
            checks.step_clock(record, "f")
        return
    (found,) = checks.step_clock(record, "f")
    assert (found.check, found.level, found.value) == ("step_clock", "ok", pytest.approx(expected))


def test_too_little_for_a_step_clock():
    assert checks.step_clock(series(range(9), [1] * 9), "f") == []
    assert checks.step_clock(series(range(4), [1] * 4, step_time_s=[0, 60, 120, 180]), "f") == []
    resets = series(range(9), [1] * 9, step_time_s=[0, 60, 0, 60, 0, 60, 0, 60, 0])
    assert checks.step_clock(resets, "f") == []
    five = series(range(6), [1] * 6, step_time_s=[0, 1, 2, 3, 4, 5])
    assert len(checks.step_clock(five, "f")) == 1


# ---- two capacities --------------------------------------------------------------------------------------------------
def row(number=1, **values):
    return with_efficiencies([empty(number) | values], "discharge")[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (1.0, 1.004, "ok"),
        (1.0, 1.0051, "warning"),
        (1.0, 0.9951, "ok"),
        (1.0, 0.949, "flag"),
        (1.0, 0.951, "warning"),
        (1.0, 1.06, "flag"),
        (0.0, 0.0, "ok"),
        (1.0, math.nan, "note"),
        (math.nan, 1.0, "note"),
    ],
)
@pytest.mark.parametrize("kind", ["discharge", "charge"])
def test_integral_against_the_vendor_s_counter(kind, ours, theirs, expected):
    (found,) = checks.two_capacities([row(3, **{f"{kind}_capacity_mAh": ours, f"vendor_{kind}_capacity_mAh": theirs})])
    assert (found.check, found.level) == ("two_capacities", expected)
    gap = abs(ours - theirs) / max(ours, theirs, 1e-9)
    if expected in ("warning", "flag"):
        assert found.cycle == 3 and found.value == pytest.approx(gap)
        assert found.sentence.startswith(f"cycle 3 {kind}: integral {ours:.5g} mAh, vendor {theirs:.5g} mAh")
    elif expected == "ok":
        assert found.value == pytest.approx(gap) and "in 1 half-cycles" in found.sentence


def test_the_worst_of_several_is_told_and_each_that_is_apart_stands_alone():
    good = {"vendor_discharge_capacity_mAh": 1.001, "vendor_charge_capacity_mAh": 1.003}
    rows = [row(n, discharge_capacity_mAh=1.0, charge_capacity_mAh=1.0, **good) for n in (1, 2)]
    (found,) = checks.two_capacities(rows)
    assert "within 0.30% in 4 half-cycles" in found.sentence
    rows[1]["vendor_charge_capacity_mAh"] = 1.1
    rows[0]["vendor_discharge_capacity_mAh"] = 1.02
    assert [(one.cycle, one.level) for one in checks.two_capacities(rows)] == [(1, "warning"), (2, "flag")]


@pytest.mark.parametrize(
    ("unsure", "vendor", "count"), [(0.011, math.nan, 1), (0.01, math.nan, 0), (0.5, 1.0, 0), (0.0, math.nan, 0)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_rows_too_far_apart(unsure, vendor, count, sign):
    found = checks.sampling(
        [HalfCycle(1, 0, 1, 1.0, 1.0, 1.0), HalfCycle(sign, 2, 3, 1.0, 1.0, vendor, unsure_mAh=unsure)]
    )
    assert len(found) == count
    for finding in found:
        assert told(finding)[:2] == ("sampling", "warning") and finding.value == pytest.approx(unsure)
        assert finding.sentence.startswith(f"half-cycle 2 ({'charge' if sign > 0 else 'discharge'})")
    assert checks.sampling([HalfCycle(1, 0, 1, 0.0, 0.0, math.nan, unsure_mAh=1.0)]) == []


# ---- gaps, coarse currents, sweeps -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("longest", "typical", "hours", "warned"),
    [(2000, 60, 5, True), (1100, 60, 5, False), (599, 10, 5, False), (601, 10, 5, True), (2000, 60, 60, False)],
)
def test_a_gap_under_current(longest, typical, hours, warned):
    gaps = np.full(int(hours * 3600 / typical), float(typical))
    gaps[7] = longest
    time = np.concatenate(([0.0], np.cumsum(gaps)))
    record = series(time, np.ones(len(time)))
    found = checks.gaps(record, split(record))
    assert [told(one)[:2] for one in found] == ([("gap", "warning")] if warned else [])
    assert all(one.value == longest and "(after data row 8)" in one.sentence for one in found)
    resting = series(time, np.where(np.arange(len(time)) == 7, 0.0, 1.0))
    assert checks.gaps(resting, split(resting)) == []
    assert checks.gaps(series([0, 1], [0, 0]), []) == []


def coarse(current, level="warning", **more):
    return checks.coarse_current(
        series(range(len(current)), current, **more), [ingest.Finding("two_capacities", level, "x")]
    )


@pytest.mark.parametrize(
    ("current", "step"),
    [([1, 2, 3, -1], 1.0), ([1, 1, -1, -1], 1.0), ([0.1, 0.2, 0.3], 0.1), ([2, 2, 0], 2.0), ([1, 1.05, 1.1], 0.05)],
)
def test_a_current_written_in_steps(current, step):
    (found,) = coarse(current)
    assert told(found)[:2] == ("current", "warning") and found.value == pytest.approx(step)
    assert coarse(current, "ok") == []
    assert len(coarse(current, "flag")) == 1


@pytest.mark.parametrize("current", [[1.25, 1.25], [1, 1.03, 1.06], [1, 2.3, 3.1], [100, 101, 102]])
def test_a_current_written_finely(current):
    assert coarse(current) == []


def test_a_current_from_charge_is_told():
    (found,) = coarse([1.234, 1.5], "ok", current_derived=True)
    assert told(found)[:2] == ("current", "note")


def test_a_voltammogram_is_refused_and_cycling_is_not():
    time = np.arange(0, 4000.0, 10)
    up = time < 2000
    voltage = np.where(up, 1 + time / 2000, 2 - (time - 2000) / 2000)
    bell = np.exp(-(((voltage - 1.5) / 0.15) ** 2)) + 0.05
    sweep = series(time, np.where(up, bell, -bell), voltage)
    with pytest.raises(Refusal, match=r"^f: the voltage is swept at a steady 0.5 mV/s"):
        checks.refuse_sweep(sweep, split(sweep), "f")
    flat = series(time, np.where(up, 1.0, -1.0), voltage)
    checks.refuse_sweep(flat, split(flat), "f")
    held = series(time, np.where(up, bell, -bell), np.where(up, 2.0, 1.0))
    checks.refuse_sweep(held, split(held), "f")
    uneven = np.where(up, 1 + (time / 2000) ** 3, 1 + ((4000 - time) / 2000) ** 3)
    crooked = series(time, np.where(up, bell, -bell), uneven)
    checks.refuse_sweep(crooked, split(crooked), "f")
    few = series(time[:80], sweep.current_mA[:80], voltage[:80])
    checks.refuse_sweep(few, split(few), "f")


# ---- what cannot be --------------------------------------------------------------------------------------------------
FACTS = CellFacts(active_mass_mg=2.0, area_cm2=1.0, active_wt_pct=25.0, capacity_mAh_g=1000.0)  # theory: 2 mAh


def plausible(facts=FACTS, number=1, start="discharge", **values):
    return checks.plausible([row(number, **values)], facts, start=start, place="f")


@pytest.mark.parametrize(
    ("amount", "number", "expected"),
    [
        (19.9, 1, ("theory", "flag", 9.95)),
        (3.01, 1, ("theory", "flag", 1.505)),
        (3.0, 1, None),
        (0.0101, 1, None),
        (0.0099, 1, ("theory", "flag", 0.00495)),
        (0.0099, 2, None),
        (0.0, 1, ("theory", "flag", 0.0)),
    ],
)
@pytest.mark.parametrize("kind", ["discharge", "charge"])
def test_a_capacity_beside_the_theory(kind, amount, number, expected):
    found = plausible(number=number, **{f"{kind}_capacity_mAh": amount})
    assert [(one.check, one.level, one.value) for one in found] == (
        [] if expected is None else [(*expected[:2], pytest.approx(expected[2]))]
    )
    assert all(one.cycle == number and one.sentence.startswith(f"cycle {number} {kind}") for one in found)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"discharge_capacity_mAh": 20.0}, r"f: cycle 1 discharge gave 20 mAh, 10 times the theory .*\(2 mAh\)"),
        ({"charge_capacity_mAh": -0.001}, r"f: cycle 1 has a negative charge capacity"),
        ({"discharge_capacity_mAh": -1e-6}, r"negative discharge"),
        ({"ce_out_in": 3.0}, r"coulombic efficiency \(ce_out_in\) of 300%"),
    ],
)
def test_what_cannot_be_is_refused(values, reason):
    with pytest.raises(Refusal, match=reason):
        checks.plausible([empty(1) | values], FACTS, start="discharge", place="f")


@pytest.mark.parametrize(("value", "warned"), [(0.49, True), (0.5, False), (1.2, False), (1.21, True), (2.99, True)])
def test_an_improbable_efficiency_is_warned_of(value, warned):
    found = checks.plausible([empty(4) | {"ce_out_in": value}], FACTS, start="discharge", place="f")
    assert [(one.check, one.level, one.cycle, one.value) for one in found] == (
        [("efficiency", "warning", 4, value)] if warned else []
    )


def test_a_mass_of_one_milligram_is_asked_about_once():
    (found,) = plausible(CellFacts(active_mass_mg=1.0))
    assert (found.check, found.level) == ("mass", "flag")
    assert plausible(CellFacts(active_mass_mg=2.0)) == []
    assert plausible(CellFacts(capacity_mAh_g=1.0), discharge_capacity_mAh=1e6) == []
    assert CellFacts(active_mass_mg=2.0, capacity_mAh_g=1000.0).theory_mAh == 2.0
    assert CellFacts(active_mass_mg=2.0).theory_mAh is None


# ---- a table of capacities -------------------------------------------------------------------------------------------
TABLE = "cycle,discharge capacity (mAh),charge capacity (mAh),{name}\n1,1.0,0.90,{0}\n2,0.9,0.81,{1}\n3,0.8,0.72,{2}\n"
EFFICIENCIES = {
    "same cycle, per cent": ("CE (%)", (90, 90, 90), "the file's efficiency is ce_same_cycle"),
    "same cycle, a fraction": ("CE", (0.9, 0.9, 0.9), "the file's efficiency is ce_same_cycle"),
    "out over in": ("coulombic efficiency", ("", 100.0, 98.8), "the file's efficiency is ce_out_in"),
    "the other way round": ("efficiency", (111, 111, 111), "the file's efficiency is Q_dis(n)/Q_chg(n)"),
    "within 1 %": ("CE", (90.8, 89.2, 90.5), "the file's efficiency is ce_same_cycle"),
    "none": ("CE", (80, 80, 80), "fits none of the definitions"),
}


@pytest.mark.parametrize("case", EFFICIENCIES)
def test_which_efficiency_a_table_means(tmp_path, case):
    name, values, sentence = EFFICIENCIES[case]
    found = ingest.inspect(write(tmp_path / "t.csv", TABLE.format(*values, name=name)))
    told_of = [(one.level, one.sentence) for one in found.findings if one.check == "efficiency"]
    assert [level for level, _ in told_of] == ["warning" if "none" in sentence else "ok"]
    assert sentence in told_of[0][1]


def test_mean_voltages_and_left_out_cycles_of_a_table(tmp_path):
    text = "cycle,discharge capacity (mAh),mean discharge voltage (mV),average charge voltage\n1,1.0,1900,2.1\n4,0.9,,2.2\n"
    found = ingest.inspect(write(tmp_path / "t.csv", text))
    assert found.cycles["mean_discharge_voltage_V"].tolist() == pytest.approx([1.9, math.nan], nan_ok=True)
    assert found.cycles["mean_charge_voltage_V"].tolist() == [2.1, 2.2]
    assert found.cycles["polarisation_V"].tolist() == pytest.approx([0.2, math.nan], nan_ok=True)
    assert [(one.check, one.level) for one in found.findings if "left out" in one.sentence] == [("cycles", "note")]
    assert found.cycles["charge_state"].tolist() == ["absent"] * 2


def test_per_gram_of_composite_never_passes_for_per_gram_of_active(tmp_path):
    found = ingest.inspect(write(tmp_path / "t.csv", "cycle,discharge_capacity_mAh_g_composite\n1,300\n"))
    assert found.flagged and found.cycles[["discharge_capacity_mAh", "discharge_capacity_mAh_g"]].isna().all(axis=None)


def test_the_last_cycle_without_a_value_goes_on(tmp_path):
    found = ingest.inspect(write(tmp_path / "t.csv", "cycle,discharge capacity (mAh)\n1,1.0\n2,NA\n"))
    assert found.cycles["discharge_state"].tolist() == ["complete", "absent"]
    assert [(one.check, one.level) for one in found.findings] == [("running", "note")]


@pytest.mark.parametrize(
    ("header", "facts", "given", "columns"),
    [
        ("discharge capacity (mAh)", FACTS, "mAh", {"mAh": 3.0, "mAh_g": 1500.0, "areal": 3.0}),
        ("discharge capacity (mAh/g)", FACTS, "mAh/g", {"mAh": 0.006, "mAh_g": 3.0, "areal": 0.006}),
        ("discharge capacity (mAh/cm2)", FACTS, "mAh/cm2", {"mAh": 3.0, "mAh_g": 1500.0, "areal": 3.0}),
        ("discharge_capacity_mAh_g_composite", FACTS, "mAh/g of composite", {"mAh": 0.024, "mAh_g": 12.0}),
        ("discharge_capacity_mAh_g_active", FACTS, "mAh/g", {"mAh": 0.006, "mAh_g": 3.0}),
    ],
)
def test_what_a_table_gives_its_capacities_in(tmp_path, header, facts, given, columns):
    found = ingest.read_cycler(write(tmp_path / "t.csv", f"cycle,{header}\n2,3.0\n"), cell=facts)
    assert found.given == given
    cells = found.cycles.iloc[0]
    names = {"mAh": "discharge_capacity_mAh", "mAh_g": "discharge_capacity_mAh_g"}
    names["areal"] = "discharge_areal_capacity_mAh_cm2"
    assert {key: cells[names[key]] for key in columns} == pytest.approx(columns)
    notes = [one for one in found.findings if one.check == "mass" and one.level == "note"]
    assert len(notes) == (given != "mAh")


TABLES_REFUSED = {
    "two units": ("cycle,discharge (mAh),Qdis (mAh),Qchg (mAh/g)\n1,1,1,1\n", "is given in mAh and charge in mAh/g"),
    "a word in a row": ("cycle,Qdis (mAh)\n1,one\n2,1\n", "row 2, column 'Qdis (mAh)': 'one' is not a number"),
    "a dash in a row": ("cycle,Qdis (mAh)\n1,-\n2,1\n", "row 2, column 'Qdis (mAh)': - where a capacity is needed"),
    "nothing in a row": ("cycle,Qdis (mAh)\n1,\n2,1\n", "row 2, column 'Qdis (mAh)': empty where a capacity"),
    "cycle of zero": ("cycle,Qdis (mAh)\n0,1\n1,1\n", "row 2, column 'cycle': cycles are counted from 1"),
    "negative cycle": ("cycle,Qdis (mAh)\n-1,1\n1,1\n", "row 2, column 'cycle': -1 is no cycle number"),
    "the same cycle": ("cycle,Qdis (mAh)\n1,1\n1,1\n", "row 3, column 'cycle': cycle 1 stands there twice"),
    "an earlier cycle": ("cycle,Qdis (mAh)\n2,1\n1,1\n", "row 3, column 'cycle': cycle 1 comes after cycle 2"),
    "no area": ("cycle,Qdis (mAh/cm2)\n1,1\n", "counts per cm2, so the area of the cell is needed"),
    "no mass": ("cycle,Qdis (mAh/g)\n1,1\n", "counts per gram of active, so the active mass of the cell is needed"),
    "no share": (
        "cycle,Qdis_mAh_g_composite\n1,1\n",
        "counts per gram of composite, so the active mass of the cell and its share",
    ),
}


@pytest.mark.parametrize("case", TABLES_REFUSED)
def test_a_table_that_is_refused(tmp_path, case):
    text, reason = TABLES_REFUSED[case]
    cell = FACTS if case == "two units" else CellFacts(active_mass_mg=2.0) if "share" in case else None
    with pytest.raises(Refusal, match=re.escape(reason)):
        ingest.read_cycler(write(tmp_path / "t.csv", text), cell=cell)

"""The sheet as a contract: the words on it stay, a sheet that lies on a bench today is read by tomorrow's program."""

import math

import openpyxl
import pandas as pd
import pytest
import xlsxwriter
from lab_files import write

import ingest
from campaign.errors import Refusal
from ingest.limits import Limits
from ingest.sheet_columns import checksum, columns, outcome_by_header, outcome_column, spelled
from ingest.sheet_write import weighing_table
from ingest.spreadsheet_text import bare, inert

ASKED = {
    "asked speed (rpm)": 1800.12, "asked net mixing time (h)": 4.5, "asked active": "S", "asked active share (wt%)": 30,
    "asked SSE": "LPSBr", "asked SSE share (wt%)": 50, "asked carbon": "KB+C45", "asked carbon share (wt%)": 20,
    "asked premill time (h)": 0, "asked premill speed (rpm)": 0, "asked heat (degC)": "", "asked heat time (h)": 0,
    "asked mixer": "AR-100", "asked balls to powder (g/g)": 5, "asked duty (share of the clock)": 0.5,
    "asked active loading (mg/cm2)": 4, "asked current density (mA/cm2)": 0.67, "asked cycles": 100,
    "asked stack pressure (MPa)": 70, "asked temperature (degC)": 25, "asked anode": "Li-In",
}  # fmt: skip
TYPED = {
    "state": "completed", "done speed (rpm)": 1790, "done net mixing time (h)": 4.4, "weighed active (g)": 0.3,
    "weighed SSE (g)": 0.5, "weighed carbon (g)": 0.2, "weighed balls (g)": 5.01, "SSE lot": "L-9", "mixed at": "2026-03-03",
    "mixed by": "Ada", "halide to P on the surface, EDS (atomic ratio)": 2.4, "crystallite size, XRD (um)": 0.3,
    "pellet conductivity (mS/cm)": 0.44, "cell id": "C1", "channel": "7", "active mass (mg)": 3.14, "area (cm2)": 0.785,
    "started at": "2026-03-04 10:30Z", "stopped at": "2026-03-05 10:30Z", "file": "C1.ndax",
    "discharge capacity of cycle 1 (mAh)": 3.3, "discharge capacity of cycle 2 (mAh)": 3.1,
    "specific energy cycle 5 (Wh per kg of composite)": 300, "coulombic efficiency cycle 2 (%)": 98,
    "discharge capacity cycle 100 (mAh per g of composite)": 250, "discharge capacity cycle 3 (mAh per g of active)": 1100,
    "discharge capacity cycle 4 (mAh/g)": 1000, "discharge areal capacity cycle 100 (mAh/cm2)": 4.2,
    "mean voltage cycle 1 (V)": 1.9, "time to cycle 2 (h)": 20, "note": "fine",
}  # fmt: skip
TRIAL = pd.DataFrame(
    {"speed_rpm": [1800.12], "time_h": [4.5], "active_wt_pct": [30.0], "sse": ["LPSBr"]}, index=["T0001"]
)
CHECK = "7d0103a9"


def on_a_bench(folder, changes=None, page="Trials", extra=()):
    """A sheet as it was written in November 2026, filled in every column."""
    cells = {"trial": "T0001", "check": CHECK, **ASKED, **TYPED, **(changes or {})}
    book = xlsxwriter.Workbook(str(folder / "old.xlsx"))
    sheet = book.add_worksheet(page)
    for column, (header, value) in enumerate(cells.items()):
        sheet.write(0, column, header)
        sheet.write(1, column, value)
    for name in extra:
        book.add_worksheet(name)
    book.close()
    return folder / "old.xlsx"


def read(path, **more):
    return ingest.read_sheet(path, known_trials=TRIAL, **more)


def test_a_sheet_on_a_bench_is_read_to_the_last_column(tmp_path):
    content = read(on_a_bench(tmp_path))
    (row,) = content.rows
    assert (row.trial, row.row, row.state, row.note, content.name) == ("T0001", 2, "completed", "fine", "old.xlsx")
    assert row.done == pytest.approx(
        {"speed_rpm": 1790, "time_h": 4.4, "active_wt_pct": 30, "sse_wt_pct": 50, "carbon_wt_pct": 20}
    )
    assert row.mix == {
        "weighed_active_g": 0.3, "weighed_sse_g": 0.5, "weighed_carbon_g": 0.2, "weighed_balls_g": 5.01, "sse_lot": "L-9",
        "mixed_at": "2026-03-03T00:00:00+00:00", "mixed_by": "Ada",
    }  # fmt: skip
    assert row.powder == {
        "surface_halide_to_P": 2.4, "crystallite_size_um": 0.3, "sse_pellet_conductivity_mS_cm": 0.44,
    }  # fmt: skip
    assert row.cell == {
        "cell_id": "C1", "channel": "7", "active_mass_mg": 3.14, "area_cm2": 0.785, "file": "C1.ndax",
        "started_at": "2026-03-04T10:30:00+00:00", "stopped_at": "2026-03-05T10:30:00+00:00",
    }  # fmt: skip
    assert row.outcome == {
        "discharge_capacity_cycle_1_mAh": 3.3, "discharge_capacity_cycle_2_mAh": 3.1,
        "specific_energy_cycle_5_Wh_kg_composite": 300, "coulombic_efficiency_cycle_2_pct": 98,
        "discharge_capacity_cycle_100_mAh_g_composite": 250, "discharge_capacity_cycle_3_mAh_g_active": 1100,
        "discharge_capacity_cycle_4_mAh_g": 1000, "discharge_areal_capacity_cycle_100_mAh_cm2": 4.2,
        "mean_voltage_cycle_1_V": 1.9, "time_to_cycle_2_h": 20,
    }  # fmt: skip
    assert content.findings == ()


def test_a_new_sheet_has_these_words_on_it(tmp_path):
    outcomes = ("discharge_areal_capacity_cycle_100_mAh_cm2", "time_to_cycle_2_h")
    ingest.write_sheet(tmp_path / "s.xlsx", TRIAL, space_bounds={}, outcomes=outcomes, campaign_name="=Bench")
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    header = [cell.value for cell in book["Trials"][1]]
    outcome = [name for name in TYPED if "cycle" in name]
    kept = ["discharge areal capacity cycle 100 (mAh/cm2)", "time to cycle 2 (h)"]
    common = [name for name in TYPED if name not in outcome]
    assert header == ["trial", "check", *ASKED, *common[:-1], *kept, "note"]
    written = {name: cell.value for name, cell in zip(header, book["Trials"][2], strict=True)}
    assert {name: "" if written[name] is None else written[name] for name in ASKED} == ASKED
    assert (written["trial"], written["check"], written["state"]) == ("T0001", CHECK, "issued")
    page = book["Instructions"]
    words = {row[0].value: row[1].value for row in page.iter_rows() if row[0].value}
    assert page["A1"].value == "How to fill this sheet =Bench"
    assert {"Safety", "States", "Columns"} <= set(words)
    assert {state: words[state] for state in ("issued", "mixing", "testing", "completed", "failed", "abandoned")} == {
        "issued": "nothing done yet",
        "mixing": "weighed, mixing or mixed",
        "testing": "a cell of it runs",
        "completed": "the test is over",
        "failed": "tried, gave no result (say why in note)",
        "abandoned": "will not be done (say why in note)",
    }
    explained = {name: words.get(name) for name in header if not name.startswith("asked")}
    assert all(text and len(text) > 2 for text in explained.values()), explained
    assert "not of composite" in explained["active mass (mg)"] and "2026-03-04 10:30" in explained["started at"]
    steps = [row[1].value for row in page.iter_rows() if str(row[1].value)[:2] in {f"{n}." for n in range(1, 8)}]
    assert len(steps) == 7 and "mixwright ingest CAMPAIGN this-file.xlsx" in steps[4]
    assert not any(row[0].value and row[0].value in steps for row in page.iter_rows())


def test_cells_are_bounded_locked_and_explained_where_they_are_typed(tmp_path):
    ingest.write_sheet(tmp_path / "s.xlsx", TRIAL, space_bounds={"speed_rpm": (400, 2000)})
    page = openpyxl.load_workbook(tmp_path / "s.xlsx")["Trials"]
    column = {cell.value: cell.column for cell in page[1]}
    rules = {rule.promptTitle: rule for rule in page.data_validations.dataValidation}
    assert {"state", "done speed", "active mass", "area", "started at", "note", "cell id"} <= set(rules)
    assert rules["state"].formula1 == '"issued,mixing,testing,completed,failed,abandoned"'
    limits = {
        "done speed": (400, 2000), "done net mixing time": (0, 200), "weighed active": (0, 1000), "active mass": (0.01, 1e5),
        "weighed balls": (0, 10000), "area": (0.01, 1000), "pellet conductivity": (0, 1000), "crystallite size, XRD": (0, 1000),
        "halide to P on the surface, EDS": (0, 100), "discharge capacity of cycle 1": (0, 1e5), "weighed SSE": (0, 1000),
        "weighed carbon": (0, 1000), "discharge capacity of cycle 2": (0, 1e5),
    }  # fmt: skip
    for title, (low, high) in limits.items():
        rule = rules[title]
        assert (rule.type, rule.operator or "between", float(rule.formula1), float(rule.formula2)) == (
            "decimal", "between", low, high,
        )  # fmt: skip
        assert rule.errorStyle == "warning" and "Keep it if it is what was done" in rule.error
        assert f"Between {low:g} and {high:g}" in rule.prompt and rule.errorTitle == "Outside the range"
    assert not any(title.startswith("asked") for title in rules)
    assert page.protection.sheet and not page.protection.sort and not page.protection.insertRows
    assert not page.protection.autoFilter and not page.protection.deleteRows and not page.protection.formatColumns
    assert page.freeze_panes == "C2" and page.auto_filter.ref.startswith("A1:")
    for header, at in column.items():
        fixed = header in ("trial", "check") or header.startswith("asked")
        assert page.cell(2, at).protection.locked == fixed
        assert (page.cell(1, at).fill.fgColor.rgb == page["A1"].fill.fgColor.rgb) == fixed
        assert (page.cell(2, at).fill.fgColor.rgb == page["A2"].fill.fgColor.rgb) == fixed
        assert not page.cell(42, at).protection.locked and page.cell(43, at).protection.locked
        words = ("trial", "check", *(f"asked {name}" for name in ("active", "SSE", "carbon", "mixer", "anode")))
        is_text = header in (
            *words,
            "cell id",
            "channel",
            "file",
            "note",
            "SSE lot",
            "mixed by",
            "started at",
            "stopped at",
            "mixed at",
        )
        assert page.cell(42, at).number_format == ("@" if is_text else "General")
        assert page.column_dimensions[page.cell(1, at).column_letter].width >= 12
    assert str(rules["note"].sqref).endswith("42")


def test_what_is_known_already_stands_on_the_sheet_and_comes_back(tmp_path):
    known = {"T0001": {"cell_id": "C1", "active_mass_mg": 3.14, "note": "+1", "speed_rpm": math.nan, "area_cm2": None}}
    ingest.write_sheet(
        tmp_path / "s.xlsx", TRIAL.assign(state="testing"), space_bounds={}, filled=known, campaign_name="B"
    )
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    assert book.properties.title == "Lab sheet B" and "Mixwright" in book.properties.description
    (row,) = read(tmp_path / "s.xlsx").rows
    assert (row.state, row.note, row.cell, row.done) == ("testing", "+1", {"cell_id": "C1", "active_mass_mg": 3.14}, {})


def test_what_goes_on_the_balance():
    designs = pd.DataFrame(
        {
            "active": ["S"], "active_wt_pct": [22.75], "sse": ["LPSCl"], "sse_wt_pct": [50.0], "carbon": ["KB"],
            "carbon_wt_pct": [27.25], "ball_ratio": [5.0], "mixer": ["AR-100"], "speed_rpm": [1500.0], "time_h": [3.0],
            "duty": [0.5], "premill_h": [2.0], "premill_speed_rpm": [300.0], "heat_h": [12.0], "heat_C": [155.0],
        },
        index=["T0007"],
    )  # fmt: skip
    row = weighing_table(designs, 2.0).to_dict(orient="records")[0]
    assert row == {
        "trial": "T0007", "active": "S", "active (g)": 0.455, "SSE": "LPSCl", "SSE (g)": 1.0, "carbon": "KB",
        "carbon (g)": 0.545, "batch (g)": 2.0, "balls (g)": 10.0, "mixer": "AR-100", "speed (rpm)": 1500.0,
        "net mixing time (h)": 3.0, "duty (share of the clock)": 0.5, "time on the clock (h)": 10.0,
        "premill (h at rpm)": "2 h at 300 rpm", "heat after mixing": "12 h at 155 degC",
    }  # fmt: skip
    plain = weighing_table(designs.assign(premill_h=0.0, heat_h=0.0), 1.0).iloc[0]
    assert (plain["premill (h at rpm)"], plain["heat after mixing"]) == ("none", "none")
    assert plain["time on the clock (h)"] == 6.0


REFUSED = {
    "trial id of another": ({"trial": "T0002"}, "row 2, column 'trial': nobody knows the trial 'T0002'"),
    "another recipe": ({"asked cycles": 99}, r"row 2, column 'asked cycles': says 99 but trial T0001 was asked at 100"),
    "another word": ({"asked SSE": "LPSCl"}, "column 'asked SSE': says LPSCl but trial T0001 was asked at LPSBr"),
    "a value where none was asked": ({"asked heat (degC)": 155}, r"column 'asked heat \(degC\)': says 155 but"),
    "a word for a number": ({"asked cycles": "many"}, "column 'asked cycles': says many but"),
    "check of another": ({"check": "00000000"}, "column 'check': 00000000 does not belong to trial T0001"),
    "other unit": ({"weight (kg)": 1}, r"row 1: nobody knows the column 'weight \(kg\)'"),
    "mass of a mouse": (
        {"active mass (mg)": 0.009},
        "0.009 is not possible; expected 0.01 to 100000 mg; is the unit right",
    ),
    "state": ({"state": "runs"}, r"'runs' is no state; right would be one of issued \(nothing done yet\); mixing"),
    "stopped first": ({"stopped at": "2026-03-04 10:29Z"}, "column 'stopped at': .* is before the start"),
    "file without a cell": ({"cell id": ""}, "column 'cell id': empty, but the row holds a result of a cell"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_sheet_that_is_refused(tmp_path, case):
    changes, reason = REFUSED[case]
    with pytest.raises(Refusal, match=rf"^old.xlsx, sheet 'Trials', .*{reason}"):
        read(on_a_bench(tmp_path, changes))


def test_asked_values_may_be_rounded_or_left_away_and_states_written_large(tmp_path):
    for changes in (
        {"asked speed (rpm)": 1800.1},
        {"asked speed (rpm)": ""},
        {"asked SSE": ""},
        {"state": "COMPLETED"},
    ):
        assert read(on_a_bench(tmp_path, changes)).rows[0].state == "completed"
    with pytest.raises(Refusal, match=r"says 1800.5 but trial T0001 was asked at 1800.12"):
        read(on_a_bench(tmp_path, {"asked speed (rpm)": 1800.5}))


def test_the_page_is_found_by_its_name_or_as_the_only_one(tmp_path):
    assert read(on_a_bench(tmp_path, page="Sheet1")).rows
    assert read(on_a_bench(tmp_path, extra=("Other",))).rows
    with pytest.raises(Refusal, match=r"old.xlsx: has no sheet 'Trials'; this workbook holds 'Sheet1', 'Other'"):
        read(on_a_bench(tmp_path, page="Sheet1", extra=("Other",)))
    with pytest.raises(Refusal, match=r"sheet 'Trials': has 2 rows; a lab sheet has 1 at most \(setting sheet_rows\)"):
        read(on_a_bench(tmp_path), limits=Limits(sheet_rows=1))
    assert read(on_a_bench(tmp_path), limits=Limits(sheet_rows=2)).rows


NOTICED = {
    "weighed 2.1 % off": (
        {"weighed active (g)": 0.321, "weighed SSE (g)": 0.479},
        [("weighed", "warning", "active was weighed at 32.10 wt% where 30"), ("weighed", "warning", "sse was weighed")],
    ),
    "weighed 1.9 % off": ({"weighed active (g)": 0.319, "weighed SSE (g)": 0.481}, []),
    "not weighed yet": ({"weighed SSE (g)": ""}, [("weighed", "note", "the sse of trial T0001 is not weighed yet")]),
    "failed without a word": (
        {"state": "failed", "note": ""},
        [("state", "warning", "trial T0001 is failed and no note")],
    ),
    "failed with a word": ({"state": "failed"}, []),
    "abandoned": ({"state": "abandoned", "note": ""}, [("state", "warning", "is abandoned")]),
    "twice the loading": ({"active mass (mg)": 6.3}, [("mass", "flag", "8.03 mg/cm2 where 4 was asked")]),
    "nearly twice": ({"active mass (mg)": 6.2}, []),
    "half the loading": ({"active mass (mg)": 1.56}, [("mass", "flag", "1.99 mg/cm2 where 4 was asked")]),
    "nearly half": ({"active mass (mg)": 1.58}, []),
    "a milligram": ({"active mass (mg)": 1, "area (cm2)": 0.25}, [("mass", "flag", "never entered")]),
}


@pytest.mark.parametrize("case", NOTICED)
def test_what_is_noticed_on_a_sheet(tmp_path, case):
    changes, expected = NOTICED[case]
    found = read(on_a_bench(tmp_path, changes)).findings
    assert [(one.check, one.level) for one in found] == [(check, level) for check, level, _ in expected]
    for finding, (_, _, words) in zip(found, expected, strict=True):
        assert words in finding.sentence and finding.sentence.startswith("old.xlsx, sheet 'Trials', row 2: ")


def test_outcomes_by_header_and_by_name():
    for key in (
        "discharge_capacity_cycle_1_mAh", "discharge_capacity_cycle_7_mAh", "x_capacity_mAh_g_composite",
        "x_cycle_2_mAh_g_active", "x_cycle_2_mAh_g", "x_cycle_2_mAh_cm2", "x_cycle_2_Wh_kg_composite", "x_cycle_2_pct",
        "x_cycle_2_h", "x_cycle_2_V",
    ):  # fmt: skip
        column = outcome_column(key)
        assert (column.key, column.kind, column.group, column.low) == (key, "number", "outcome", 0)
        assert key == "discharge_capacity_cycle_1_mAh" or outcome_by_header(column.header) == column
    assert outcome_by_header("weight (V)") is None and outcome_by_header("cycle") is None
    odd = outcome_column("q2_over_q1")
    assert (odd.title, odd.unit, odd.group, odd.low) == ("q2 over q1", "", "outcome", -math.inf)
    names = [column.header for column in columns(("discharge_capacity_cycle_1_mAh",))]
    assert len(names) == len(set(names)) and names[:2] == ["trial", "check"] and names[-1] == "note"


def test_a_checksum_belongs_to_one_trial_and_one_recipe():
    recipe = {"speed_rpm": 1500.0, "sse": "LPSCl"}
    first = checksum("T0001", recipe)
    assert len(first) == 8 and first == checksum("T0001", {**recipe, "heat_C": math.nan, "colour": 1})
    others = [checksum("T0002", recipe), checksum("T0001", {**recipe, "speed_rpm": 1500.01}), checksum("T0001", {})]
    assert len({first, *others}) == 4
    assert first == checksum("T0001", {**recipe, "speed_rpm": 1500.001})
    assert (spelled(None), spelled(math.nan), spelled("x"), spelled(1500), spelled(1.23456789)) == (
        "", "", "x", "1500", "1.23457",
    )  # fmt: skip


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_live_text(mark):
    for text in (mark + "1", " " * 3 + mark + "1") if mark.isprintable() else (mark + "1",):
        assert inert(text).startswith("'")
        assert not mark.isprintable() or bare(inert(text)) == text
    assert inert("1" + mark.strip()) == "1" + mark.strip()
    assert bare("'x") == "'x" and bare("'" + mark + "1") == mark + "1"


def test_long_text_fits_a_cell():
    assert len(inert("x" * 40_000)) == 32_767
    assert inert("a\nb\tc\x07d") == "a\nb\tcd"


# ---- earlier work and powder -----------------------------------------------------------------------------------------
POWDER_NAMES = {
    "surface_halide_to_P": ("surface halide to P", "halide to P", "Cl/P", "Cl to P", "Br to P", "EDS ratio", "x_P"),
    "crystallite_size_um": ("crystallite size (um)", "Crystallite size XRD (nm)", "XRD size (nm)"),
    "sse_pellet_conductivity_mS_cm": (
        "SSE pellet conductivity (mS/cm)", "pellet conductivity (mS/cm)", "conductivity (S/m)", "sigma (mS/cm)",
    ),
}  # fmt: skip
FACTORS = {"(nm)": 1e-3, "(S/m)": 10.0}


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in POWDER_NAMES.items() for name in names])
def test_names_of_powder_results(tmp_path, key, name):
    if name == "x_P":
        name = "X:P"
    path = write(tmp_path / "p.csv", f"Mix_ID;date;by;note;{name}\nT1-M1;;Ada;;0,5\nT2;;;;\n")
    found = ingest.read_powder(path)
    factor = next((value for unit, value in FACTORS.items() if unit in name), 1.0)
    assert found[key][0] == pytest.approx(0.5 * factor) and math.isnan(found[key][1])
    assert found["trial"].tolist() == ["T1-M1", "T2"] and found["row"].tolist() == [2, 3]
    assert all(found[other].isna().all() for other in POWDER_NAMES if other != key)
    assert key in found and ingest.read_powder(write(tmp_path / "q.csv", f"trial,{key}\nT1,0.5\n"))[key][0] == 0.5


@pytest.mark.parametrize(("key", "high"), [*zip(POWDER_NAMES, (100, 1000, 1000), strict=True)])
def test_powder_results_that_cannot_be(tmp_path, key, high):
    assert ingest.read_powder(write(tmp_path / "p.csv", f"trial,{key}\nT1,{high}\nT2,0\n"))[key].tolist() == [high, 0]
    for wrong in (high * 1.01, -0.01):
        with pytest.raises(Refusal, match=rf"row 2, column '{key}': {wrong:g} is not possible; expected 0 to {high:g}"):
            ingest.read_powder(write(tmp_path / "p.csv", f"trial,{key}\nT1,{wrong}\n"))
    with pytest.raises(Refusal, match="powder results need a column 'trial' and one of surface_halide_to_P"):
        ingest.read_powder(write(tmp_path / "p.csv", f"{key},note\n1,x\n"))
    with pytest.raises(Refusal, match="powder results need a column 'trial'"):
        ingest.read_powder(write(tmp_path / "p.csv", "trial,note\nT1,x\n"))


def test_powder_results_in_a_workbook(tmp_path):
    book = openpyxl.Workbook()
    for row in (["trial", "sigma (mS/cm)"], ["T1", True]):
        book.active.append(row)
    book.save(tmp_path / "p.xlsx")
    with pytest.raises(Refusal, match=r"sheet 'Sheet', row 2, column 'sigma \(mS/cm\)': True is not a number"):
        ingest.read_powder(tmp_path / "p.xlsx")


OUTCOMES = (
    "x_mAh_cm2,x_mAh_g_composite,x_mAh_g_active,x_mAh,x_pct,x_mS_cm,x_um,x_nm,x_Wh_kg_composite,x_V,x_h,x_P,q2_over_q1"
)


def test_every_unit_of_an_outcome_of_earlier_work(tmp_path):
    names = OUTCOMES.split(",")
    numbers = ",".join(str(n) for n in range(len(names)))
    path = write(tmp_path / "h.csv", f"sse,{OUTCOMES},source,note,date,cell_id,label\nLPSCl,{numbers},a,b,c,d,=e\n")
    found = ingest.read_history(path)
    assert found.outcomes.iloc[0].to_dict() == {name: float(n) for n, name in enumerate(names)}
    assert found.notes.iloc[0].to_dict() == {"label": "=e", "source": "a", "note": "b", "date": "c", "cell_id": "d"}
    assert (found.name, found.rows) == ("h.csv", (2,))
    for wrong in ("x_mAh_kg", "Xx_mAh", "mAh", "x_C"):
        with pytest.raises(Refusal, match=f"h.csv, row 1: nobody knows the column '{wrong}'"):
            ingest.read_history(write(tmp_path / "h.csv", f"sse,{wrong}\nLPSCl,1\n"))
    with pytest.raises(Refusal, match=r"h.csv: names no part of a recipe"):
        ingest.read_history(write(tmp_path / "h.csv", "doi,x_mAh\na,1\n"))
    for part, value in (("speed_rpm", 1500), ("time_h", 3), ("active_wt_pct", 20)):
        assert ingest.read_history(write(tmp_path / "h.csv", f"{part},x_mAh\n{value},\n")).designs[part][0] == value


def test_rows_without_a_value_are_left_away_and_rows_keep_their_number(tmp_path):
    path = write(tmp_path / "h.csv", "sse,speed_rpm,x_mAh\nLPSCl,1500,1\n,,\nLGPS,,2\n")
    found = ingest.read_history(path)
    assert found.rows == (2, 4) and found.designs["sse"].tolist() == ["LPSCl", "LGPS"]
    assert found.designs["speed_rpm"][1] == 2000 and found.outcomes["x_mAh"].tolist() == [1, 2]
    with pytest.raises(Refusal, match=r"h.csv, row 4: "):
        ingest.read_history(write(tmp_path / "h.csv", "sse,speed_rpm\nLPSCl,1500\n,\nLGPS,-1\n"))

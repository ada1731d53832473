"""The lab sheet out and back: partly filled, sorted, copied, mistyped, attacked; all of it is understood or nothing taken."""

import subprocess
import sys

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingest
from campaign.errors import Refusal
from ingest.spreadsheet_text import bare, inert
from ingest.workbook import marker

TRIALS = pd.DataFrame(
    {
        "speed_rpm": [1500.0, 1800.123456789, 700.0],
        "time_h": [3.0, 4.5, 1.25],
        "sse": ["LPSCl", "LPSBr", "LGPS"],
        "active_wt_pct": [22.75, 30.0, 15.0],
    },
    index=["T0001", "T0002", "T0003"],
)


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "next.xlsx"
    ingest.write_sheet(
        path,
        TRIALS,
        space_bounds={"speed_rpm": (400, 2000)},
        batch_mass_g=2.0,
        outcomes=["discharge_areal_capacity_cycle_100_mAh_cm2"],
    )
    return path


def edit(path, change, name="back.xlsx"):
    """Fill cells by header and row, as a person would; returns the new file."""
    book = openpyxl.load_workbook(path)
    page = book["Trials"]
    column = {cell.value: cell.column for cell in page[1]}
    change(page, column)
    book.save(path.parent / name)
    return path.parent / name


def fill(path, values, row=2):
    def change(page, column):
        for header, value in values.items():
            page.cell(row, column[header]).value = value

    return edit(path, change)


def read(path):
    return ingest.read_sheet(path, known_trials=TRIALS)


CELL = {
    "cell id": "C1",
    "active mass (mg)": 3.14,
    "area (cm2)": 0.785,
    "channel": "7",
    "file": "C1_week1.ndax",
    "started at": "2026-03-04 10:30",
}


def test_an_untouched_sheet_says_nothing(sheet):
    assert read(sheet).rows == ()
    assert marker(sheet) == "1"


def test_instructions_weighing_and_validation_are_there(sheet):
    book = openpyxl.load_workbook(sheet)
    assert book.sheetnames == ["Trials", "Weighing", "Instructions"]
    weighing = {cell.value: cell.column for cell in book["Weighing"][1]}
    row = [cell.value for cell in book["Weighing"][2]]
    assert row[weighing["active (g)"] - 1] == pytest.approx(0.455)
    assert row[weighing["SSE (g)"] - 1] == pytest.approx(1.0)
    assert row[weighing["balls (g)"] - 1] == pytest.approx(10.0)
    assert row[weighing["time on the clock (h)"] - 1] == pytest.approx(6.0)
    text = " ".join(str(cell.value) for line in book["Instructions"].iter_rows() for cell in line)
    assert "H2S" in text and "glovebox" in text
    page = book["Trials"]
    rules = {rule.type for rule in page.data_validations.dataValidation}
    assert {"list", "decimal"} <= rules
    speed = next(rule for rule in page.data_validations.dataValidation if rule.promptTitle == "done speed")
    assert (float(speed.formula1), float(speed.formula2)) == (400, 2000)
    assert page.protection.sheet
    header = {cell.value: cell.column for cell in page[1]}
    assert page.cell(2, header["asked speed (rpm)"]).protection.locked
    assert not page.cell(2, header["done speed (rpm)"]).protection.locked


def test_partly_filled_again_and_again(sheet):
    first = fill(
        sheet,
        {
            "state": "mixing",
            "weighed active (g)": 0.46,
            "weighed SSE (g)": "1,0",
            "weighed carbon (g)": 0.54,
            "done speed (rpm)": 1450,
        },
    )
    row = read(first).rows[0]
    assert (row.trial, row.row, row.state) == ("T0001", 2, "mixing")
    assert row.done == pytest.approx(
        {"speed_rpm": 1450, "active_wt_pct": 23.0, "sse_wt_pct": 50.0, "carbon_wt_pct": 27.0}
    )
    assert row.mix["weighed_sse_g"] == 1.0 and row.cell == {}
    second = fill(first, {**CELL, "state": "testing", "pellet conductivity (mS/cm)": 0.44})
    row = read(second).rows[0]
    assert row.cell["active_mass_mg"] == 3.14 and row.cell["started_at"] == "2026-03-04T10:30:00+00:00"
    assert row.powder == {"sse_pellet_conductivity_mS_cm": 0.44}
    third = fill(
        second, {"state": "completed", "discharge areal capacity cycle 100 (mAh/cm2)": 4.2, "stopped at": "2026-06-04"}
    )
    assert read(third).rows[0].outcome == {"discharge_areal_capacity_cycle_100_mAh_cm2": 4.2}


def test_out_of_bounds_is_what_was_done_and_stands(sheet):
    assert read(fill(sheet, {"done speed (rpm)": 2200, "done net mixing time (h)": 14})).rows[0].done == {
        "speed_rpm": 2200,
        "time_h": 14,
    }


def test_sorting_whole_rows_and_deleting_some_is_fine(sheet):
    filled = fill(sheet, CELL, row=3)

    def reverse(page, column):
        rows = [[page.cell(r, c).value for c in range(1, page.max_column + 1)] for r in (2, 3)]
        for target, cells in zip((3, 2), rows, strict=True):
            for position, value in enumerate(cells, start=1):
                page.cell(target, position).value = value
        page.delete_rows(4)

    rows = read(edit(filled, reverse)).rows
    assert [(row.trial, row.row) for row in rows] == [("T0002", 2)]


@pytest.mark.parametrize("header", ["trial", "check", "asked speed (rpm)", "asked SSE"])
def test_one_column_sorted_alone_is_caught(sheet, header):
    def swap(page, column):
        a, b = page.cell(2, column[header]), page.cell(3, column[header])
        a.value, b.value = b.value, a.value

    with pytest.raises(Refusal, match="sorted"):
        read(edit(fill(sheet, {"done speed (rpm)": 1400}), swap))


def copied(page, source, target):
    for position in range(1, page.max_column + 1):
        page.cell(target, position).value = page.cell(source, position).value


def test_a_copied_row_with_its_own_cell_id_is_a_replicate(sheet):
    def change(page, column):
        copied(page, 2, 5)
        page.cell(5, column["cell id"]).value = "C2"

    rows = read(edit(fill(sheet, CELL), change)).rows
    assert [(row.trial, row.cell["cell_id"]) for row in rows] == [("T0001", "C1"), ("T0001", "C2")]


def test_two_rows_that_contradict_each_other_are_refused(sheet):
    def change(page, column):
        copied(page, 2, 5)
        page.cell(5, column["active mass (mg)"]).value = 9

    with pytest.raises(Refusal, match="say different things"):
        read(edit(fill(sheet, CELL), change))


def test_one_cell_at_two_trials_is_refused(sheet):
    with pytest.raises(Refusal, match="stands at trial T0001"):
        read(fill(fill(sheet, CELL), {**CELL, "active mass (mg)": 3.0}, row=3))


MISTAKES = {
    "unknown trial": ({"trial": "T0009"}, "nobody knows the trial 'T0009': did you mean T000"),
    "state": ({"state": "complete"}, "'complete' is no state; did you mean completed"),
    "word for number": ({"active mass (mg)": "three"}, "row 2, column 'active mass \\(mg\\)': 'three' is not a number"),
    "unit in the cell": ({"active mass (mg)": "3.1 mg"}, "carries a unit"),
    "arabic digits": ({"active mass (mg)": "٣"}, "digits other than 0-9"),
    "underscore": ({"active mass (mg)": "1_000"}, "underscore"),
    "infinite": ({"active mass (mg)": "inf"}, "finite"),
    "true": ({"active mass (mg)": True}, "True is not a number"),
    "negative": ({"active mass (mg)": -3}, "negative"),
    "impossible": ({"area (cm2)": 5000}, "not possible; expected 0.01 to 1000"),
    "negative outcome": ({"cell id": "C1", "discharge areal capacity cycle 100 (mAh/cm2)": -4}, "negative"),
    "ambiguous date": ({"started at": "04/03/2026"}, "day/month or month/day"),
    "no date": ({"started at": "March"}, "not a date"),
    "stopped before start": ({**CELL, "stopped at": "2026-01-01"}, "before the start"),
    "result without a cell": ({"discharge areal capacity cycle 100 (mAh/cm2)": 4}, "cell id.*empty"),
    "formula": ({"active mass (mg)": "=1+2"}, "formula"),
    "id away": ({"trial": None, "done speed (rpm)": 1400}, "'trial': empty"),
    "check away": ({"check": None, "done speed (rpm)": 1400}, "'check': empty"),
    "nothing weighed": ({"weighed active (g)": 0, "weighed SSE (g)": 0, "weighed carbon (g)": 0}, "sum to 0 g"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_refused_with_row_column_and_what_would_be_right(sheet, case):
    values, reason = MISTAKES[case]
    with pytest.raises(Refusal, match=reason) as refused:
        read(fill(sheet, values))
    assert str(refused.value).startswith("back.xlsx, sheet 'Trials'")


def test_nothing_is_taken_where_one_row_of_many_is_wrong(sheet):
    with pytest.raises(Refusal, match="row 4"):
        read(fill(fill(sheet, CELL), {"done speed (rpm)": "fast"}, row=4))


def test_improbable_is_told_and_taken(sheet):
    content = read(fill(sheet, {**CELL, "active mass (mg)": 31.4}))
    assert content.rows and any(
        finding.level == "flag" and "mg/cm2" in finding.sentence for finding in content.findings
    )
    content = read(fill(sheet, {**CELL, "active mass (mg)": 1.0}))
    assert any("never entered" in finding.sentence for finding in content.findings)


@pytest.mark.parametrize("header", ["active mass [g]", "active mas (mg)", "colour"])
def test_an_unknown_column_is_refused(sheet, header):
    def rename(page, column):
        page.cell(1, column["active mass (mg)"]).value = header

    with pytest.raises(Refusal, match="row 1"):
        read(edit(fill(sheet, CELL), rename))


def test_serial_dates_and_na(sheet):
    row = read(
        fill(sheet, {"started at": 46085.4375, "cell id": "NA", "area (cm2)": "n/a", "active mass (mg)": 3})
    ).rows[0]
    assert row.cell["started_at"] == "2026-03-04T10:30:00+00:00"
    assert row.cell["cell_id"] == "NA" and "area_cm2" not in row.cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "＝1"])
def test_text_cannot_attack_a_spreadsheet_and_survives(tmp_path, text):
    assert inert(text)[0] == "'" and bare(inert("=1+1")) == "=1+1"
    path = tmp_path / "a.xlsx"
    ingest.write_sheet(path, TRIALS, space_bounds={}, filled={"T0001": {"note": text, "mixed_by": text}})
    book = openpyxl.load_workbook(path)
    values = [cell for line in book["Trials"].iter_rows() for cell in line]
    assert not [cell for cell in values if cell.data_type == "f"]
    assert not [
        cell
        for cell in values
        if isinstance(cell.value, str) and cell.value.startswith(("=", "+", "-", "@", "\t", "\r"))
    ]
    if text.strip() == text:
        assert read(path).rows[0].note == text


def test_negative_numbers_stay_numbers():
    assert inert("LPSCl") == "LPSCl" and inert("a-b") == "a-b"


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_text_comes_back_as_it_went(text):
    assert bare(inert(text)) == "".join(ch for ch in text if ch.isprintable())


def test_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "next.xlsx"
    for trials, name, options in (
        (TRIALS.iloc[:0], "next.xlsx", {}),
        (pd.concat([TRIALS, TRIALS]), "next.xlsx", {}),
        (TRIALS, "next.csv", {}),
        (TRIALS, "no/such/next.xlsx", {}),
        (TRIALS, "next.xlsx", {"batch_mass_g": 0}),
        (TRIALS.assign(speed_rpm=-1.0), "next.xlsx", {}),
    ):
        with pytest.raises(Refusal):
            ingest.write_sheet(tmp_path / name, trials, space_bounds={}, **options)
    assert not list(tmp_path.iterdir())
    ingest.write_sheet(path, TRIALS, space_bounds={})
    with pytest.raises(Refusal, match="exists already"):
        ingest.write_sheet(path, TRIALS, space_bounds={})


def test_another_workbook_is_no_lab_sheet(tmp_path, sheet):
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.create_sheet("other")
    book.save(tmp_path / "other.xlsx")
    with pytest.raises(Refusal, match="no sheet 'Trials'"):
        read(tmp_path / "other.xlsx")
    with pytest.raises(Refusal, match="lab sheet, not a cycler file"):
        ingest.inspect(sheet)


def test_ingest_needs_no_torch_and_starts_no_server():
    heavy = ("torch", "prefect", "mlflow", "polars", "sqlalchemy")
    code = f"import sys, ingest, campaign.units; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

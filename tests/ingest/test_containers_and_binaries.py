"""Workbooks, archives and binary records: what is read of them, what is refused, and with which sentence."""

import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import xlsxwriter
from lab_files import capacities, record, understood, write
from test_vendor_files import TWO_CYCLES

from campaign.errors import Refusal
from ingest import binary, containers, formats, programs, tables, workbook
from ingest.limits import Limits

# ---- workbooks -------------------------------------------------------------------------------------------------------
SERIES_ROWS = [["Test_Time(s)", "Current(A)", "Voltage(V)"], [0, -0.001, 2.0], [3600, -0.001, 1.0], [3601, 0, 1.1]]


def book(path, **sheets):
    made = xlsxwriter.Workbook(str(path))
    for name, rows in sheets.items():
        page = made.add_worksheet(name)
        for number, row in enumerate(rows):
            page.write_row(number, 0, row)
    made.close()
    return path.read_bytes()


def test_the_sheet_with_the_record_is_found_wherever_its_header_stands(tmp_path):
    summary = [["Cycle_Index", "Discharge_Capacity(Ah)"], [1, 0.5], [2, 0.4]]
    above = [["Exported by A"], [], *SERIES_ROWS, [], ["", "", ""]]
    found = understood(tmp_path, book(tmp_path / "b.xlsx", Statistics=summary, Channel_1=above))
    assert capacities(found) == pytest.approx([1.0], rel=1e-3) and found["rows"] == 3
    found = understood(tmp_path, book(tmp_path / "b.xlsx", Notes=[["hello"]], Statistics=summary))
    assert capacities(found) == [500, 400] and found["format"] == "capacity-table"
    with pytest.raises(Refusal, match=r"f: 2 sheets hold a record \('A', 'B'\); save each channel"):
        understood(tmp_path, book(tmp_path / "b.xlsx", A=SERIES_ROWS, B=SERIES_ROWS))
    with pytest.raises(Refusal, match=r"f: no sheet names the columns .* its sheets are A, B"):
        understood(tmp_path, book(tmp_path / "b.xlsx", A=[["x"]], B=[["y"]]))
    late = [["x"]] * 40 + SERIES_ROWS
    with pytest.raises(Refusal, match="no sheet names the columns"):
        understood(tmp_path, book(tmp_path / "b.xlsx", A=late))
    assert understood(tmp_path, book(tmp_path / "b.xlsx", A=late[1:]))["rows"] == 3


def test_information_sheets_beside_the_record(tmp_path):
    info = [
        ["x"],
        ["Cell", "Start Time", "Creator", "Comment", ""],
        ["LS-7", "now", "ben", " a  b ", "lost"],
        ["a", "b"],
    ]
    few = [["Cell", "Start Time", "Creator"], ["LS-9", "then", "eve"]]
    raw = book(
        tmp_path / "b.xlsx", Notes=[["a", "b", "c", "d"], [1, 2, 3, 4]], Info2=few, Global_Info=info, Data=SERIES_ROWS
    )
    assert understood(tmp_path, raw)["metadata"] == {
        "cell": "LS-7",
        "start_time": "now",
        "creator": "ben",
        "comment": "a  b",
    }


WORKBOOKS = {
    "no row": ([["cycle", "Qdis (mAh)"]], "f, sheet 'A': has no data row below its header"),
    "no name": ([["cycle", "", "Qdis (mAh)"], [1, 7, 2]], "f, sheet 'A', row 1: column 2 holds values and has no name"),
    "one name twice": ([["cycle", "x", "x", "Qdis (mAh)"], [1, 1, 1, 2]], "row 1: the column 'x' stands there twice"),
    "a value beside": ([["cycle", "Qdis (mAh)"], [1, 2], [2, 1, "?"]], "row 3: holds a value to the right of the last"),
    "formula": ([["cycle", "Qdis (mAh)"], [1, "=1+1"]], "sheet 'A', cell B2: holds a formula"),
}


@pytest.mark.parametrize("case", WORKBOOKS)
def test_a_workbook_that_is_refused(tmp_path, case):
    rows, reason = WORKBOOKS[case]
    with pytest.raises(Refusal, match=reason):
        understood(tmp_path, book(tmp_path / "b.xlsx", A=rows))


def test_what_a_workbook_may_have(tmp_path):
    rows = [["cycle", "", "Qdis (mAh)", ""], [1, "", 2, ""], [2, "", "1,5", ""], ["", "", "", ""]]
    assert capacities(understood(tmp_path, book(tmp_path / "b.xlsx", A=rows))) == [2, 1.5]


def test_a_sheet_too_wide_or_too_long_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "b.xlsx"
    book(path, A=[["a"] * 30] * 40)
    scans = containers.check_workbook(path, "f", limits=Limits(sheet_cells=1200, workbook_rows=40))
    assert [(s.cells, s.last_row, s.last_column) for s in scans.values()] == [(1200, 40, 30)]
    with pytest.raises(
        Refusal, match=r"sheet1.xml reaches to row 40, column 30 and fills 1200 cells; the limit is 1199"
    ):
        containers.check_workbook(path, "f", limits=Limits(sheet_cells=1199))
    with pytest.raises(Refusal, match=r"sheet1.xml has 40 rows; the limit of a workbook is 39"):
        containers.check_workbook(path, "f", limits=Limits(workbook_rows=39))


def test_a_lone_far_cell_is_told_by_its_place(tmp_path):
    far = openpyxl.Workbook()
    far.active.append(["cycle", "Qdis (mAh)"])
    far.active["AAB3000"] = 1
    far.save(tmp_path / "b.xlsx")
    (scan,) = containers.check_workbook(
        tmp_path / "b.xlsx", "f", limits=Limits(workbook_rows=100, sheet_cells=9_000_000)
    ).values()
    assert (scan.last_row, scan.last_column, scan.cells) == (3000, 704, 3)
    with pytest.raises(Refusal, match="reaches to row 3000, column 704"):
        containers.check_workbook(tmp_path / "b.xlsx", "f", limits=Limits(sheet_cells=2_000_000))


def archive(path, compression=zipfile.ZIP_DEFLATED, **parts):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return path


ZIPS = {
    "unpacks to too much": ({"a": bytes(3 << 20)}, Limits(unpacked_MiB=2), r"f: unpacks to 3 MiB; the limit is 2 MiB"),
    "bomb": ({"a": bytes(11 << 20)}, Limits(), "its part 'a' unpacks to [0-9]+ times its size; the limit is 200"),
    "large and hardly packed": ({"a": np.random.default_rng(0).bytes(11 << 20)}, Limits(), None),
    "small and well packed": ({"a": bytes(9 << 20)}, Limits(), None),
    "a path": ({"a/../b": b""}, Limits(), r"holds a part with a path for a name \('a/../b'\)"),
    "a path of Windows": ({"a\\..\\b": b""}, Limits(), "holds a part with a path for a name"),
    "an absolute path": ({"/b": b""}, Limits(), "holds a part with a path for a name"),
    "dots in a name": ({"a..b": b"x"}, Limits(), None),
    "zip in zip": ({"a.ZIP": b""}, Limits(), "holds another archive"),
    "workbook in zip": ({"a.xlsx": b""}, Limits(), "holds another archive"),
    "7z in zip": ({"a.7z": b""}, Limits(), "holds another archive"),
    "gz in zip": ({"a.csv.gz": b""}, Limits(), "holds another archive"),
}


@pytest.mark.parametrize("case", ZIPS)
def test_an_archive(tmp_path, case):
    parts, limits, reason = ZIPS[case]
    path = archive(tmp_path / "a.zip", **parts)
    if reason is None:
        assert containers.check_zip(path, "f", limits=limits) == list(parts)
        return
    with pytest.raises(Refusal, match=reason):
        containers.check_zip(path, "f", limits=limits)


def test_an_archive_of_other_things(tmp_path):
    with pytest.raises(Refusal, match="f: is a zip archive of 2 files and neither a workbook nor a Neware"):
        understood(tmp_path, archive(tmp_path / "a.zip", a="x", b="y").read_bytes())
    with pytest.raises(Refusal, match="without a worksheet in it"):
        understood(tmp_path, archive(tmp_path / "a.zip", **{"xl/workbook.xml": "<a/>"}).read_bytes())
    with pytest.raises(Refusal, match="its zip container is damaged or cut off"):
        understood(tmp_path, archive(tmp_path / "a.zip", a="x" * 99).read_bytes()[:-30])
    names = {"xl/workbook.xml": "<!DOCTYPE a>", "xl/worksheets/sheet1.xml": "<a/>"}
    with pytest.raises(Refusal, match=r"its part 'xl/workbook.xml' declares XML entities"):
        understood(tmp_path, archive(tmp_path / "a.zip", **names).read_bytes())
    macros = {"xl/workbook.xml": "<a/>", "xl/worksheets/sheet1.xml": "<a/>", "xl/vbaProject.BIN": "x"}
    with pytest.raises(Refusal, match="holds macros"):
        understood(tmp_path, archive(tmp_path / "a.zip", **macros).read_bytes())


def test_our_mark_is_read_from_a_whole_sheet_only(tmp_path):
    assert workbook.marker(write(tmp_path / "a", "text")) is None
    assert workbook.marker(archive(tmp_path / "b", a="x")) is None
    assert workbook.marker(tmp_path) is None
    own = f'<p name="{workbook.layout.MARKER}" id="2"> <v:lpwstr> 1 </v:lpwstr></p>'
    assert workbook.marker(archive(tmp_path / "c", **{"docProps/custom.xml": own})) == "1"
    assert (
        workbook.marker(archive(tmp_path / "d", **{"docProps/custom.xml": own.replace("mixwright", "other")})) is None
    )


# ---- binary records --------------------------------------------------------------------------------------------------
def neware_frame(**changes):
    import polars

    rows = record(TWO_CYCLES, dt_s=600, logged="both")
    columns = {
        "index": np.arange(1, len(rows) + 1), "total_time_s": rows[:, 0], "current_mA": rows[:, 3], "voltage_V": rows[:, 4],
        "step_time_s": rows[:, 2], "capacity_mAh": np.abs(rows[:, 3]) * rows[:, 2] / 3600, "cycle_count": rows[:, 1] * 0 + 3,
        "step_count": rows[:, 1], "unix_time_s": rows[:, 0] + 1.7e9,
    }  # fmt: skip
    for name, (row, value) in changes.items():
        columns[name] = columns[name].astype(float)
        columns[name][row] = value
    return polars.DataFrame(columns)


@pytest.fixture
def fastnda(monkeypatch):
    """The library in the hands of the test: what it would read, and of which name it was asked."""
    library = pytest.importorskip("fastnda", reason="fastnda reads Neware files")
    asked = []

    def answer(frame, metadata=None):
        monkeypatch.setattr(library, "read", lambda path, **words: (asked.append((path.suffix, words)), frame)[1])
        monkeypatch.setattr(library, "read_metadata", lambda path: metadata or {})
        return asked

    return answer


def test_a_neware_record(tmp_path, fastnda):
    metadata = {
        "TestInfo": {"TestInfo": {"Barcode": "LS-7", "Remark": "r", "ChlID": 4, "SN": "", "StartTime": None}},
        "active_mass_mg": 2.5,
        "test_name": "t",
    }
    asked = fastnda(neware_frame(), metadata)
    found = understood(tmp_path, b"NEWARE" + bytes(100))
    assert found["format"] == "neware-nda" and capacities(found) == pytest.approx([1.0, 0.95], rel=0.01)
    assert found["metadata"] == {
        "barcode": "LS-7", "remarks": "r", "test_name": "t", "vendor_active_mass_mg": "2.5", "channel": "4",
    }  # fmt: skip
    assert found["cell_id"] == "LS-7" and set(found["cycles"]["vendor_cycle"]) == {3.0}
    assert {one["check"]: one["level"] for one in found["findings"]}["time_unit"] == "ok"
    fastnda(neware_frame())
    assert understood(tmp_path, archive(tmp_path / "a", **{"data.ndc": "x"}).read_bytes())["format"] == "neware-ndax"
    assert asked == [(".nda", {"cycle_mode": "raw"}), (".ndax", {"cycle_mode": "raw"})]
    for info in ({"barcode": "B", "remarks": "m", "start_time": "s"}, {"TestInfo": "x", "barcode": "B"}):
        fastnda(neware_frame(), info)
        assert understood(tmp_path, b"NEWARE")["cell_id"] == "B"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"index": (4, 9)}, "f: record 4 is followed by 9; the file is damaged or cut"),
        ({"current_mA": (4, np.nan)}, "f: current_mA holds a value that is no finite number"),
        ({"voltage_V": (4, np.inf)}, "f: voltage_V holds a value that is no finite number"),
        ({"total_time_s": (4, np.nan)}, "f: total_time_s holds"),
        ({"total_time_s": (4, 0.0)}, "f, record 5: the test time falls back"),
        ({"total_time_s": (1, -1.0)}, "f, record 2: the test time falls back"),
    ],
)
def test_a_damaged_neware_record(tmp_path, fastnda, changes, reason):
    fastnda(neware_frame(**changes))
    with pytest.raises(Refusal, match=reason):
        understood(tmp_path, b"NEWARE")


def test_neware_without_its_library_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(binary.importlib.util, "find_spec", lambda name: None)
    for raw, ending in ((b"NEWARE", ".nda"), (archive(tmp_path / "a", **{"d.ndc": "x"}).read_bytes(), ".ndax")):
        with pytest.raises(Refusal, match=rf"f: is a Neware {ending} file, which needs fastnda \(pip install"):
            understood(tmp_path, raw)


def test_parquet(tmp_path):
    frame = pd.DataFrame({" cycle": [1, 2], "Qdis (mAh)": [5.0, 4.0]})
    frame.to_parquet(tmp_path / "p")
    assert capacities(understood(tmp_path, (tmp_path / "p").read_bytes())) == [5, 4]
    with pytest.raises(Refusal, match=r"f: unpacks to [0-9]+ MiB in 2 rows"):
        binary.parquet(tmp_path / "p", "f", limits=Limits(sheet_cells=0))
    with pytest.raises(Refusal, match="in 2 rows; the limit is 0 MiB"):
        binary.parquet(tmp_path / "p", "f", limits=Limits(unpacked_MiB=0))
    pd.DataFrame([[1, 2]], columns=["a", "a "]).to_parquet(tmp_path / "q")
    with pytest.raises(Refusal, match="f: two columns of the parquet file have one name"):
        understood(tmp_path, (tmp_path / "q").read_bytes())
    with pytest.raises(Refusal, match=r"f: the parquet file is damaged or cut off \("):
        understood(tmp_path, (tmp_path / "p").read_bytes()[:-8])


ARBIN_RES = (
    "Test_ID,Data_Point,Test_Time,Step_Time,Step_Index,Cycle_Index,Current,Voltage,Charge_Capacity,Discharge_Capacity\n"
)


def res(*rows):
    return ARBIN_RES + "".join(
        ",".join(map(str, (*row[:2], row[2], row[2], 1, 1, *row[3:], 0, 0))) + "\n" for row in rows
    )


def test_what_mdbtools_makes_of_an_arbin_database(tmp_path):
    rows = [(1, 1, 0, -0.001, 2.0), (1, 3, 7200, 0.0, 1.1), (1, 2, 3600, -0.001, 1.0)]
    (tmp_path / "input.converted").write_text(res(*rows))
    found = understood(tmp_path, "x", converted="arbin-res")
    assert found["format"] == "arbin-res" and found["rows"] == 3
    assert found["cycles"]["discharge_capacity_mAh"] == pytest.approx([1.0], rel=1e-6)
    for text_made, reason in (
        (res((1, 1, 0, 1, 1), (2, 2, 1, 1, 1)), r"f: holds 2 tests \(Test_ID 1, 2\)"),
        (res((1, 1, 0, 1, 1), (1, 3, 1, 1, 1)), "data point 1 is followed by 3"),
        ("Point\n1\n", "f: the Arbin database has no readable channel table"),
    ):
        (tmp_path / "input.converted").write_text(text_made)
        with pytest.raises(Refusal, match=reason):
            understood(tmp_path, "x", converted="arbin-res")


def test_a_database_without_tests_and_points_is_no_arbin_file(tmp_path, monkeypatch):
    def parsed(path, place):
        return tables.Table(place, ("Current",), 1, 1, tables.Columns((np.array([1.0]),)))

    monkeypatch.setattr(binary, "access_database", parsed)
    with pytest.raises(Refusal, match="f: its channel table has no Test_ID and Data_Point; is it an Arbin database"):
        understood(tmp_path, b"\x00\x01\x00\x00Standard Jet DB")


def test_what_galvani_makes_of_a_biologic_file(tmp_path):
    (tmp_path / "input.converted").write_text("time/s\tEwe/V\tI/mA\n0\t2.0\t-1\n3600\t1.0\t-1\n3601\t1.1\t0\n")
    found = understood(tmp_path, "x", converted="biologic-mpr")
    assert found["format"] == "biologic-mpr" and found["rows"] == 3


def test_programs_that_a_file_needs(tmp_path, monkeypatch):
    jet = write(tmp_path / "a.res", b"\x00\x01\x00\x00Standard Jet DB" + bytes(2048 - 19))
    ace = write(tmp_path / "b.res", b"\x00\x01\x00\x00Standard ACE DB" + bytes(4096 - 19))
    mpr = write(tmp_path / "c.mpr", b"BIO-LOGIC MODULAR FILE\x1a")
    monkeypatch.setattr(programs.shutil, "which", lambda name: f"/bin/{name}")
    for path in (jet, ace):
        found = programs.needed(path, "f")
        assert (found.format, found.argv) == ("arbin-res", ("/bin/mdb-export", str(path), "Channel_Normal_Table"))
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"f: is a BioLogic .mpr file, which needs the optional program galvani"):
        programs.needed(mpr, "f")
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    with pytest.raises(Refusal, match=r"f: is an Arbin .res database, which needs mdbtools"):
        programs.needed(jet, "f")
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: name)
    assert programs.needed(jet, "f") is None and programs.needed(write(tmp_path / "d", "text"), "f") is None
    assert programs.needed(mpr, "f").argv[1:] == (str(Path(programs.__file__).with_name("mpr_to_csv.py")), str(mpr))
    with pytest.raises(Refusal, match=r"f: is an Arbin .res database whose last page is cut off"):
        programs.needed(write(tmp_path / "e.res", jet.read_bytes() + b"x"), "f")


def test_the_reader_s_libraries_are_told_by_the_first_bytes(tmp_path):
    ndax = archive(tmp_path / "a", **{"data.ndc": "x"})
    assert "fastnda" in formats.libraries(ndax) == formats.libraries(write(tmp_path / "b", b"NEWARE"))
    assert formats.libraries(archive(tmp_path / "c", **{"data.txt": "x"})) == ()
    assert formats.libraries(write(tmp_path / "d", b"PK\3\4cut")) == ()
    assert formats.libraries(write(tmp_path / "e", b"PAR1")) == ("pyarrow.parquet",)
    assert formats.libraries(write(tmp_path / "f", b"\x00\x01\x00\x00Standard Jet DB")) == ("access_parser",)
    assert formats.libraries(write(tmp_path / "g", b"text")) == ()

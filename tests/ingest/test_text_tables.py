"""Text becomes tables: encodings, delimiters, widths, last lines, versions, limits and names; each branch with its sentence."""

import os
import re
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from lab_files import capacities, record, series_csv, understood, write

import ingest
from campaign.errors import Refusal
from ingest import sandbox, text, understand, versions
from ingest.limits import Limits
from ingest.tables import Grid, Table

LIMITS = Limits()
TABLE = "cycle,Qdis (mAh)\n1,6.28\n2,6.10\n3,5.90\n4,5.80\n5,5.70\n"


def notes(found):
    return [one["sentence"] for one in found["findings"] if one["check"] == "file"]


# ---- text ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (TABLE.encode(), None),
        (TABLE.encode("utf-8-sig"), None),
        (TABLE.encode("utf-16"), "the file was UTF-16"),
        (TABLE.encode("utf-16-be").join((b"\xfe\xff", b"")), "the file was UTF-16"),
        (TABLE.replace("cycle", "# µ: ü\ncycle").encode("cp1252"), "the file was read as Windows-1252 text"),
        (TABLE.replace("\n", "\r\n").encode(), None),
        (TABLE.replace("\n", "\r").encode(), None),
        (TABLE.replace(",", "\t").encode(), None),
        (TABLE.replace(",", ";").encode(), None),
        (TABLE.replace(",", "|").encode(), None),
        (TABLE.replace(",", ";").replace(".", ",").encode(), None),
        (TABLE.replace(",", "\t").replace(".", ",").encode(), None),
        (TABLE.replace("6.28", '"6.28"').encode(), None),
        (TABLE.replace("6.28", '"6,28"').encode(), None),
        ((TABLE + "\n\n  \n").encode(), None),
        (TABLE.replace("\n", ",\n").encode(), None),
        (TABLE.replace("(mAh)\n", "(mAh),\n").replace("6.28\n", "6.28,\n").encode(), "refused"),
        (TABLE.replace(",", ";").replace(".", ",").replace("6,28", "1.006,28").encode(), "thousands"),
    ],
)
def test_one_table_in_many_spellings(tmp_path, raw, note):
    if note == "refused":
        with pytest.raises(Refusal, match="row 3: has 2 fields where the header has 3"):
            understood(tmp_path, raw)
        return
    found = understood(tmp_path, raw)
    assert capacities(found) == [1006.28 if note == "thousands" else 6.28, 6.1, 5.9, 5.8, 5.7]
    assert notes(found) == ([note] if note and note != "thousands" else [])
    assert found["rows"] == 5


LAST = {
    "with its line end": (TABLE, 5, None),
    "without, as long as the others": (TABLE[:-1], 5, "the last line has no line end; the file may go on"),
    "without, shorter": (TABLE[:-2], 4, "cut short, so it was left out"),
    "without, at its point": (TABLE[:-3], 4, "cut short, so it was left out"),
    "without, at its comma": (TABLE[:-5], 4, "cut short, so it was left out"),
    "without, few rows": ("cycle,Qdis (mAh)\n1,6.28\n2,6.1", 2, "the file may go on"),
    "without, at a sign": ("cycle,Qdis (mAh)\n1,6.28\n2,6e-", 1, "cut short"),
    "without, at an exponent": ("cycle,Qdis (mAh)\n1,6.28\n2,6e", 1, "cut short"),
    "without, at an exponent in capitals": ("cycle,Qdis (mAh)\n1,6.28\n2,6E", 1, "cut short"),
    "without, at a plus": ("cycle,Qdis (mAh)\n1,6.28\n2,6e+", 1, "cut short"),
}


@pytest.mark.parametrize("case", LAST)
def test_the_last_line(tmp_path, case):
    raw, rows, note = LAST[case]
    found = understood(tmp_path, raw)
    assert (found["rows"], len(capacities(found))) == (rows, rows)
    assert len(notes(found)) == (note is not None) and all(note in sentence for sentence in notes(found))


def test_of_a_long_file_the_last_line_is_judged_by_those_near_it(tmp_path):
    body = "".join(f"{n},1\n" for n in range(1, 40)) + "".join(f"{n},6.123456\n" for n in range(40, 3000))
    assert understood(tmp_path, "cycle,Qdis (mAh)\n" + body + "3000,6.1")["rows"] == 2999
    assert understood(tmp_path, "cycle,Qdis (mAh)\n" + body + "3000,6.123456")["rows"] == 3000


REFUSED = {
    "zero byte": (TABLE.replace("6.10", "6.1\0"), "f, row 3: holds a zero byte"),
    "no text": (TABLE.encode() + b"9,\xff\x81\n", "f, row 7: holds bytes that are no text"),
    "half of UTF-16": (TABLE.encode("utf-16")[:-1], "f: starts as UTF-16 text and breaks off"),
    "short row": (
        TABLE.replace("2,6.10", "2"),
        "f, row 3: has 1 fields where the header has 2; |f, row 3: has 1 fields",
    ),
    "short last row": (TABLE + "6", r"f, row 7: has 1 fields where the header has 2 \(the last row: the file was cut"),
    "long row in quotes": (TABLE.replace("2,6.10", '2,"6.10",7'), "f, row 3: has 3 fields where the header has 2"),
    "open quote": (TABLE.replace("6.10", '"6.10'), "f, row [0-9]: .*; check the quotation marks"),
    "no row": ("cycle,Qdis (mAh)\n\n", "f: has a header and no data row"),
    "column without name": ("cycle,,Qdis (mAh)\n1,2,3\n", "f, row 1: column 2 has no name"),
    "column twice": ("# by A\ncycle,x,x,Qdis (mAh)\n1,2,3,4\n", "f, row 2: the column 'x' stands there twice"),
    "numbers above the header": ("1,2\n" + TABLE, "f, row 1: numbers stand above row 2"),
    "layered": ("Cycle ID,x\n,Step ID\n,,Record ID\n", "f: is Neware's layered export"),
    "nothing known": ("a b,c\n1,2\n", "f: no row names the columns .*; seen were 'a b', 'c'; for 'a b'"),
    "nearly known": ("cycl,Volts is\n1,2\n", "seen were 'cycl', 'Volts is'; for 'cycl' did you mean cycle"),
    "only numbers": ("1,2\n3,4\n", "seen were no names$"),
    "blank": ("\n  \n", "f: holds no text"),
    "cell is a word": (TABLE.replace("6.10", "x"), "f, row 3, column 'Qdis \\(mAh\\)': 'x' is not a number"),
    "old Office": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "f: is an old or password-protected Office file"),
    "PDF": (b"%PDF-", "f: is a PDF"),
    "HDF5": (b"\x89HDF", "f: is an HDF5 file"),
    "ELF": (b"\x7fELF", "f: is a program"),
    "DOS program": (b"MZ\x90", "f: is a program"),
    "gzip": (b"\x1f\x8b\x08", "f: is packed with gzip"),
    "bzip2": (b"BZh9", "f: is packed with bzip2"),
    "picture": (b"\x89PNG", "f: is a picture"),
    "database": (b"SQLite format 3\0", "f: is an SQLite database"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_text_that_is_refused(tmp_path, case):
    raw, reason = REFUSED[case]
    with pytest.raises(Refusal, match=reason):
        understood(tmp_path, raw)


@pytest.mark.parametrize("ending", ["nda", "ndax", "mpr", "res", "xlsx", "parquet", "XLSX"])
def test_a_binary_name_over_no_such_bytes_says_that_it_was_damaged(tmp_path, ending):
    with pytest.raises(
        Refusal, match=rf"^a.{ending}: its name ends in .{ending.lower()}, but .* \(read as text: no row"
    ):
        understood(tmp_path, "a,b\n1,2\n", name=f"a.{ending}")
    with pytest.raises(Refusal, match=r"^a.csv: no row names"):
        understood(tmp_path, "a,b\n1,2\n", name="a.csv")
    assert understood(tmp_path, TABLE, name=f"a.{ending}")["format"] == "capacity-table"


def test_limits_of_a_text_table():
    document = text.document("f", b"a,b,c\n1,2,3\n")
    assert text.table(document, limits=Limits(text_columns=3)).header == ("a", "b", "c")
    with pytest.raises(Refusal, match=r"f: has 3 columns; the limit is 2 \(setting text_columns\)"):
        text.table(document, limits=Limits(text_columns=2))
    with pytest.raises(Refusal, match=r"f: ends before its header \(row 3\)"):
        text.table(document, header_line=2, limits=LIMITS)
    with pytest.raises(Refusal, match="f, row 1: no comma, semicolon or tab divides"):
        text.table(text.document("f", b"abc\n1\n"), limits=LIMITS)


def test_the_delimiter_is_the_one_that_all_lines_share():
    for raw, header in (
        (b"a;b,c\n1;2\n3;4\n", ("a", "b,c")),
        (b"a,b;c;d\n1,2;3;4\n", ("a,b", "c", "d")),
        (b"a\tb,c\n1\t2,3\n", ("a", "b,c")),
        (b"a,b,c;d\n1,2,3\n", ("a", "b", "c;d")),
    ):
        assert text.table(text.document("f", raw), limits=LIMITS).header == header


def test_what_stands_above_the_header_is_kept(tmp_path):
    above = "# Cell: LS-7\nOperator ;: Ada  L.\nno colon here\nEmpty:\n" + "k" * 60 + ": v\n"
    found = understood(tmp_path, above + TABLE)
    assert found["metadata"] == {"cell": "LS-7", "operator": "Ada L."}
    assert found["cell_id"] == "LS-7"
    with pytest.raises(Refusal, match="no row names"):
        understood(tmp_path, "x\n" * 200 + TABLE)
    assert understood(tmp_path, "x\n" * 199 + TABLE)["rows"] == 5


@pytest.mark.parametrize(
    ("line", "cell"),
    [
        ("cell_id: A-1", "A-1"),
        ("Cell: A-1", "A-1"),
        ("Cell Name: A-1", "A-1"),
        ("Barcode: A-1", "A-1"),
        ("comment: made by A, cell id = A.1_b", "A.1_b"),
        ("remark: barcode: Z9", "Z9"),
        ("remark: cellar: Z9", None),
        ("remark: cell: -x", None),
    ],
)
def test_a_cell_id_above_the_header(tmp_path, line, cell):
    assert understood(tmp_path, f"{line}\n{TABLE}")["cell_id"] == cell


# ---- cells of a table ------------------------------------------------------------------------------------------------
def test_cells_of_a_workbook():
    table = Table("f", ("a", "b"), 2, 4, Grid([[1.0, "x "], [2, None], [3.5, True], [1e15, 7.0]]))
    assert table.floats(0).tolist() == [1, 2, 3.5, 1e15]
    assert table.texts(0) == ["1", "2", "3.5", "1000000000000000.0"]
    assert table.texts(1) == ["x", "", "True", "7"]
    assert table.where(1, 0) == "f, row 3, column 'a'"
    for cells, reason in (
        ([True], "f, row 2, column 'a': True is not a number; type the number alone"),
        ([datetime(2026, 1, 1)], "2026-01-01 00:00:00 is not a number"),
        ([None], "empty where a number is needed"),
        (["-"], "'-' is not a number"),
        (["1 mAh"], "carries a unit"),
    ):
        with pytest.raises(Refusal, match=re.escape(reason)):
            Table("f", ("a",), 2, 1, Grid([cells])).floats(0)
    empty = Table("f", ("a",), 2, 4, Grid([["-"], ["NA"], [" 2,5 "], [4]])).floats(0, empty=True)
    assert empty.tolist()[2:] == [2.5, 4] and np.isnan(empty[:2]).all()


# ---- versions, limits, names -----------------------------------------------------------------------------------------
def compared(folder, old, new):
    (folder / "older").write_text(old)
    (folder / "input").write_text(new)
    return understand.compare(folder, LIMITS, {"names": ["old", "new"], "converted": [None, None]})


def test_two_versions_row_by_row(tmp_path):
    text_columns = "cycle,Qdis (mAh),by\n1,6.28,A\n2,,B\n"
    assert compared(tmp_path, text_columns, text_columns.replace(",A", ",Ada")) == {
        "old_rows": 2, "new_rows": 2, "differences": [],
    }  # fmt: skip
    changed = compared(tmp_path, TABLE, TABLE.replace("6.28", "6.29").replace("\n5,", "\n6,"))
    assert changed["differences"] == [
        {"row": 1, "column": "Qdis (mAh)", "old": 6.28, "new": 6.29},
        {"row": 5, "column": "cycle", "old": 5.0, "new": 6.0},
    ]
    assert compared(tmp_path, TABLE, TABLE.replace("6.28", "6.2800000001"))["differences"] == []
    filled = compared(tmp_path, "cycle,Qdis (mAh)\n1,6.28\n2,\n", "cycle,Qdis (mAh)\n1,6.28\n2,6.1\n")
    assert [one["row"] for one in filled["differences"]] == [2]
    with pytest.raises(Refusal, match="new: has no Qchg"):
        compared(tmp_path, "cycle,Qdis (mAh),Qchg (mAh)\n1,1,1\n", "cycle,Qdis (mAh)\n1,1\n")
    with pytest.raises(Refusal, match="new: is capacity-table where the earlier version old was csv"):
        compared(tmp_path, series_csv(record([(-1, 1)], dt_s=600)), TABLE)
    many = TABLE + "".join(f"{n},5\n" for n in range(6, 60))
    assert len(compared(tmp_path, many, many.replace(",5\n", ",4\n"))["differences"]) == 20


def test_a_comparison_in_a_sentence():
    def said(kind, old, new, *differences):
        return versions.Comparison(kind, old, new, differences).sentence

    assert said("same", 5, 5) == "the same 5 rows as before"
    assert said("extends", 5, 8) == "3 rows more than the 5 before, which are unchanged"
    assert said("contained", 8, 5) == "an earlier version: its 5 rows are the first of the 8 known"
    first = versions.Difference(3, "x", 1.5, 2.5)
    assert said("changed", 5, 5, first).startswith("data row 3, x: was 1.5, is 2.5; the past was changed")


def test_a_file_from_the_future_is_looked_at_twice(tmp_path, monkeypatch):
    path = write(tmp_path / "a", "x")
    slept = []
    monkeypatch.setattr(versions.time, "sleep", lambda seconds: (slept.append(seconds), path.write_text("xy")))
    assert not versions.is_settled(path, settle_s=3.0, clock=lambda: 0.0)
    monkeypatch.setattr(versions.time, "sleep", slept.append)
    assert versions.is_settled(path, settle_s=0.2, clock=lambda: 0.0)
    assert slept == [0.5, 0.2]
    assert versions.is_settled(path, clock=lambda: path.stat().st_mtime + 10.0)
    assert not versions.is_settled(path, clock=lambda: path.stat().st_mtime)


def test_limits_as_they_are_and_as_settings():
    assert Limits() == Limits(2048, 20, 60, 1024, 512, 200, 2_000_000, 300_000, 5_000, 500)
    names = "MEMORY_MIB CPU_S WALL_S FILE_MIB UNPACKED_MIB ZIP_RATIO SHEET_CELLS WORKBOOK_ROWS SHEET_ROWS TEXT_COLUMNS"
    given = {f"MIXWRIGHT_INGEST_{name}": str(n) for n, name in enumerate(names.split(), start=1)}
    assert Limits.from_settings(given | {"MIXWRIGHT_HOME": "x"}) == Limits(*range(1, 11))
    for key, value, reason in (
        ("CPU_S", "0", "'0'; it must be a positive whole number"),
        ("CPU_S", "1.5", "positive whole"),
        ("CPU_SS", "1", "no limit of ours: did you mean CPU_S"),
    ):
        with pytest.raises(Refusal, match=reason):
            Limits.from_settings({f"MIXWRIGHT_INGEST_{key}": value})


def test_limits_of_this_machine(monkeypatch):
    monkeypatch.setenv("MIXWRIGHT_INGEST_WALL_S", "7")
    assert Limits.current().wall_s == 7


def test_names_in_sentences():
    assert sandbox.shown("a\nb\u202ec\x07.csv") == "a?b?c?.csv"
    assert sandbox.shown("x" * 120) == "x" * 120
    assert sandbox.shown("a" * 100 + "b" * 100) == "a" * 80 + "…" + "b" * 39


ENDINGS = {
    "computing": ({"exit": -24, "cpu_s": 3.0}, "", r"needed more than 20 s of computing to read \(setting cpu_s\)"),
    "killed at its time": ({"exit": -9, "cpu_s": 20.0}, "", "needed more than 20 s of computing"),
    "clock": ({"exit": -14, "cpu_s": 0.1}, "", r"took longer than 60 s to read \(setting wall_s\)"),
    "memory": ({"exit": 1, "cpu_s": 0.1}, "x\nMemoryError: Unable\n\n", r"needed more than 2048 MiB .*memory_MiB"),
    "memory of rust": (
        {"exit": -6, "cpu_s": 0.1},
        "memory allocation of 9 bytes failed\nabort",
        "needed more than 2048 MiB of memory",
    ),
    "memory of a program": (
        {"exit": 1, "cpu_s": 0.1},
        "Cannot allocate memory\nx",
        "needed more than 2048 MiB of memory",
    ),
    "killed by the system": ({"exit": -9, "cpu_s": 19.9}, "", "needed more than 2048 MiB of memory"),
    "an exception": (
        {"exit": 1, "cpu_s": 0.1},
        "a\nKeyError: 'x'\n",
        r"the reader gave up \(KeyError: 'x'\); the file",
    ),
    "no word": ({"exit": -11, "cpu_s": 0.1}, "", r"the reader gave up \(no message\)"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_each_way_in_which_a_reader_ends_is_a_sentence(tmp_path, monkeypatch, case):
    answer, said, reason = ENDINGS[case]

    def ask(request, limits, name):
        Path(request["folder"], "stderr").write_text(said)
        return answer

    monkeypatch.setattr(sandbox, "_ask", ask)
    with pytest.raises(Refusal, match=f"^a.csv: {reason}"):
        ingest.inspect(write(tmp_path / "a.csv", TABLE))


def test_a_long_refusal_is_shortened(tmp_path, monkeypatch):
    def ask(request, limits, name):
        Path(request["folder"], "result.json").write_text('{"refused": "%s"}' % ("a" * 600 + "\\u0007" + "b" * 400))
        return {"exit": 0}

    monkeypatch.setattr(sandbox, "_ask", ask)
    with pytest.raises(Refusal) as told:
        ingest.inspect(write(tmp_path / "a.csv", TABLE))
    assert str(told.value) == "a" * 500 + " … " + "b" * 280


def test_paths_that_are_no_file(tmp_path):
    (tmp_path / "link").symlink_to(write(tmp_path / "a", "x"))
    write(tmp_path / "empty", "")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("link", "link: is a symbolic link; give the file itself"),
        ("nothing", r"nothing: cannot be opened \(No such file"),
        ("empty", r"empty: is empty \(0 bytes\)"),
        ("pipe", "pipe: is a device, pipe or socket, not a file"),
        (".", ": is a folder, not a file"),
        ("a\0b", "cannot be opened"),
    ):
        with pytest.raises(Refusal, match=reason):
            sandbox.take(tmp_path / name, tmp_path / "copy", limits=LIMITS)
    write(tmp_path / "big", bytes((1 << 20) + 1))
    with pytest.raises(Refusal, match=r"big: has 1 MiB; the limit is 1 MiB \(setting file_MiB\)"):
        sandbox.take(tmp_path / "big", tmp_path / "copy", limits=Limits(file_MiB=1))
    found = sandbox.take(tmp_path / "big", tmp_path / "copy", limits=Limits(file_MiB=2))
    assert (found.size, (tmp_path / "copy").read_bytes()) == ((1 << 20) + 1, bytes((1 << 20) + 1))


def test_a_full_temporary_folder_is_a_sentence(tmp_path, monkeypatch):
    def full(path, target, *, limits):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sandbox, "take", full)
    with pytest.raises(
        Refusal, match=r"the temporary folder .* cannot be used \(No space left on device\); free some room"
    ):
        ingest.inspect(write(tmp_path / "a.csv", TABLE))


def test_a_reading_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(sandbox, "_servers", {})
    pipe = subprocess.PIPE
    server = subprocess.Popen(["sleep", "60"], stdin=pipe, stdout=pipe, start_new_session=True)
    sandbox._stop(server)
    assert server.returncode == -9 and server.stdin.closed and server.stdout.closed


class Reader:
    """Stands for the reading process: says what it is told to, or ends."""

    def __init__(self, answer):
        (ours, self.stdin_end), (self.stdout_end, theirs) = os.pipe(), os.pipe()
        self.asked, self.answers = os.fdopen(ours, "rb"), os.fdopen(theirs, "wb")
        self.stdin, self.stdout = os.fdopen(self.stdin_end, "wb"), os.fdopen(self.stdout_end, "rb")
        self.answers.write(answer)
        self.answers.close()


@pytest.mark.parametrize(
    ("answers", "asked"),
    [([b"", b'{"exit": 0}\n'], 2), ([b'{"exit": 0}\n'], 1), ([b"", b"", b'{"exit": 0}\n'], 2)],
)
def test_a_reading_process_that_ends_is_asked_again_once(monkeypatch, answers, asked):
    readers, stopped = [Reader(answer) for answer in answers], []
    waiting = iter(readers)
    monkeypatch.setattr(sandbox, "_server", lambda: next(waiting))
    monkeypatch.setattr(sandbox, "_stop", stopped.append)
    if len(answers) > 2:
        with pytest.raises(Refusal, match="f: the reading process ended without an answer; try again"):
            sandbox._ask({"task": "x"}, LIMITS, "f")
    else:
        assert sandbox._ask({"task": "x"}, LIMITS, "f") == {"exit": 0}
    assert stopped == [reader for reader, answer in zip(readers, answers, strict=True) if not answer]
    for number, reader in enumerate(readers):
        reader.stdin.close()
        assert (reader.asked.readline() == b'{"task": "x"}\n') == (number < asked)
        reader.stdout.close()
        reader.asked.close()

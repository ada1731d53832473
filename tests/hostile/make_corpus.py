"""Writes the corpus of hostile and broken files: `python tests/hostile/make_corpus.py FOLDER`.

Every entry is (name, bytes, what a right refusal says). An empty pattern: the file may be read, but only as what it is.
"""

# ruff: noqa: E501 - the XML of a workbook stands in one line each
from __future__ import annotations

import io
import os
import random
import struct
import sys
import zipfile
from pathlib import Path

SERIES = "time_s,current_mA,voltage_V\n" + "".join(
    f"{60 * k},{-1 if k < 60 else 1},{2 - 0.01 * abs(60 - abs(60 - k)):.4f}\n" for k in range(120)
)
TABLE = "cycle,discharge_capacity_mAh\n1,6.28\n2,6.10\n3,6.00\n"

CONTENT = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
RELS = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>'
BOOK = '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Trials" sheetId="1" r:id="rId1"/></sheets></workbook>'
BOOK_RELS = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
SHEET = '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'


def text_cell(address: str, text: str) -> str:
    return f'<c r="{address}" t="inlineStr"><is><t>{text}</t></is></c>'


def workbook(
    rows: str, *, extra: dict[str, bytes] | None = None, book: str = BOOK, raw_sheet: bytes | None = None
) -> bytes:
    """A workbook written by hand, so that it can hold what no library would write."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("[Content_Types].xml", CONTENT)
        container.writestr("_rels/.rels", RELS)
        container.writestr("xl/workbook.xml", book)
        container.writestr("xl/_rels/workbook.xml.rels", BOOK_RELS)
        container.writestr("xl/worksheets/sheet1.xml", raw_sheet if raw_sheet is not None else SHEET % rows)
        for name, content in (extra or {}).items():
            container.writestr(name, content)
    return out.getvalue()


def capacity_rows(*cells: str) -> str:
    header = f'<row r="1">{text_cell("A1", "cycle")}{text_cell("B1", "discharge_capacity_mAh")}</row>'
    return header + "".join(cells)


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in members.items():
            container.writestr(name, content)
    return out.getvalue()


def encrypted_flag(raw: bytes) -> bytes:
    """Set the encryption bit of every member."""
    raw = bytearray(raw)
    position = 0
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = 0
        while (position := raw.find(signature, position)) >= 0:
            raw[position + offset] |= 1
            position += 4
    return bytes(raw)


def corpus() -> list[tuple[str, bytes, str]]:
    """Return every file: name, content, pattern of a right sentence."""
    rng = random.Random(7)
    row2 = '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>6.28</v></c></row>'
    good = workbook(capacity_rows(row2))
    million = capacity_rows(
        *(f'<row r="{k}"><c r="A{k}"><v>{k}</v></c><c r="B{k}"><v>1</v></c></row>' for k in range(2, 700_000))
    )
    entries: list[tuple[str, bytes, str]] = [
        # nothing, or not data
        ("empty.csv", b"", "empty"),
        ("newline.csv", b"\n", "no text|no row"),
        ("spaces.csv", b"   \n  \n", "no text|no row"),
        ("one_byte.nda", b"N", "no row"),
        ("random.bin", rng.randbytes(5000), "no text|zero byte"),
        ("random_ascii.csv", bytes(rng.choices(range(32, 127), k=5000)), "no row|fields"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + rng.randbytes(500), "picture"),
        ("paper.pdf", b"%PDF-1.7\n" + rng.randbytes(500), "PDF"),
        ("data.h5", b"\x89HDF\r\n\x1a\n" + bytes(500), "HDF5"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "password-protected Office"),
        ("program.csv", b"\x7fELF" + bytes(200), "program"),
        ("packed.csv.gz", b"\x1f\x8b\x08" + rng.randbytes(200), "gzip"),
        ("database.res", b"SQLite format 3\0" + bytes(2000), "SQLite"),
        ("page.csv", b"<!DOCTYPE html><html><body>login</body></html>\n" * 20, "no row"),
        (
            "pickle.csv",
            b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
            "no text|zero byte",
        ),
        ("yaml_bomb.csv", b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n" * 9, "no row|fields"),
        # text that is not what it seems
        ("zero_bytes.csv", TABLE.replace("6.10", "6.1\0").encode(), "zero byte"),
        ("utf16_no_mark.csv", TABLE.encode("utf-16-le"), "zero byte"),
        ("utf16_cut.csv", TABLE.encode("utf-16")[:-1], "UTF-16|no row|breaks"),
        ("utf7.csv", TABLE.encode("utf-7").replace(b"cycle", b"+AGMAeQBjAGwAZQ-"), "no row"),
        ("utf8_broken.csv", TABLE.encode() + b"4,\xff\xfe\x81\n", "no text"),
        ("arabic_digits.csv", TABLE.replace("6.28", "٦٫٢٨").encode(), "digits other than"),
        ("full_width.csv", TABLE.replace("6.28", "６.２８").encode(), "digits other than"),
        ("underscores.csv", TABLE.replace("6.28", "1_000").encode(), "underscore"),
        ("infinite.csv", TABLE.replace("6.28", "inf").encode(), "finite"),
        ("nan.csv", TABLE.replace("6.28", "nan").encode(), "needed"),
        ("too_large.csv", TABLE.replace("6.28", "1e999").encode(), "too large"),
        ("hexadecimal.csv", TABLE.replace("6.28", "0x10").encode(), "number|unit"),
        ("true.csv", TABLE.replace("6.28", "True").encode(), "not a number"),
        ("unit_in_cell.csv", TABLE.replace("6.28", "6.28 mAh").encode(), "carries a unit"),
        ("date_in_cell.csv", TABLE.replace("6.28", "04/03/2026").encode(), "not a number|unit"),
        ("formula.csv", TABLE.replace("6.28", "=1+1").encode(), "not a number"),
        ("dde.csv", TABLE.replace("6.28", "=cmd|' /C calc'!A0").encode(), "not a number"),
        ("short_row.csv", TABLE.replace("2,6.10", "2").encode(), "fields"),
        ("long_row.csv", TABLE.replace("2,6.10", "2,6.10,7").encode(), "fields"),
        ("cut_in_a_row.csv", (TABLE + "4").encode(), "fields"),
        ("blank_row.csv", TABLE.replace("2,6.10", "").encode(), "fields"),
        (
            "twice_a_column.csv",
            TABLE.replace("discharge_capacity_mAh", "discharge_capacity_mAh,discharge_capacity_mAh").encode(),
            "twice|fields",
        ),
        ("no_name.csv", b"cycle,,discharge_capacity_mAh\n1,2,3\n", "no name"),
        ("other_delimiter.csv", TABLE.replace("2,6.10", "2;6,10").encode(), "number|fields"),
        ("quote_open.csv", TABLE.replace("6.10", '"6.10').encode(), "quotation|fields|EOF"),
        ("quote_inside.csv", TABLE.replace("6.10", '6"10').encode(), "number|quotation"),
        (
            "wide.csv",
            (
                ",".join(f"c{k}" for k in range(3000))
                + ",cycle,discharge_capacity_mAh\n"
                + ",".join(["1"] * 3002)
                + "\n"
            ).encode(),
            "columns",
        ),
        ("long_line.csv", b"cycle,discharge_capacity_mAh\n1," + b"9" * 3_000_000 + b"\n", "large|number"),
        ("long_header.csv", b"x" * 1_000_000 + b",cycle,discharge_capacity_mAh\n1,1,1\n", ""),
        ("many_lines_no_columns.csv", b"1\n" * 1_000_000, "no row"),
        ("bidi_header.csv", TABLE.replace("cycle", "cyc\u202ele").encode(), ""),
        ("time_falls.csv", (SERIES + SERIES.split("\n", 1)[1]).encode(), "falls"),
        ("header_only.csv", b"time_s,current_mA,voltage_V\n", "no data row"),
        ("huge_numbers.csv", SERIES.replace(",1,", ",1e300,").encode(), ""),
        ("negative_time.csv", SERIES.replace("\n60,", "\n-60,").encode(), "falls"),
        # workbooks
        ("cut.xlsx", good[:-200], "damaged or cut"),
        ("cut_half.xlsx", good[: len(good) // 2], "damaged or cut"),
        (
            "far_cell.xlsx",
            workbook(capacity_rows(row2, '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')),
            "reaches to row 1048576",
        ),
        (
            "far_column.xlsx",
            workbook(capacity_rows('<row r="2"><c r="A2"><v>1</v></c><c r="XFD2"><v>1</v></c></row>')),
            "",
        ),
        (
            "beyond_excel.xlsx",
            workbook(capacity_rows('<row r="999999999"><c r="ZZZ999999999"><v>1</v></c></row>')),
            "reaches|damaged|gave up",
        ),
        ("million_rows.xlsx", workbook(million), "export so long a record as CSV"),
        ("sheet_bomb.xlsx", workbook("", raw_sheet=(SHEET % ("<row r='1'/>" * 20_000_000)).encode()), "bomb"),
        (
            "strings_bomb.xlsx",
            workbook(
                capacity_rows(row2),
                extra={"xl/sharedStrings.xml": b"<sst>" + b"<si><t>A</t></si>" * 3_000_000 + b"</sst>"},
            ),
            "bomb",
        ),
        ("zeros.xlsx", workbook(capacity_rows(row2), extra={"xl/media/a.bin": bytes(300_000_000)}), "bomb"),
        ("unpacks_large.ndax", archive({"data.ndc": bytes(600_000_000), "VersionInfo.xml": b"<a/>"}), "unpacks to"),
        (
            "entities.xlsx",
            workbook(
                "",
                raw_sheet=b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
                + (SHEET % "&b;").split("?>", 1)[1].encode(),
            ),
            "entities",
        ),
        (
            "external_entity.xlsx",
            workbook(
                "",
                raw_sheet=b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
                + (SHEET % "&a;").split("?>", 1)[1].encode(),
            ),
            "entities",
        ),
        (
            "entities_in_book.xlsx",
            workbook(
                capacity_rows(row2), book='<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "b">]>' + BOOK.split("?>", 1)[1]
            ),
            "entities",
        ),
        (
            "formula.xlsx",
            workbook(capacity_rows('<row r="2"><c r="A2"><v>1</v></c><c r="B2"><f>1+1</f></c></row>')),
            "formula",
        ),
        (
            "formula_stored.xlsx",
            workbook(
                capacity_rows(
                    '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><f>WEBSERVICE("http://x")</f><v>2</v></c></row>'
                )
            ),
            "formula",
        ),
        ("macros.xlsm", workbook(capacity_rows(row2), extra={"xl/vbaProject.bin": rng.randbytes(1000)}), "macros"),
        (
            "external_link.xlsx",
            workbook(capacity_rows(row2), extra={"xl/externalLinks/externalLink1.xml": b"<externalLink/>"}),
            "",
        ),
        (
            "nested.xlsx",
            workbook(capacity_rows(row2), extra={"xl/embeddings/a.zip": archive({"b": b"c"})}),
            "another archive",
        ),
        ("path_member.xlsx", workbook(capacity_rows(row2), extra={"../../etc/cron.d/x": b"x"}), "path for a name"),
        ("absolute_member.xlsx", workbook(capacity_rows(row2), extra={"/etc/x": b"x"}), "path for a name"),
        ("encrypted.xlsx", encrypted_flag(good), "password"),
        ("no_sheet.xlsx", archive({"xl/workbook.xml": BOOK.encode()}), "without a worksheet"),
        ("broken_xml.xlsx", workbook("", raw_sheet=b"<worksheet><sheetData><row"), "damaged|gave up|no sheet|no row"),
        ("book_of_nothing.xlsx", workbook(capacity_rows(row2), book="<workbook/>"), "damaged|no sheet|gave up"),
        (
            "true_cell.xlsx",
            workbook(capacity_rows('<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="b"><v>1</v></c></row>')),
            "not a number",
        ),
        (
            "error_cell.xlsx",
            workbook(capacity_rows('<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="e"><v>#REF!</v></c></row>')),
            "holds an error",
        ),
        (
            "shared_index.xlsx",
            workbook(capacity_rows('<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="s"><v>99999999</v></c></row>')),
            "damaged|gave up|needed|not a number",
        ),
        ("zip_of_text.zip", archive({"a.txt": b"hello"}), "neither a workbook"),
        ("two_of_one_name.xlsx", good, ""),
        # binary cycler files
        ("cut.nda", b"NEWARE" + rng.randbytes(3000), "gave up|damaged"),
        ("zeros.nda", b"NEWARE" + bytes(100_000), "gave up|damaged|no current"),
        ("empty.ndax", archive({"VersionInfo.xml": b"<a/>", "data.ndc": b""}), "gave up|damaged"),
        ("noise.ndax", archive({"VersionInfo.xml": b"<a/>", "data.ndc": rng.randbytes(50_000)}), "gave up|damaged"),
        ("noise.mpr", b"BIO-LOGIC MODULAR FILE\x1a" + rng.randbytes(5000), "gave up|galvani"),
        ("cut.res", b"\x00\x01\x00\x00Standard Jet DB\x00" + rng.randbytes(4000), "cut off|mdbtools"),
        (
            "noise.res",
            b"\x00\x01\x00\x00Standard Jet DB\x00" + rng.randbytes(8192 - 20),
            "gave up|mdbtools|damaged or cut off",
        ),
        ("noise.parquet", b"PAR1" + rng.randbytes(3000) + b"PAR1", "damaged|gave up"),
        ("cut.parquet", b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1", "damaged|gave up"),
        ("mpt_no_table.mpt", b"EC-Lab ASCII FILE\r\nNb header lines : 999999999\r\n\r\n", "no row"),
        (
            "maccor_words.txt",
            b"Rec#\tCyc#\tStep\tTest (Min)\tAmps\tVolts\tState\n1\t0\t1\tx\ty\tz\tR\n",
            "not a number",
        ),
    ]
    return entries


def odd_names(folder: Path) -> list[Path]:
    """Write good files whose names are tricks, as far as this file system takes them."""
    names = [
        "..%2f..%2fetc.csv",
        "a\u202egpj.csv",
        "-rf.csv",
        "a;b|c.csv",
        "con.csv",
        " .csv",
        "x" * 240 + ".csv",
        "new\nline.csv",
        "=cmd.csv",
        "ünï–code.csv",
    ]
    written = []
    for name in names:
        path = folder / name
        path.write_text(TABLE)
        written.append(path)
    return written


def special(folder: Path) -> list[tuple[Path, str]]:
    """Make what is no file: a pipe, a link, a folder, a device, a socket's path."""
    pipe = folder / "pipe.csv"
    os.mkfifo(pipe)
    link = folder / "link.csv"
    link.symlink_to("/etc/passwd")
    loop = folder / "loop.csv"
    loop.symlink_to(loop)
    (folder / "folder.csv").mkdir()
    return [
        (pipe, "pipe"),
        (link, "symbolic link"),
        (loop, "symbolic link"),
        (folder / "folder.csv", "folder"),
        (Path("/dev/zero"), "device"),
        (Path("/dev/stdin"), "link|device|pipe"),
        (folder / "absent.csv", "cannot be opened"),
        (folder / ("n" * 300), "cannot be opened"),
    ]


def main() -> None:
    """Write the corpus into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    entries = corpus()
    for name, content, _ in entries:
        (folder / name).write_bytes(content)
    odd_names(folder)
    special(folder)
    print(f"{len(entries)} files, and odd names and special files, written to {folder}")


if __name__ == "__main__":
    main()

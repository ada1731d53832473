"""Thousands of mutated files: each is refused with one sentence or read whole; never a traceback, never a part of it.

CI reads 2,000 text files and 600 workbooks; `make soak` reads 12,000. The seed of a file stands in its name.
"""

import io
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import xlsxwriter

import ingest
from campaign.errors import Refusal

sys.path.insert(0, str(Path(__file__).parent.parent / "ingest"))
from lab_files import record, series_csv, table
from test_vendor_files import ARBIN, TWO_CYCLES, arbin_rows, landt, maccor, mpt

ROWS = record(TWO_CYCLES, dt_s=360, logged="both")
TEXTS = {
    "series": series_csv(ROWS).encode(),
    "semicolon": series_csv(ROWS).replace(",", ";").replace(".", ",").encode(),
    "arbin": table(ARBIN, arbin_rows(ROWS)).encode(),
    "maccor": maccor(ROWS, signed=False).encode(),
    "landt": landt(ROWS).encode(),
    "mpt": mpt(ROWS),
    "capacities": table(
        "cycle,discharge_capacity_mAh,charge_capacity_mAh", [[n, 6.28 - 0.01 * n, 6.2 - 0.01 * n] for n in range(1, 40)]
    ).encode(),
}
SPICE = [
    b"\0",
    b"\xff",
    b'"',
    b"\r",
    b"\n",
    b"\t",
    b",",
    b";",
    b"=",
    b"-",
    b"1e999",
    b"nan",
    b"inf",
    "٣".encode(),
    b"\xef\xbb\xbf",
    b"\x1a",
    b"1_0",
    b"0x1",
    b"NA",
    b"True",
]


def workbook() -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    page = book.add_worksheet("Channel_1")
    page.write_row(0, 0, ARBIN.split(","))
    for number, row in enumerate(arbin_rows(ROWS[:60]), start=1):
        page.write_row(number, 0, [float(cell) for cell in row])
    book.close()
    return out.getvalue()


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Damage a file in one to four places, in the ways in which files are damaged."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(9)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + rng.randint(1, 40)] = b""
        elif kind == 2:
            data[at:at] = rng.choice(SPICE)
        elif kind == 3:
            data = data[: max(at, 1)]
        elif kind == 4:
            lines = bytes(data).split(b"\n")
            a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
            data = bytearray(b"\n".join(lines))
        elif kind == 5:
            lines = bytes(data).split(b"\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            data = bytearray(b"\n".join(lines))
        elif kind == 6:
            old, new = rng.choice(
                [(b",", b";"), (b".", b","), (b"-", b""), (b"\n", b"\r\n"), (b"m", b""), (b"0", b"O")]
            )
            data = bytearray(bytes(data).replace(old, new, rng.randint(1, 3)))
        elif kind == 7:
            data[at : at + 4] = rng.randbytes(4)
        else:
            data[at:at] = bytes(data[at : at + rng.randint(1, 200)])
        if not data:
            return b"x"
    return bytes(data)


def read_whole_or_refused(path: Path, rows_in_file: int | None) -> bool:
    """Return True where the file was read; fail where it was read in part or a sentence is no sentence."""
    try:
        found = ingest.inspect(path)
    except Refusal as refusal:
        assert "\n" not in str(refusal) and 20 < len(str(refusal)) < 900 and path.name in str(refusal)
        return False
    numbers = found.cycles[["discharge_capacity_mAh", "charge_capacity_mAh"]].to_numpy()
    assert not np.isinf(numbers).any() and not (numbers < 0).any()
    if rows_in_file is not None:
        left_out = any("left out" in finding.sentence for finding in found.findings if finding.check == "file")
        assert found.rows == rows_in_file - left_out
    return True


def data_rows(raw: bytes) -> int:
    """Count the data rows of a text file independently: lines below the line that names the columns."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    while lines and not lines[-1].strip(b" \r\n"):
        lines.pop()
    header = next(
        k
        for k, line in enumerate(lines)
        if sum(word in line.lower() for word in (b"volt", b"ewe", b"capacity", b"amps", b"current", b"cycle")) >= 2
    )
    return len(lines) - header - 1


def run_texts(folder: Path, seeds: range) -> int:
    read = 0
    for seed in seeds:
        rng = random.Random(seed)
        name = rng.choice(sorted(TEXTS))
        raw = mutated(TEXTS[name], rng)
        path = folder / f"{name}-{seed}.csv"
        path.write_bytes(raw)
        countable = (
            b'"' not in raw
            and b"\r" not in raw.replace(b"\r\n", b"")
            and not raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        )
        read += read_whole_or_refused(path, data_rows(raw) if countable and b"\n" in raw and _has_header(raw) else None)
        path.unlink()
    return read


def _has_header(raw: bytes) -> bool:
    try:
        data_rows(raw)
    except StopIteration:
        return False
    return True


def run_workbooks(folder: Path, seeds: range) -> int:
    good, read = workbook(), 0
    for seed in seeds:
        rng = random.Random(seed)
        path = folder / f"book-{seed}.xlsx"
        path.write_bytes(mutated(good, rng))
        read += read_whole_or_refused(path, None)
        path.unlink()
    return read


@pytest.mark.parametrize("part", range(4))
def test_mutated_text_files(tmp_path, part):
    read = run_texts(tmp_path, range(part * 500, part * 500 + 500))
    assert 0 < read < 450


@pytest.mark.parametrize("part", range(2))
def test_mutated_workbooks(tmp_path, part):
    assert run_workbooks(tmp_path, range(part * 300, part * 300 + 300)) < 250


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_text_files(tmp_path):
    assert run_texts(tmp_path, range(10_000, 20_000)) > 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_thousand_mutated_workbooks(tmp_path):
    run_workbooks(tmp_path, range(10_000, 12_000))


def test_the_row_count_catches_a_reader_that_drops_rows(tmp_path):
    """Positive control: were a row dropped silently, the count above would see it."""
    raw = TEXTS["series"]
    path = tmp_path / "series.csv"
    path.write_bytes(raw)
    with pytest.raises(AssertionError):
        read_whole_or_refused(path, data_rows(raw) + 1)

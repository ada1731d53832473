"""Promise 20: export, backup and restore lose nothing and notice every changed bit; promise 13: exports attack no spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import random
import shutil
import sqlite3
import threading
from pathlib import Path

import pandas as pd
import pytest
from ledger_kit import WHO, designs, rows, scalar, small_campaign, told_campaign

from campaign.errors import Refusal
from store import Ledger, import_export, restore

FORMATS = ("csv", "json", "parquet")
NOT_EXPORTED = ("lease", "outbox")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return told_campaign(tmp_path_factory.mktemp("told"))


def path_of(ledger: Ledger) -> Path:
    assert ledger.path is not None
    return ledger.path


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_makes_the_same_ledger_again(told: Ledger, tmp_path: Path, format: str) -> None:
    counts = told.export(tmp_path / "out", format=format)
    assert import_export(tmp_path / "out", tmp_path / "new.db") == counts
    assert counts["trial"] == 4 and counts["cycling"] == 4
    again = Ledger.open(tmp_path / "new.db")
    again.verify()
    assert rows(tmp_path / "new.db", without=NOT_EXPORTED) == rows(path_of(told), without=NOT_EXPORTED)
    again.record(results=scalar("T3"), key="goes on", **WHO)
    assert set(again.pending_projection("c")["trial"]) == {"", "T0001", "T0002", "T0003", "T0004"}


@pytest.mark.parametrize("format", FORMATS)
def test_the_views_of_an_export_are_what_the_doors_show(told: Ledger, tmp_path: Path, format: str) -> None:
    told.export(tmp_path / "out", format=format)
    file = tmp_path / "out" / "views" / f"cycling.{format}"
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": lambda path: pd.read_json(path, lines=True)}[format]
    view, door = read(file), told.cycling()
    assert view["discharge_areal_capacity_mAh_cm2"].tolist() == door["discharge_areal_capacity_mAh_cm2"].tolist()
    assert list(view.columns) == list(door.columns)


def test_awkward_text_and_numbers_survive_every_format(tmp_path: Path) -> None:
    ledger = small_campaign(tmp_path)
    awkward = [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "'",
        "''",
        "",
        "ä\u202e\U0001f600",
        'a"b,c;d',
        "1",
        "null",
    ]
    for number, text in enumerate(awkward):
        why = f" {text}" if not text.strip() else text
        ledger.record(
            results=scalar("T1", -1.5e-300, note=text, unit=text, observable=why), key=f"{text}|{number}", **WHO
        )
    ledger.record(
        results=pd.concat([scalar("T1", value) for value in (0.1 + 0.2, -0.0, 9.87654321e11, 5e-324, 3.0)]),
        key="n",
        **WHO,
    )
    for format in FORMATS:
        ledger.export(tmp_path / format, format=format)
        import_export(tmp_path / format, tmp_path / f"{format}.db")
        assert rows(tmp_path / f"{format}.db", without=NOT_EXPORTED) == rows(path_of(ledger), without=NOT_EXPORTED)


def test_no_cell_of_a_csv_is_a_formula_and_negative_numbers_stay_numbers(told: Ledger, tmp_path: Path) -> None:
    told.export(tmp_path / "out")
    seen = negative = 0
    for file in (tmp_path / "out").rglob("*.csv"):
        with file.open(newline="") as handle:
            for row in csv.reader(handle):
                for cell in row:
                    seen += cell.startswith("'")
                    if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
                        negative += 1
                        float(cell)
    assert seen >= 5 and negative >= 1


def test_raw_files_go_along_and_a_changed_one_is_refused(told: Ledger, tmp_path: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"cycler")
    digest = hashlib.sha256(b"cycler").hexdigest()
    told.export(tmp_path / "out", files={digest: raw})
    assert (tmp_path / "out" / "files" / digest).read_bytes() == b"cycler"
    raw.write_bytes(b"other")
    with pytest.raises(Refusal, match="is not the file that was taken in"):
        told.export(tmp_path / "out 2", files={digest: raw})
    with pytest.raises(Refusal, match="cannot be written"):
        told.export(tmp_path / "out 3", files={digest: tmp_path / "missing"})
    assert {path.name for path in tmp_path.iterdir()} == {"raw.bin", "out"}, "nothing half-written stays"


def test_one_flipped_bit_anywhere_in_an_export_is_found(told: Ledger, tmp_path: Path) -> None:
    told.export(tmp_path / "out", format="json")
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.stat().st_size)
    chance = random.Random(5)
    for _ in range(100):
        file = chance.choice(files)
        content = file.read_bytes()
        at, bit = chance.randrange(len(content)), 1 << chance.randrange(8)
        file.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        with pytest.raises(Refusal, match="missing, changed or added"):
            import_export(tmp_path / "out", tmp_path / "new.db")
        file.write_bytes(content)
        assert not (tmp_path / "new.db").exists()
    import_export(tmp_path / "out", tmp_path / "new.db")


def test_a_missing_or_added_file_of_an_export_is_named(told: Ledger, tmp_path: Path) -> None:
    told.export(tmp_path / "out")
    (tmp_path / "out" / "tables" / "extra.csv").write_text("x")
    with pytest.raises(Refusal, match=r"tables/extra\.csv is missing, changed or added"):
        import_export(tmp_path / "out", tmp_path / "new.db")
    (tmp_path / "out" / "tables" / "extra.csv").unlink()
    (tmp_path / "out" / "tables" / "trial.csv").unlink()
    with pytest.raises(Refusal, match=r"tables/trial\.csv is missing"):
        import_export(tmp_path / "out", tmp_path / "new.db")
    with pytest.raises(Refusal, match="is no export of Mixwright"):
        import_export(tmp_path, tmp_path / "new.db")


def test_nothing_that_exists_is_overwritten(told: Ledger, tmp_path: Path) -> None:
    told.export(tmp_path / "out")
    told.backup(tmp_path / "copy.db")
    (tmp_path / "there").write_text("mine")
    for act, words in (
        (lambda: told.export(tmp_path / "there"), "exists already"),
        (lambda: told.backup(tmp_path / "there"), "exists already"),
        (lambda: restore(tmp_path / "copy.db", tmp_path / "there"), "a ledger stands there"),
        (lambda: import_export(tmp_path / "out", tmp_path / "there"), "a ledger stands there"),
        (lambda: told.export(tmp_path / "new", format="xls"), "no format of an export"),
        (lambda: told.backup(tmp_path / "no folder" / "x.db"), "no folder"),
        (lambda: told.export(tmp_path / "there" / "x"), "cannot be written"),
        (lambda: import_export(tmp_path / "out", tmp_path / "no folder" / "x.db"), "cannot be made"),
    ):
        with pytest.raises(Refusal, match=words):
            act()
    assert (tmp_path / "there").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "copy.db", "copy.db.sha256", "there"}


def test_a_backup_is_the_ledger_and_restores_it(told: Ledger, tmp_path: Path) -> None:
    digest = told.backup(tmp_path / "copy.db")
    assert hashlib.sha256((tmp_path / "copy.db").read_bytes()).hexdigest() == digest
    assert (tmp_path / "copy.db.sha256").read_text() == f"{digest}  copy.db\n"
    restore(tmp_path / "copy.db", tmp_path / "again.db")
    assert rows(tmp_path / "again.db") == rows(path_of(told))
    Ledger.open(tmp_path / "again.db").verify()


def test_one_flipped_bit_anywhere_in_a_backup_is_found(told: Ledger, tmp_path: Path) -> None:
    told.backup(tmp_path / "copy.db")
    chance = random.Random(6)
    for number in range(100):
        file = tmp_path / ("copy.db.sha256" if number % 10 == 0 else "copy.db")
        content = bytearray(file.read_bytes())
        at, bit = chance.randrange(len(content)), 1 << chance.randrange(8)
        content[at] ^= bit
        file.write_bytes(content)
        with pytest.raises(Refusal, match="was changed or damaged"):
            restore(tmp_path / "copy.db", tmp_path / "again.db")
        content[at] ^= bit
        file.write_bytes(content)
    restore(tmp_path / "copy.db", tmp_path / "again.db")
    (tmp_path / "copy.db.sha256").unlink()
    with pytest.raises(Refusal, match="a backup is two files"):
        restore(tmp_path / "copy.db", tmp_path / "third.db")


def test_a_backup_taken_while_others_write_is_one_moment(tmp_path: Path) -> None:
    ledger = small_campaign(tmp_path)
    stop = threading.Event()

    def work() -> None:
        other, number = Ledger.open(path_of(ledger)), 0
        while not stop.is_set():
            other.add_trials("c", designs(1), evaluator="earlier", key=f"k{number}", **WHO)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(15):
            ledger.backup(tmp_path / f"{number}.db")
            Ledger.open(tmp_path / f"{number}.db").verify()
    finally:
        stop.set()
        thread.join()
    sizes = [len(Ledger.open(tmp_path / f"{number}.db").trials("c")) for number in range(15)]
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE trial SET state = 'completed' WHERE id = 'T0003'", "trial T0003 is not what its history says"),
        ("UPDATE cell SET active_mass_mg = 1.0", "cell T0001-M1-C1 is not what its history says"),
        ("DELETE FROM change WHERE subject = 'T0001-M1-C1'", "cell T0001-M1-C1 is not what its history says"),
        ("UPDATE file SET subject = NULL", "file abab.* is not what its history says"),
        ("DELETE FROM file", "file abab.* has a history but no row"),
        ("UPDATE ledger SET seq = 99", "the counter says 99"),
        ("DELETE FROM event WHERE verb = 'amend'", "refers to nothing"),
    ],
)
def test_verify_notices_what_was_changed_behind_its_back(told: Ledger, tmp_path: Path, damage: str, words: str) -> None:
    path = tmp_path / "ledger.db"
    shutil.copyfile(path_of(told), path)
    database = sqlite3.connect(path)
    database.execute(damage)
    database.commit()
    database.close()
    with pytest.raises(Refusal, match=words):
        Ledger.open(path).verify()


@pytest.mark.parametrize(
    "forgery",
    [
        "INSERT INTO event SELECT 99, key, verb, content_sha256, answer, campaign, at, by, why FROM event WHERE seq = 2",
        "INSERT INTO result SELECT 99, seq, trial, subject, observable, unit, cycle, relation, value, rel_uncertainty, "
        "abs_uncertainty, provenance, file, note, supersedes, withdrawn FROM result WHERE supersedes IS NOT NULL",
        "INSERT INTO cycling SELECT * FROM cycling LIMIT 1",
        "INSERT INTO file SELECT * FROM file LIMIT 1",
        "INSERT INTO decision SELECT * FROM decision LIMIT 1",
        "UPDATE result SET relation = '~'",
        "UPDATE trial SET number = 1",
        "DELETE FROM trial WHERE id = 'T0001'",
        "DELETE FROM campaign_version",
        "UPDATE result SET trial = 'T9999'",
    ],
)
def test_the_database_itself_refuses_what_the_code_would_never_do(told: Ledger, tmp_path: Path, forgery: str) -> None:
    """The second line of defence: keys, amendments and references are unique and whole for any program."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(path_of(told), path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA foreign_keys=ON")
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(forgery)
    database.close()

"""Promise 15: a ledger of any earlier schema opens and loses nothing; a newer one is refused; no kill leaves half."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_kit import WHO, fast_folder, new_ledger, rows, scalar, told_campaign

from campaign.errors import Refusal
from store import Ledger, import_export, schema, upgrade
from store.connection import connect, sqlite_engine, transaction

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
"""From Python 3.12 on a fork beside the idle threads of numpy warns; these children touch neither numpy's threads nor a lock."""

FROZEN = Path(__file__).parent / "frozen"
EARLIER = sorted(file.stem for file in FROZEN.glob("*.sql"))


def thaw(revision: str, folder: Path) -> Path:
    path = folder / "ledger.db"
    database = sqlite3.connect(path)
    database.executescript((FROZEN / f"{revision}.sql").read_text())
    database.close()
    return path


def test_each_released_schema_has_a_frozen_ledger() -> None:
    assert upgrade.known_revisions()[-1] == schema.HEAD
    assert EARLIER == upgrade.known_revisions()[:-1]


def test_the_migrations_lead_to_the_schema_that_the_code_writes(tmp_path: Path) -> None:
    path = new_ledger(tmp_path).path
    assert path is not None
    with transaction(sqlite_engine(path), write=False) as connection:
        found = sa.MetaData()
        found.reflect(connection)
        dialect = connection.dialect
        made = {table.name: table for table in found.sorted_tables if table.name != "alembic_version"}
        assert set(made) == set(schema.metadata.tables)
        for name, table in schema.metadata.tables.items():
            columns = {c.name: (c.type.compile(dialect), c.nullable, c.primary_key) for c in table.columns}
            assert {c.name: (c.type.compile(dialect), c.nullable, c.primary_key) for c in made[name].columns} == columns
            assert {i.name for i in made[name].indexes} == {i.name for i in table.indexes}, name
            for kind in (sa.ForeignKeyConstraint, sa.UniqueConstraint, sa.CheckConstraint):
                counts = [len([c for c in t.constraints if isinstance(c, kind)]) for t in (made[name], table)]
                assert counts[0] >= counts[1], (name, kind)


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_ledger_opens_with_all_it_held(revision: str, tmp_path: Path) -> None:
    path = thaw(revision, tmp_path)
    old = rows(path, without=("alembic_version", "cycling"))
    ledger = Ledger.open(path)
    assert rows(path, without=("alembic_version", "cycling")) == old
    ledger.verify()
    now = told_campaign(new_folder := fast_folder())  # the same story, told to the present schema
    for door in ("trials", "mixes", "cells", "results", "cycling", "decisions", "files", "events"):
        then = getattr(ledger, door)("c")
        assert then.equals(getattr(now, door)("c")), door
    shutil.rmtree(new_folder)
    ledger.record(results=scalar("T3"), key="goes on", **WHO)


@pytest.mark.parametrize("revision", EARLIER)
def test_an_upgrade_makes_a_copy_first_and_never_overwrites_one(revision: str, tmp_path: Path) -> None:
    path = thaw(revision, tmp_path)
    (tmp_path / f"ledger.db.schema-{revision}.bak").write_text("an older copy")
    old = rows(path)
    Ledger.open(path)
    assert (tmp_path / f"ledger.db.schema-{revision}.bak").read_text() == "an older copy"
    assert rows(tmp_path / f"ledger.db.schema-{revision}.2.bak") == old
    Ledger.open(path)
    assert len(list(tmp_path.glob("*.bak"))) == 2, "the present schema needs no copy"


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_export_is_imported(revision: str, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    shutil.copytree(FROZEN / f"{revision}-export", tmp_path / "export", dirs_exist_ok=True)
    import_export(tmp_path / "export", tmp_path / "ledger.db")
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.verify()
    (thawed := tmp_path / "thawed").mkdir()
    other = Ledger.open(thaw(revision, thawed))
    assert other.path is not None and ledger.path is not None
    assert rows(ledger.path, without=("lease", "outbox")) == rows(other.path, without=("lease", "outbox"))


def test_a_newer_ledger_is_refused_and_untouched(tmp_path: Path) -> None:
    path = new_ledger(tmp_path).path
    assert path is not None
    database = sqlite3.connect(path)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    content = path.read_bytes()
    with pytest.raises(Refusal, match="its schema 9999 is newer than this version of Mixwright knows"):
        Ledger.open(path)
    assert path.read_bytes() == content
    assert list(tmp_path.glob("*.bak")) == []


class DiesAt:
    """A connection to a ledger whose process dies before its n-th statement that changes something."""

    def __init__(self, statement: int) -> None:
        self.left = statement

    def __call__(self, path: Path) -> sqlite3.Connection:
        database = connect(path)
        database.set_trace_callback(self.saw)
        return database

    def saw(self, statement: str) -> None:
        if not statement.startswith(("SELECT", "PRAGMA", "--")):
            self.left -= 1
            if self.left == 0:
                os._exit(9)


def dies(act: Any) -> bool:
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("revision", EARLIER)
def test_a_kill_at_every_statement_of_an_upgrade_leaves_the_old_or_the_new(revision: str, tmp_path: Path) -> None:
    whole = thaw(revision, tmp_path)
    before = rows(whole)
    Ledger.open(whole)
    after = rows(whole)
    points = 0
    for statement in range(1, 1000):
        (folder := tmp_path / f"kill {statement}").mkdir()
        path = thaw(revision, folder)
        died = dies(lambda path=path, statement=statement: Ledger.open(path, connect=DiesAt(statement)))
        assert rows(path) in (before, after)
        Ledger.open(path).verify()
        assert rows(path) == after
        if not died:
            break
        points += 1
    assert points >= 5


def test_a_kill_at_every_statement_of_the_making_leaves_none_or_all(tmp_path: Path) -> None:
    points = 0
    for statement in range(1, 1000):
        path = tmp_path / f"{statement}.db"
        died = dies(lambda path=path, statement=statement: Ledger.open(path, create=True, connect=DiesAt(statement)))
        if path.exists():  # what stands at the place is whole
            Ledger.open(path).verify()
        else:
            assert died
        Ledger.open(path, create=True).verify()
        if not died:
            break
        points += 1
    assert points >= 20


@pytest.mark.parametrize("revision", [None, *EARLIER])
def test_8_processes_that_open_at_once_make_or_upgrade_it_once(revision: str | None, tmp_path: Path) -> None:
    path = thaw(revision, tmp_path) if revision else tmp_path / "ledger.db"
    gate_in, gate_out = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os.close(gate_out)
            os.read(gate_in, 1)
            Ledger.open(path, create=True).verify()
            os._exit(0)
        children.append(child)
    os.close(gate_in)
    os.close(gate_out)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    Ledger.open(path).verify()
    assert len(list(tmp_path.glob("*.bak"))) == (1 if revision else 0)
    assert {file.name for file in tmp_path.iterdir() if file.suffix not in (".bak", ".db-journal")} == {"ledger.db"}

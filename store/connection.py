"""Opening the database so that a commit that returned is on the disk.

SQLite runs with journal_mode=TRUNCATE and synchronous=EXTRA: of the modes tried under simulated power cuts, the ones that
lost nothing in either model of the disk (the default DELETE + FULL loses acknowledged rows, WAL + NORMAL too; see
docs/reliability.md). Every write begins with BEGIN IMMEDIATE, so that two writers queue (30 s) where they would otherwise
deadlock half-way. Connections are not pooled: a ledger that was moved, replaced or deleted is noticed by the next
statement, and nothing crosses a fork.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from campaign.errors import Refusal

BUSY_TIMEOUT_S = 30.0
NETWORK_FILE_SYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "davfs", "drvfs",
    "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.davfs2", "fuse.glusterfs", "fuse.ceph",
)  # fmt: skip
"""Their locks are not dependable, and two writers that both believe to hold the lock destroy a SQLite file."""

Connect = Callable[[Path], Any]


class Unavailable(Refusal):
    """The database could not do it now (locked, disk full, read-only, damaged); what was acknowledged is untouched."""


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing ledger file; never creates one."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def sqlite_engine(path: Path, connect: Connect = connect) -> sa.Engine:
    """Engine on a SQLite file. `connect` is a door for tests that put a failing disk underneath."""
    engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool)

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=EXTRA")
            cursor.execute("PRAGMA foreign_keys=ON")
            mode = cursor.execute("PRAGMA journal_mode=TRUNCATE").fetchone()[0]
            cursor.close()
            if mode != "truncate":
                raise Unavailable(
                    f"{path}: the database runs in journal mode {mode}; Mixwright needs TRUNCATE and could not set it"
                )
        except (sqlite3.Error, Unavailable):
            connection.close()  # the pool does not know it yet
            raise

    return engine


@contextmanager
def transaction(engine: sa.Engine, *, write: bool) -> Iterator[sa.Connection]:
    """One transaction: committed when the block ends, rolled back when it raises; a read sees one moment throughout.

    Raises:
        Unavailable: with a sentence for whatever the database says.
    """
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
            elif not write:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
            connection.commit()
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise Unavailable(sentence(error, engine)) from error


def sentence(error: Exception, engine: sa.Engine) -> str:
    """What a database error means and what to do about it."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    text = str(cause)
    hints = {
        "locked": f"another program has held it for {BUSY_TIMEOUT_S:g} s; close that program, then repeat the command",
        "disk is full": "the disk (or quota) is full; free some space, then repeat the command",
        "readonly": "the file or its folder is read-only; give the user who runs Mixwright the right to write both",
        "unable to open": "it is missing or may not be opened; check its path, or restore a backup with `mixwright restore`",
        "not a database": "it is no ledger, or its beginning is destroyed; restore a backup with `mixwright restore`",
        "malformed": "the file is damaged; keep it aside and restore a backup with `mixwright restore`",
        "no such table": "it is a database, but no ledger; check its path, or restore a backup with `mixwright restore`",
        "I/O error": "the disk refused to read or write; check it, then repeat the command",
    }
    hint = next(
        (advice for clue, advice in hints.items() if clue.lower() in text.lower()),
        "repeat the command; what was done already is not done twice",
    )
    return f"{where(engine)}: {text}: {hint}"


def where(engine: sa.Engine) -> str:
    """The place of the ledger, for sentences."""
    return str(engine.get_execution_options().get("place", engine.url.render_as_string(hide_password=True)))


def sync_folder(folder: Path) -> None:
    """Make a new or renamed name in a folder survive a power cut."""
    if os.name == "nt":  # Windows has no handle on a folder to sync; NTFS journals names
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_system_of(path: Path, mounts: str) -> str:
    """Type of the file system that holds a path, from the text of /proc/self/mounts."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2:
            folder = fields[1].replace("\\040", " ")
            if len(folder) >= len(best) and path.is_relative_to(folder):
                best, kind = folder, fields[2]
    return kind


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Refuse to keep a SQLite ledger where file locks cannot be trusted. Known on Linux and WSL only.

    Raises:
        Refusal: the path lies on one of `NETWORK_FILE_SYSTEMS`.
    """
    if not mounts.exists():
        return
    kind = file_system_of(path.resolve(), mounts.read_text(encoding="utf-8", errors="replace"))
    if kind in NETWORK_FILE_SYSTEMS:
        raise Refusal(
            f"{path}: lies on a network file system ({kind}), where file locks cannot be trusted; keep the ledger on a "
            "local disk, or use a PostgreSQL server"
        )

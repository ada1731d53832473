"""A consistent, verified copy of a ledger, and the way back."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import uuid
from pathlib import Path

from campaign.errors import Refusal
from store.connection import connect, sync_folder


def backup(ledger: Path, target: Path) -> str:
    """Copy a running ledger with SQLite's online backup, check the copy, and write its hash beside it.

    Args:
        ledger: the SQLite file; others may go on writing.
        target: file to make; `TARGET.sha256` is written beside it, in the format of `sha256sum`.

    Returns:
        The sha256 of the copy.

    Raises:
        Refusal: the target exists, its folder cannot be written, or the copy is not sound.
    """
    if target.exists():
        raise Refusal(f"{target}: exists already; a backup never overwrites, give another name")
    try:
        copy_database(ledger, target)
        digest = sha256_of(target)
        _write_durably(digest_file(target), f"{digest}  {target.name}\n".encode())
    except OSError as error:
        raise Refusal(
            f"{target}: cannot be written: {error.strerror}; give a folder with space that you may write"
        ) from error
    return digest


def restore(source: Path, target: Path) -> None:
    """Put a backup back as a ledger, after checking it against its hash.

    Raises:
        Refusal: a ledger stands at the target, or the backup is missing, changed or damaged.
    """
    if target.exists():
        raise Refusal(f"{target}: a ledger stands there; move it aside first, then restore")
    if not source.is_file() or not digest_file(source).is_file():
        raise Refusal(
            f"{source}: a backup is two files, this one and {digest_file(source).name}; one of them is missing"
        )
    written = digest_file(source).read_bytes()
    if written != f"{sha256_of(source)}  {source.name}\n".encode():
        raise Refusal(
            f"{source}: differs from the hash written with it, so it was changed or damaged; take another backup"
        )
    copy_database(source, target)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database page by page in one moment of time; the target appears only when it is whole and checked."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        origin = connect(source)
        try:
            copy = sqlite3.connect(part, isolation_level=None)
            try:
                origin.backup(copy)
                refuse_damaged(copy, target)
            finally:
                copy.close()
        finally:
            origin.close()
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, target)
        sync_folder(target.parent)
    except sqlite3.Error as error:
        raise Refusal(f"{source}: cannot be copied to {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def refuse_damaged(database: sqlite3.Connection, name: Path) -> None:
    """Refuse a database whose pages, indexes or references are not sound."""
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    broken = database.execute("PRAGMA foreign_key_check").fetchall()
    if found != ["ok"] or broken:
        detail = found[0] if found != ["ok"] else f"a row of {broken[0][0]} refers to nothing"
        raise Refusal(f"{name}: the database is damaged ({detail}); restore a backup with `mixwright restore`")


def digest_file(path: Path) -> Path:
    """The file with the hash, beside a backup."""
    return path.with_name(path.name + ".sha256")


def sha256_of(path: Path) -> str:
    """Hash of a file's content, as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    sync_folder(path.parent)

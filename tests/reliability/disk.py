"""A disk under SQLite that records, fails or dies on command: an apsw VFS, and a DBAPI face so that the real store runs on it.

Everything that the store does passes through `Disk.connect`: the statements, pragmas and order are the product's own; only
the file operations are watched. `Disk.log` is what a power cut is simulated from (see `PowerCuts`).
"""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR_BYTES = 512
_numbers = itertools.count()


@dataclass(frozen=True)
class Operation:
    """One change of a file: what, which file, and for writes where and what."""

    kind: str  # write, truncate, sync, create, delete, delete+sync, ack
    file: str
    offset: int = 0
    data: bytes = b""


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.name = f"disk{next(_numbers)}"
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None and not os.path.exists(path):
            self.disk.happens(Operation("create", path))
        return _File(self.disk, self.name, name, flags, path)

    def xDelete(self, name: str, syncdir: bool) -> None:
        self.disk.happens(Operation("delete+sync" if syncdir else "delete", name))
        super().xDelete(name, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, vfs: str, name: Any, flags: list[int], path: str) -> None:
        self.disk, self.path = disk, path
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.happens(Operation("write", self.path, offset, bytes(data)))
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self.disk.reads_too:
            self.disk.counts()
        return super().xRead(amount, offset)

    def xTruncate(self, size: int) -> None:
        self.disk.happens(Operation("truncate", self.path, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self.disk.happens(Operation("sync", self.path))
        super().xSync(flags)


@dataclass
class Disk:
    """Watches the file operations of every connection that it opens.

    `instead` replaces statements (pragmas) to build the broken variants that a harness must catch.
    """

    instead: Mapping[str, str] = field(default_factory=dict)
    log: list[Operation] = field(default_factory=list)
    trap: Callable[[int], None] | None = None
    count: int = 0
    reads_too: bool = False

    def __post_init__(self) -> None:
        self._vfs = _Vfs(self)

    def counts(self) -> None:
        self.count += 1
        if self.trap is not None:
            self.trap(self.count)

    def happens(self, operation: Operation) -> None:
        self.counts()
        self.log.append(operation)

    def connect(self, path: Path) -> Connection:
        try:
            database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs.name)
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error
        database.set_busy_timeout(30_000)
        return Connection(database, self.instead)


class Connection:
    """As much of a sqlite3 connection as SQLAlchemy asks for."""

    def __init__(self, database: apsw.Connection, instead: Mapping[str, str]) -> None:
        self.database, self.instead = database, instead

    def cursor(self) -> Cursor:
        return Cursor(self)

    def create_function(self, *_: Any, **__: Any) -> None:
        """The dialect's `regexp`; the store does not use it."""

    def commit(self) -> None:
        if self.database.in_transaction:
            self.cursor().execute("COMMIT")

    def rollback(self) -> None:
        if self.database.in_transaction:
            self.cursor().execute("ROLLBACK")

    def close(self) -> None:
        self.database.close()


class Cursor:
    """As much of a sqlite3 cursor as SQLAlchemy asks for."""

    arraysize = 1
    lastrowid = 0

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: Any = None
        self.rowcount = -1
        self._rows: Iterator[Any] = iter(())

    def execute(self, statement: str, parameters: Any = ()) -> Cursor:
        database = self.connection.database
        cursor = database.cursor()
        cursor.exec_trace = self._describe
        self.description = None
        try:
            rows = cursor.execute(self.connection.instead.get(statement, statement), tuple(parameters)).fetchall()
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error
        if statement in self.connection.instead and rows:
            rows = [("truncate",)]  # a broken variant pretends to be the good one
        self._rows, self.rowcount = iter(rows), database.changes()
        return self

    def _describe(self, cursor: Any, _statement: str, _bindings: Any) -> bool:
        self.description = [(name, None, None, None, None, None, None) for name, _ in cursor.get_description()] or None
        return True

    def executemany(self, statement: str, many: Iterable[Any]) -> Cursor:
        for parameters in many:
            self.execute(statement, parameters)
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return list(itertools.islice(self._rows, size))

    def close(self) -> None:
        """Nothing is held."""


class PowerCuts:
    """What may lie on the disk when the power goes after n operations of a log; what is certain at each n is worked out once."""

    def __init__(self, start: Mapping[str, bytes], log: list[Operation]) -> None:
        self._certain: list[tuple[dict[str, bytes], list[Operation]]] = []
        files: dict[str, bytes] = dict(start)
        pending: list[Operation] = []
        self._certain.append((dict(files), []))
        for operation in log:
            if operation.kind == "sync":
                files = _applied(files, [p for p in pending if p.file == operation.file])
                pending = [p for p in pending if p.file != operation.file]
            elif operation.kind == "delete+sync":
                pending = [p for p in pending if p.file != operation.file]
                files = {name: content for name, content in files.items() if name != operation.file}
            elif operation.kind != "ack":
                pending = [*pending, operation]
            self._certain.append((files, pending))

    def after(self, cut: int, chance: random.Random) -> dict[str, bytes]:
        """Files as they may lie on the disk when the power goes after `cut` operations.

        What was synced is there. Of what was not, either a prefix arrived, the last operation torn (an ordered file system),
        or any part in any combination, each write whole, absent or torn at sectors (all that POSIX promises). A new or
        deleted name is certain once its file was synced (SQLite syncs the folder with it) or the delete was.
        """
        files, pending = self._certain[cut]
        if chance.random() < 0.5:
            kept = chance.randint(0, len(pending))
            survivors = pending[:kept]
            if kept < len(pending):
                survivors = survivors + _torn(pending[kept], chance)
        else:
            survivors = []
            for operation in pending:
                fate = chance.random()
                survivors += [operation] if fate < 0.45 else _torn(operation, chance) if fate < 0.6 else []
        return _applied(files, survivors)


def _applied(files: Mapping[str, bytes], operations: list[Operation]) -> dict[str, bytes]:
    changed = {name: bytearray(files[name]) for name in {one.file for one in operations} if name in files}
    after = {**files, **changed}
    for operation in operations:
        _apply(after, operation)
    return {name: bytes(content) for name, content in after.items()}


def _torn(operation: Operation, chance: random.Random) -> list[Operation]:
    if operation.kind != "write":
        return []
    ends = range(0, len(operation.data), SECTOR_BYTES)
    return [
        Operation("write", operation.file, operation.offset + at, operation.data[at : at + SECTOR_BYTES])
        for at in ends
        if chance.random() < 0.5
    ]


def _apply(files: dict[str, Any], operation: Operation) -> None:
    if operation.kind == "delete":
        files.pop(operation.file, None)
        return
    content = files.setdefault(operation.file, bytearray())
    if operation.kind == "truncate":
        del content[operation.offset :]
    elif operation.kind == "write":
        content.extend(bytes(max(0, operation.offset - len(content))))
        content[operation.offset : operation.offset + len(operation.data)] = operation.data

"""Judges a ledger file after a disaster: is what was acknowledged there exactly once, and is the whole sound?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path


def verdict(path: Path, acknowledged: Iterable[str]) -> str | None:
    """None if all is well; otherwise what is wrong: `lost`, `torn` or `damaged` and a detail.

    Opens the file as any program would, which rolls an unfinished write back.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        sound = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if sound != "ok":
            return f"damaged: {sound}"
        broken = database.execute("PRAGMA foreign_key_check").fetchone()
        if broken:
            return f"torn: {broken}"
        keys = [key for (key,) in database.execute("SELECT key FROM event ORDER BY seq")]
        lost = set(acknowledged) - set(keys)
        if lost:
            return f"lost: {sorted(lost)[:3]} of {len(keys)}"
        (seq,) = database.execute("SELECT seq FROM ledger").fetchone()
        unfinished = database.execute(
            "SELECT count(*) FROM event WHERE answer = 'null' AND verb = 'record'"
        ).fetchone()[0]
        # every `record` of these tests brings one scalar and three cycles: half a write would show here
        records, results, rows = (
            database.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
            for what in ("event WHERE verb = 'record'", "result", "cycling")
        )
        if seq != len(keys) or unfinished or results != records or rows != 3 * records:
            return f"torn: counter {seq}, {len(keys)} writes, {records} records, {results} results, {rows} cycles"
        return None
    except sqlite3.DatabaseError as error:
        return f"damaged: {error}"
    finally:
        database.close()

"""The whole ledger as plain files (CSV, Parquet or JSON lines), and back into a new ledger.

`tables/` holds every table row by row, as the database has it; `views/` the same as people read it (trials with their
recipe in columns, results and cycles that stand); `files/` the raw files by their sha256, where they are handed in.
`SHA256SUMS` lists every file, so that one changed bit anywhere is found. An export of an older schema is read into that
schema and then upgraded.

Text in CSV that a spreadsheet would take for a formula gets an apostrophe in front, as spreadsheets themselves do; it is taken
off again on the way in. Leases and what the projection has done are not exported: they mean nothing on another machine.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.names import nearest
from store import schema, upgrade
from store.backup import sha256_of
from store.connection import connect, sqlite_engine, sync_folder, transaction
from store.reading import Reader

FORMATS = ("csv", "parquet", "json")
NOT_EXPORTED = ("lease", "outbox", "alembic_version")
_SUMS = "SHA256SUMS"
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""A spreadsheet runs text that begins with one of the first six; a newline hides one; the apostrophe marks our own."""

Row = Mapping[str, Any]


def export(
    engine: sa.Engine, folder: Path, *, format: str = "csv", files: Mapping[str, Path] | None = None
) -> dict[str, int]:
    """Write the ledger, as it is at one moment, into a new folder.

    Args:
        engine: the ledger's database.
        folder: made here; must not exist.
        format: `csv`, `parquet` or `json` (one JSON object a line).
        files: sha256 -> where the raw file lies, to be copied along.

    Returns:
        Rows written of each table.

    Raises:
        Refusal: an unknown format, an existing or forbidden folder, a raw file that is not what its hash says.
    """
    if format not in FORMATS:
        raise Refusal(f"{format!r} is no format of an export: {nearest(format, FORMATS)}")
    if folder.exists():
        raise Refusal(f"{folder}: exists already; an export needs a new folder")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        for name in ("tables", "views", "files"):
            (part / name).mkdir(parents=True)
        counts = _write_tables(engine, part, format)
        for digest, source in (files or {}).items():
            shutil.copyfile(source, part / "files" / digest)
            if sha256_of(part / "files" / digest) != digest:
                raise Refusal(f"{source}: is not the file that was taken in (its hash differs); put the original back")
        _write_sums(part)
        os.rename(part, folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise Refusal(
            f"{folder}: cannot be written: {error.strerror}; give a place with space that you may write"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return counts


def import_export(folder: Path, target: Path) -> dict[str, int]:
    """Make a new ledger from an export, after checking every hash.

    Returns:
        Rows read of each table.

    Raises:
        Refusal: a ledger stands at the target; a file of the export is missing, changed or added.
    """
    if target.exists():
        raise Refusal(f"{target}: a ledger stands there; give another place, or move it aside first")
    check_sums(folder)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    new = target.with_name(f".{target.name}.{uuid.uuid4().hex}.new")
    if about["schema"] not in upgrade.known_revisions():
        raise Refusal(
            f"{folder}: its schema {about['schema']} is newer than this Mixwright knows; install the newer one"
        )
    try:
        new.touch(exist_ok=False)
        engine = sqlite_engine(new, connect).execution_options(place=str(target))
        with transaction(engine, write=True) as connection:
            upgrade.migrate(connection, about["schema"])
            counts = _read_tables(connection, folder, about["format"])
            upgrade.migrate(connection)
        os.link(new, target)
        sync_folder(target.parent)
    except OSError as error:
        raise Refusal(f"{target}: cannot be made: {error.strerror}; give a folder that you may write") from error
    finally:
        new.unlink(missing_ok=True)
        new.with_name(new.name + "-journal").unlink(missing_ok=True)
    return counts


def _write_tables(engine: sa.Engine, part: Path, format: str) -> dict[str, int]:
    counts = {}
    writer = _WRITERS[format]
    with transaction(engine, write=False) as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        seq = connection.execute(sa.select(schema.ledger.c.seq)).scalar_one()
        revision = upgrade.revision(connection)
        for table in _exported(tables):
            rows = [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
            writer(part / "tables" / f"{table.name}.{format}", list(table.columns.keys()), rows)
            counts[table.name] = len(rows)
    then = Reader(engine, seq)
    views = {"trials": then.trials().reset_index(), "results": then.results(), "cycling": then.cycling()}
    for name, view in views.items():
        writer(part / "views" / f"{name}.{format}", list(view.columns), list(_plain_rows(view)))
    about = {"schema": revision, "seq": seq, "format": format, "rows": counts}
    (part / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return counts


def _read_tables(connection: sa.Connection, folder: Path, format: str) -> dict[str, int]:
    tables = sa.MetaData()
    tables.reflect(connection)
    counts = {}
    for table in _exported(tables):
        rows = _READERS[format](folder / "tables" / f"{table.name}.{format}", table)
        connection.execute(table.delete())  # the migration has put the counter's row there
        if rows:
            connection.execute(table.insert(), rows)
        counts[table.name] = len(rows)
    trial, box = tables.tables["trial"], tables.tables["outbox"]
    names = [tuple(row) for row in connection.execute(sa.select(trial.c.campaign, trial.c.id, trial.c.seq))]
    names += [(row.name, "", row.seq) for row in connection.execute(sa.select(tables.tables["campaign"]))]
    for campaign, trial_id, seq in names:
        connection.execute(box.insert(), {"campaign": campaign, "trial": trial_id, "seq": seq, "done_seq": 0})
    return counts


def _exported(tables: sa.MetaData) -> list[sa.Table]:
    return [table for table in tables.sorted_tables if table.name not in NOT_EXPORTED]


def _plain_rows(view: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for values in view.astype(object).where(view.notna(), None).to_numpy().tolist():
        plain = [value.isoformat() if hasattr(value, "isoformat") else value for value in values]
        yield dict(zip(map(str, view.columns), plain, strict=True))


# ---- one pair of functions a format ----------------------------------------------------------------------------------
def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows([[_to_csv(row[name]) for name in columns] for row in rows])


def _to_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_RISKY) or not value else value
    return str(int(value)) if isinstance(value, bool) else repr(value)


def _read_csv(path: Path, table: sa.Table) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [{name: _from_csv(text, table.c[name]) for name, text in row.items()} for row in csv.DictReader(handle)]


def _from_csv(text: str, column: sa.Column[Any]) -> Any:
    if text == "":
        return None
    if isinstance(column.type, sa.Boolean):
        return text == "1"
    if isinstance(column.type, sa.Integer):
        return int(text)
    return float(text) if isinstance(column.type, sa.Float) else text.removeprefix("'")


def _write_json(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    lines = [json.dumps({name: row[name] for name in columns}, ensure_ascii=False, allow_nan=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")


def _read_json(path: Path, table: sa.Table) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as handle:
        return [json.loads(line) for line in handle]


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table({name: [row[name] for row in rows] for name in columns}), path)


def _read_parquet(path: Path, table: sa.Table) -> list[dict[str, Any]]:
    frame = pd.read_parquet(path).astype(object)
    kinds = {column.name: column.type.python_type for column in table.columns}
    rows = frame.where(frame.notna(), None).to_dict("records")
    return [{str(n): None if v is None else kinds[str(n)](v) for n, v in row.items()} for row in rows]


_WRITERS: Mapping[str, Callable[[Path, Sequence[str], Sequence[Row]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
_READERS: Mapping[str, Callable[[Path, sa.Table], list[dict[str, Any]]]] = {
    "csv": _read_csv,
    "json": _read_json,
    "parquet": _read_parquet,
}


# ---- hashes ------------------------------------------------------------------------------------------------------------
def _sums(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names if name != _SUMS)


def _write_sums(folder: Path) -> None:
    text = _sums(folder).encode()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as handle:
                os.fsync(handle.fileno())
    with (folder / _SUMS).open("xb") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def check_sums(folder: Path) -> None:
    """Check every file of an export against `SHA256SUMS`.

    Raises:
        Refusal: names the first file that is missing, changed or added.
    """
    if not (folder / _SUMS).is_file():
        raise Refusal(
            f"{folder}: is no export of Mixwright (it has no file {_SUMS}); give the folder that `export` made"
        )
    written, found = (folder / _SUMS).read_bytes(), _sums(folder).encode()
    if written != found:
        odd = sorted(set(written.splitlines()) ^ set(found.splitlines()), key=lambda line: line[66:])
        name = odd[0][66:].decode(errors="replace") if odd else _SUMS
        raise Refusal(f"{folder}: {name or _SUMS} is missing, changed or added since the export; make the export again")

"""`mixwright doctor`: what is installed, reachable, writable, and at which version."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import pandas as pd

from flows.cli.output import emit_json, emit_table, json_option

_PACKAGES = (
    "mixwright",
    "torch",
    "botorch",
    "gpytorch",
    "prefect",
    "mlflow",
    "pandas",
    "sqlalchemy",
    "fastapi",
    "fastnda",
)
_PINS = {"fastapi": (0, 151), "sqlalchemy": (2, 1)}
"""First version that breaks the stack; the reasons stand in pyproject.toml."""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show what is installed, reachable and writable; exit 1 where something would fail."""
    rows = [*_versions(), *_places(), *_programs()]
    table = pd.DataFrame(rows, columns=["what", "found", "verdict"])
    if as_json:
        emit_json(table)
    else:
        emit_table(table)
    if table["verdict"].str.startswith("FAILS").any():
        raise SystemExit(1)


def _versions() -> list[tuple[str, str, str]]:
    rows = [
        ("python", platform.python_version(), "ok" if sys.version_info >= (3, 11) else "FAILS: 3.11 or newer is needed")
    ]
    for name in _PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            optional = name == "fastnda"
            rows.append((name, "absent", "optional: Neware files" if optional else "FAILS: install it"))
            continue
        limit = _PINS.get(name)
        broken = limit is not None and tuple(int(part) for part in found.split(".")[:2]) >= limit
        rows.append((name, found, f"FAILS: must be below {'.'.join(map(str, limit or ()))}" if broken else "ok"))
    return rows


def _places() -> list[tuple[str, str, str]]:
    from flows import prefect_call
    from flows import settings as machine

    settings = machine.load()
    rows = [("data directory", f"{settings.data_dir} ({settings.source})", _writable(settings.data_dir))]
    rows.append(("ledger", settings.ledger_url, _ledger(settings.ledger_url)))
    rows.append(("mlflow", settings.mlflow_tracking_uri, "ok"))
    if settings.prefect_api_url:
        answers = prefect_call.server_answers(settings)
        rows.append(
            ("prefect server", settings.prefect_api_url, "ok" if answers else "does not answer; ticks go on without it")
        )
    else:
        rows.append(("prefect server", "none configured", "ok: run uses the embedded one"))
    return rows


def _writable(folder: Path) -> str:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return "ok" if existing == folder else "ok: will be made"
    except OSError as error:
        return f"FAILS: cannot be written ({error.strerror})"


def _ledger(url: str) -> str:
    if not url.startswith("sqlite:///"):
        return "not looked at: a server"
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return "ok: will be made"
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            word = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        return f"FAILS: {error}"
    return "ok" if word == "ok" else f"FAILS: integrity check says {word}"


def _programs() -> list[tuple[str, str, str]]:
    mdb = shutil.which("mdb-export")
    return [
        ("mdb-export", mdb or "absent", "ok" if mdb else "optional: Arbin .res files read slower without it"),
        ("cores", str(os.cpu_count()), "ok"),
    ]

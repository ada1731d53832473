"""Small worlds for tests of the ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from campaign.trial import Decision
from store import Ledger

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
WHO: dict[str, Any] = {"at": NOW, "by": "Ada"}
DECISION = Decision(model_version="gp-1", seed=3, data_seq=1, data_sha256="00", outcome="q100_mAh_g")


def later(**by: float) -> datetime:
    return NOW + timedelta(**by)


def designs(count: int, *, speed_rpm: float = 1000.0) -> pd.DataFrame:
    return pd.DataFrame({"speed_rpm": [speed_rpm + i for i in range(count)], "time_h": 3.0, "sse": "LPSCl"})


def scalar(subject: str, value: float = 1.5, observable: str = "crystallite_size_um", **more: Any) -> pd.DataFrame:
    return pd.DataFrame([{"subject": subject, "observable": observable, "unit": "um", "value": value, **more}])


def cycles(subject: str, values: list[float], *, first: int = 1, **more: Any) -> pd.DataFrame:
    numbers = range(first, first + len(values))
    return pd.DataFrame(
        {"subject": subject, "cycle": list(numbers), "discharge_areal_capacity_mAh_cm2": values, **more}
    )


def fast_folder() -> Path:
    """A folder in memory where the machine has one: for tests that are not about the disk."""
    return Path(tempfile.mkdtemp(prefix="mw-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))


@cache
def _empty_ledger() -> Path:
    path = fast_folder() / "empty.db"
    Ledger.open(path, create=True)
    return path


def new_ledger(folder: Path) -> Ledger:
    """An empty ledger, copied from one that was made once."""
    path = folder / "ledger.db"
    shutil.copyfile(_empty_ledger(), path)
    return Ledger.open(path)


def small_campaign(folder: Path, *, trials: int = 3, evaluator: str = "lab") -> Ledger:
    return begin(new_ledger(folder), trials=trials, evaluator=evaluator)


def begin(ledger: Ledger, *, trials: int = 3, evaluator: str = "lab") -> Ledger:
    """A campaign with some proposed trials."""
    ledger.put_campaign("c", {"name": "c"}, **WHO)
    if trials:
        ledger.propose("c", designs(trials), DECISION, evaluator=evaluator, trials_seen=0, key="propose 1", **WHO)
    return ledger


def told_campaign(folder: Path) -> Ledger:
    """A campaign with something in every table."""
    return tell(new_ledger(folder))


def tell(ledger: Ledger) -> Ledger:
    """A story that leaves something in every table."""
    begin(ledger)
    ledger.add_trials(
        "c",
        designs(1, speed_rpm=2000),
        evaluator="published",
        key="import",
        results=scalar("x", 2.45).drop(columns="subject").assign(design=0, relation=">="),
        provenance={0: {"doi": "10.1126/science.adt1882"}},
        **WHO,
    )
    ledger.issue(["T1", "T2"], key="issue", **WHO)
    ledger.mixed("T1", key="mixed", recipe_done={"speed_rpm": 1010.5}, details={"lot": "=A1", "mass_g": 2.0}, **WHO)
    ledger.start("T1-M1", key="start", channel="7", active_mass_mg=3.14, area_cm2=0.785, **WHO)
    ledger.register_file("c", "ab" * 32, name="-cell 1.csv", size=12, subject="T1-M1-C1", **WHO)
    record = cycles("T1-M1-C1", [3.0, 2.9, 2.8], file="ab" * 32)
    ledger.record(key="record", results=scalar("T1-M1"), cycling=record, **WHO)
    ledger.amend(
        key="amend", why="@typo\n'x'", results=pd.DataFrame({"result": [2], "value": [-1.25], "note": ["+1"]}), **WHO
    )
    ledger.amend(key="amend 2", why="shunt", cycling=cycles("T1-M1-C1", [2.7], first=2), **WHO)
    ledger.fail("T2", key="fail", why="spilt", **WHO)
    ledger.claim("tick c", by="host 1", at=NOW, ttl_s=60)
    return ledger


def rows(path: Path, *, without: tuple[str, ...] = ()) -> list[str]:
    """The whole content of a ledger file as SQL text, for comparing two."""
    database = sqlite3.connect(path)
    try:
        names = [
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")
        ]
        dump = []
        for name in names:
            if name not in without:
                dump += [
                    f"{name} {row!r}" for row in sorted(database.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
                ]
        return dump
    finally:
        database.close()

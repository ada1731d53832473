"""A small lab for tests: a campaign with open trials (proposed without a chooser, so at once), and files of cyclers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

from campaign.trial import Decision
from flows import lab_sheet
from flows.session import Session, now, open_session

CAMPAIGN = """\
campaign: bench
evaluator: lab
seed: 3
space:
  speed_rpm: {low: 1000, high: 2000, step: 25}
  time_h: {low: 0.5, high: 12, step: 0.25}
fixed: {active: S, active_wt_pct: 25}
protocol: {loading_mg_cm2: 4, current_mA_cm2: 0.67, cycles: 20}
objectives:
  - {outcome: discharge_capacity_cycle_20_mAh_g_composite, goal: max}
budget: {trials: 12, batch: 4}
"""
DECISION = Decision(
    model_version="none", seed=3, data_seq=1, data_sha256="00", outcome="discharge_capacity_cycle_20_mAh_g_composite"
)
AREA, MASS = 0.8, 3.2


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mw-lab-"))
    (folder / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (folder / "mixwright.toml").write_text('data_dir = "data"\n', encoding="utf-8")
    session = open_session(folder / "campaign.yaml")
    recipes = pd.DataFrame({"speed_rpm": [1500.0, 1800.0, 1200.0, 2000.0], "time_h": [3.0, 4.0, 2.0, 1.0]})
    session.ledger.propose(
        "bench", session.spec.designs(recipes), DECISION, evaluator="lab", trials_seen=0, key="plan", at=now(), by="Ada"
    )
    return folder


def lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A campaign with four proposed trials T0001 to T0004 in a folder of its own."""
    for name in ("MIXWRIGHT_DATA_DIR", "MIXWRIGHT_LEDGER_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return open_session(folder / "campaign.yaml")


def changed_lab(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str], **recipes: list[float]
) -> Session:
    """A campaign with its file changed, and these recipes proposed, in a folder of its own."""
    for name in ("MIXWRIGHT_LEDGER_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(folder / "data"))
    text = CAMPAIGN
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    session = open_session(folder / "campaign.yaml")
    designs = session.spec.designs(pd.DataFrame(recipes))
    session.ledger.propose("bench", designs, DECISION, evaluator="lab", trials_seen=0, key="plan", at=now(), by="Ada")
    return session


def long_lab(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str], **recipes: list[float]
) -> Session:
    """A campaign as `lab` gives it whose cells are planned for 100 cycles, of which 20 count; its file changed further."""
    asked = {"speed_rpm": [1500.0, 1800.0, 1200.0, 2000.0], "time_h": [3.0, 4.0, 2.0, 1.0], **recipes}
    return changed_lab(folder, monkeypatch, ("cycles: 20", "cycles: 100"), *changes, **asked)


VARIED_LOADING = (
    ("fixed:", "  loading_mg_cm2: {low: 2, high: 6, step: 0.5}\nfixed:"),
    ("loading_mg_cm2: 4, ", ""),
)
"""Changes of the file that make the loading an axis."""


def capacity_csv(path: Path, cycles: Sequence[int], q: float = 4.9) -> Path:
    """A table of mAh/cm2 against cycle."""
    rows = [f"{n},{q * 0.999**n:.5f},{q * 0.998**n:.5f}" for n in cycles]
    path.write_text("cycle,discharge capacity (mAh/cm2),charge capacity (mAh/cm2)\n" + "\n".join(rows) + "\n")
    return path


def cycler_csv(
    path: Path,
    capacities_mAh: Sequence[float],
    *,
    first: str = "discharge",
    last_share: float = 1.0,
    head: str = "",
    comment: str = "",
) -> Path:
    """A cycler's series at 1 mA: one discharge and one charge a cycle; `last_share` cuts the last half-cycle short."""
    sign = -1.0 if first == "discharge" else 1.0
    time, current, voltage, clock = [], [], [], 0.0
    halves = [(direction * sign, q) for q in capacities_mAh for direction in (1.0, -1.0)]
    for number, (direction, q) in enumerate(halves):
        share = last_share if number == len(halves) - 1 else 1.0
        steps = np.linspace(0, q, 13)[: max(2, round(13 * share))]
        for done in steps:
            time.append(clock + done * 3600)
            current.append(direction)
            voltage.append((2.2 - 1.2 * done / q) if direction < 0 else (1.3 + 1.2 * done / q))
        clock = time[-1] + 1
        for rest in (0.0, 60.0):
            if number < len(halves) - 1 or last_share >= 1.0:
                time.append(clock + rest)
                current.append(0.0)
                voltage.append(1.6)
        clock = time[-1] + 1
    lines = [f"{t:.3f},{i:.6f},{v:.5f}" for t, i, v in zip(time, current, voltage, strict=True)]
    path.write_text(f"{head}Test Time (s),Current (mA),Voltage (V)\n" + "\n".join(lines) + f"\n{comment}")
    return path


def sheet_of(session: Session, path: Path) -> Path:
    """The lab sheet of all open trials."""
    lab_sheet.write(session, path)
    return path


def fill(sheet: Path, *rows: Mapping[str, Any]) -> Path:
    """Fill rows of a sheet by header; a second row of a trial is a copied one, as a technician makes it for a second cell."""
    book = openpyxl.load_workbook(sheet)
    page = book.worksheets[0]
    head = {str(cell.value): cell.column for cell in page[1]}
    places = {page.cell(row, 1).value: row for row in range(2, page.max_row + 1) if page.cell(row, 1).value}
    used: set[str] = set()
    free = max(places.values()) + 1
    for row in rows:
        trial = row["trial"]
        place = places[trial]
        if trial in used:
            for column in range(1, page.max_column + 1):
                grey = str(page.cell(1, column).value).startswith("asked") or column <= 2
                page.cell(free, column).value = page.cell(place, column).value if grey else None
            place, free = free, free + 1
        used.add(trial)
        for name, value in row.items():
            if name != "trial":
                page.cell(place, head[name]).value = value
    book.save(sheet)
    return sheet


def content(session: Session) -> dict[str, Any]:
    """What the ledger holds, without when and in which order it came."""
    drop = ["seq", "at", "by", "why", "result", "supersedes"]
    ledger, name = session.ledger, session.name
    tables = {
        "trials": ledger.trials(name),
        "mixes": ledger.mixes(name),
        "cells": ledger.cells(name),
        "results": ledger.results(name, with_excluded=True),
        "cycling": ledger.cycling(name, with_excluded=True),
        "files": ledger.files(name).sort_values("sha256"),
    }
    return {
        key: table.drop(columns=[c for c in drop if c in table])
        .reset_index()
        .drop(columns="index", errors="ignore")
        .to_csv()
        for key, table in tables.items()
    }

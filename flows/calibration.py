"""The physics refitted to a campaign's own measurements, kept beside its ledger and used as its prior from then on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from campaign.errors import Refusal
from campaign.recipe import PROTOCOL_COLUMNS, RECIPE_COLUMNS
from campaign.trial import MEASURED
from flows import batches, evidence
from flows.session import Session
from store import Reader

if TYPE_CHECKING:
    from models.calibrate import Calibration
    from models.parameters import Parameters

_CYCLES = (1, 2, 5, 10, 16, 25, 35, 50, 75, 100, 150, 200, 300, 450)
"""Cycles of a whole record that enter the fit: neighbours say the same thing twice."""
_CELL_SPREAD = 0.1
"""Relative uncertainty of a lab's own capacity between batches [est, physics.md section 4]."""


@dataclass(frozen=True)
class Calibrated:
    """What the refit found: the fit, every row beside it, each mix left out in turn, and where the files are."""

    fit: Calibration
    scored: pd.DataFrame
    left_out: pd.DataFrame | None
    folder: Path


def calibrate(session: Session, *, starts: int = 4, leave_one_out: bool = True) -> Calibrated:
    """Refit the physics to all that was measured in the campaign (lab, published and earlier; nothing simulated).

    Raises:
        Refusal: nothing was measured yet.
    """
    from models import calibrate as physics
    from models import facts
    from models.parameters import save

    rows = measured_rows(session.reader, session)
    if rows.empty:
        raise Refusal(f"campaign {session.name!r} has no measurement to fit the physics to; bring results first")
    found = physics.calibrate(rows, materials=session.materials, starts=starts, seed=session.spec.seed)
    folder = _folder(session)
    folder.mkdir(parents=True, exist_ok=True)
    save(found.parameters, folder=folder)
    scored = facts.score(rows, parameters=found.parameters, materials=session.materials)
    left_out = physics.leave_one_out(rows, found, materials=session.materials) if leave_one_out else None
    return Calibrated(found, scored, left_out, folder)


def parameters_of(session: Session) -> Parameters | None:
    """The campaign's own physics where it was calibrated; None means the published one."""
    from models.parameters import load

    folder = _folder(session)
    if not (folder / "parameters.csv").exists():
        return None
    return load(folder)


def measured_rows(reader: Reader, session: Session) -> pd.DataFrame:
    """Every measurement of a campaign in the columns of `paper_facts.csv`."""
    trials = reader.trials(session.name)
    trials = trials[trials["evaluator"].isin(MEASURED)]
    results = reader.results(session.name)
    results = results[results["trial"].isin(trials.index) & ~results["provenance"].eq(evidence.PREDICTED)]
    scalars = results[
        [
            "subject",
            "trial",
            "observable",
            "cycle",
            "relation",
            "value",
            "unit",
            "rel_uncertainty",
            "abs_uncertainty",
            "provenance",
        ]
    ]
    cycles = reader.cycling(session.name)
    cycles = cycles[cycles["trial"].isin(trials.index) & cycles["cycle"].isin(_CYCLES)]
    cycles = cycles[cycles["discharge_areal_capacity_mAh_cm2"].notna()]
    capacities = pd.DataFrame(
        {
            "subject": cycles["subject"],
            "trial": cycles["trial"],
            "observable": evidence.CAPACITY,
            "cycle": cycles["cycle"].astype(float),
            "relation": "=",
            "value": cycles["discharge_areal_capacity_mAh_cm2"],
            "unit": "mAh/cm2",
            "rel_uncertainty": _CELL_SPREAD,
        }
    )
    parts = [part for part in (scalars, capacities) if len(part)]
    # A lab that has handed in nothing but cycles has none of the other columns, which are asked for below all the same.
    rows = pd.concat(parts, ignore_index=True).reindex(columns=scalars.columns) if parts else scalars
    columns = [name for name in (*RECIPE_COLUMNS, *PROTOCOL_COLUMNS) if name not in ("mixer", "cycles")]
    owner = rows.drop_duplicates("subject").set_index("subject")["trial"]
    recipes = batches.as_mixed(reader, session.name, trials, owner)[columns]
    rows = rows.join(recipes, on="subject").drop(columns="subject").rename(columns={"trial": "id"})
    # Published rows say how they may be used (`flows.history`); what the lab measured itself is fitted.
    said = rows["provenance"].astype(str).str.extract(r"\buse (\w+)")[0]
    return rows.assign(use=said.fillna("fit"))


def _folder(session: Session) -> Path:
    name = hashlib.sha256(session.name.encode()).hexdigest()[:12]
    return session.settings.data_dir / "physics" / f"{session.name}-{name}"

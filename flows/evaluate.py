"""Evaluating without a lab: simulated trials that wait are answered by the physics and recorded, each once."""

from __future__ import annotations

import pandas as pd

from campaign import quantity, recipe
from campaign.trial import Trial
from flows.session import Session, now, who

LEASE_S = 600.0
_CYCLING = (
    "cycle",
    "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2",
    "coulombic_efficiency",
    "mean_discharge_voltage_V",
    "mean_charge_voltage_V",
)


def evaluate_waiting(session: Session) -> list[str]:
    """Answer every proposed trial that needs no lab: by the physics, or by the campaign's virtual lab.

    Returns:
        Ids of the trials that were answered now.
    """
    if session.spec.evaluator == "virtual-lab":
        from flows.rehearse import evaluate_virtual

        return evaluate_virtual(session)
    return _evaluate_by_physics(session) if session.spec.evaluator == "physics" else []


def _evaluate_by_physics(session: Session) -> list[str]:
    """Simulate the trials that wait, all in one batch, and record them one by one."""
    trials = session.ledger.trials(session.name)
    waiting = trials[trials["state"].eq("proposed") & trials["evaluator"].eq("physics")]
    if waiting.empty:
        return []
    from models.simulate import simulate

    designs = recipe.complete(waiting[list(recipe.DESIGN_COLUMNS)], session.materials)
    result = simulate(designs, materials=session.materials)
    # Outcomes that follow from the cycling record are derived when read; the SSE's share does not stand in the record.
    shares = [str(name) for name in result.outcome if str(name).startswith("sse_corrected_")]
    scalars = result.composite.join(result.outcome[shares])
    for name in waiting.index:
        cycling = result.cycling[result.cycling["design"].eq(name)]
        _record(session, session.ledger.trial(str(name)), cycling, scalars.loc[name])
    return [str(name) for name in waiting.index]


def _record(session: Session, trial: Trial, cycling: pd.DataFrame, scalars: pd.Series) -> None:
    cell = f"{trial.id}-M1-C1"
    known = scalars.dropna()
    observables = [quantity.split(str(name)) for name in known.index]
    results = pd.DataFrame(observables, columns=["observable", "unit"])
    results = results.assign(subject=cell, value=known.astype(float).to_numpy(), provenance="simulated")
    session.ledger.record(
        key=f"physics {trial.id}",
        at=now(),
        by=who(),
        results=results,
        cycling=cycling[[name for name in _CYCLING if name in cycling]].assign(subject=cell),
        complete=[trial.id],
        unplanned=True,
    )

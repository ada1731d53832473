"""A campaign as `review` looks at it: the ledger's tables and the chooser's answer, put into one frozen view."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pandas as pd

from campaign import outcome
from campaign.recipe import DESIGN_COLUMNS
from campaign.spec import Objective as Goal
from campaign.spec import Range
from campaign.trial import ENDED
from flows import choose, evidence, under_test
from flows.answer import Answer, answer
from flows.answer_words import describe
from flows.diagnosis import diagnosis
from flows.session import Session
from review import Axis, CampaignView, Objective, Provenance, Recommendation
from store import Reader

BESIDE = (
    "discharge_areal_capacity_cycle_100_mAh_cm2",
    "sse_corrected_areal_capacity_cycle_100_mAh_cm2",
    "discharge_areal_capacity_cycle_1_mAh_cm2",
    "q2_over_q1",
    "retention_cycle_100_pct",
    "peak_areal_capacity_mAh_cm2",
    "mixing_time_h",
    "specific_energy_kJ_g",
    "surface_halide_to_P",
    "crystallite_size_um",
)
"""Outcomes that tables show beside the objective."""

_VERSIONS = ("mixwright", "torch", "botorch", "gpytorch", "prefect", "mlflow", "pandas")
_CYCLING = (
    "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2",
    "coulombic_efficiency",
    "mean_discharge_voltage_V",
)


def campaign_view(session: Session) -> tuple[CampaignView, Answer | None]:
    """Build the view and the answer of a campaign, all of one moment of the ledger."""
    reader = session.reader
    choice = choose.chooser(session, reader)
    found = answer(session, choice)
    table = trials_table(session, reader)
    own = table["evaluator"].eq(session.spec.evaluator)
    cycling = evidence.record(reader, session.name).rename(columns={"trial": "trial_id"})
    wanted = [_objective(goal) for goal in session.spec.objectives]
    events = reader.events(session.name)
    view = CampaignView(
        name=session.name,
        objective=wanted[0],
        also=tuple(wanted[1:]),
        evaluator=session.spec.evaluator,
        provenance=Provenance(
            made_at=events["at"].max(),
            seed=session.spec.seed,
            ledger=str(session.ledger.path or session.settings.ledger_url),
            data_hash=choose.data_hash(choice.evidence)[:16],
            versions={name: version(name) for name in _VERSIONS},
            command=f"mixwright report {session.loaded.path}",
        ),
        space=tuple(_axis(name, item) for name, item in session.spec.space.items()),
        trials=table[own].reset_index(drop=True),
        cycling=_cycles_of(cycling, table[own]),
        published=table[~own].reset_index(drop=True),
        published_cycling=_cycles_of(cycling, table[~own]),
        under_test=_under_test(session, reader),
        diagnosis=diagnosis(session, reader, choice),
        **_answered(session, found),
    )
    return view, found


def _under_test(session: Session, reader: Reader) -> pd.DataFrame:
    """The advice that stands for the evidence as it is, with each cell's channel."""
    columns = ["cell", "channel", "cycles", "expected", "sd", "chance_best", "stop", "reason"]
    channels = reader.cells(session.name)["channel"]
    rows = [
        {**under_test.plain(item), "channel": channels.get(str(item.number))}
        for item in under_test.stored(session, reader)
    ]
    return pd.DataFrame(rows, columns=columns)


def trials_table(session: Session, reader: Reader) -> pd.DataFrame:
    """One row a trial: what it is, why it was proposed, what it gave."""
    trials = evidence.as_tested(reader.trials(session.name), reader, session)
    values = evidence.by_trial(evidence.outcomes(reader, session))
    wanted = list(dict.fromkeys([*evidence.wanted_outcomes(session.spec), *BESIDE]))
    known = [name for name in DESIGN_COLUMNS if trials[name].notna().any()]
    table = trials[["evaluator", "state", *known]]
    table = table.join(values.reindex(columns=[name for name in wanted if name in values]))
    decisions = reader.decisions(session.name)
    reasons = ["predicted_mean", "predicted_p05", "predicted_p95", "reason"]
    if len(decisions):
        table = table.join(decisions.set_index("trial")[reasons])
    changed = _last_change(reader, session.name, trials)
    table = table.assign(
        trial_id=table.index,
        sequence=range(1, len(table) + 1),
        revision=changed["seq"],
        proposed_at=trials["at"],
        finished_at=changed["at"].where(trials["state"].isin([*ENDED, "excluded"])),
        source=trials["provenance"].map(_source).to_numpy(),
        best=False,
    )
    objective = session.spec.objective
    met = evidence.meets_bounds(session.spec, table)
    if session.spec.outcome_constraints:
        table["meets_bounds"] = met.astype(object).mask(~met & ~evidence.breaks_bounds(session.spec, table), None)
    counted = table[table["evaluator"].eq(session.spec.evaluator) & ~table["state"].eq("excluded") & met]
    if objective.outcome in table and counted[objective.outcome].notna().any():
        column = counted[objective.outcome]
        table.loc[column.idxmax() if objective.goal == "max" else column.idxmin(), "best"] = True
    return table.reset_index(drop=True)


def _last_change(reader: Reader, campaign: str, trials: pd.DataFrame) -> pd.DataFrame:
    """Sequence number and time of the last write that touched each trial: its own, or a result of it."""
    parts = [trials.reset_index()[["trial", "seq", "at"]]]
    parts += [
        table[["trial", "seq", "at"]] for table in (reader.results(campaign), reader.cycling(campaign)) if len(table)
    ]
    rows = pd.concat(parts).sort_values("seq", kind="stable")
    return rows.groupby("trial").last().reindex(trials.index)


def _cycles_of(cycling: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Records of these trials, each cell by itself: a mean over cells of different length would jump."""
    kept = cycling[cycling["trial_id"].isin(trials["trial_id"])].rename(columns={"subject": "cell_id"})
    return kept[["trial_id", "cell_id", "cycle", *[name for name in _CYCLING if name in kept]]].reset_index(drop=True)


def _answered(session: Session, found: Answer | None) -> dict[str, Any]:
    if found is None:
        return {"tolerance": session.spec.tolerance_pct / 100.0}
    held = {name: value for name, value in found.recipe.items() if name not in ("speed_rpm", "time_h")}
    return {
        "recommendation": Recommendation(
            recipe=found.recipe,
            mean=found.mean,
            p05=found.p05,
            p95=found.p95,
            trust=found.trust,
            sentences=found.sentences,
            notes=found.notes,
        ),
        "window": found.ridge,
        "tolerance": session.spec.tolerance_pct / 100.0,
        "surface": found.surface,
        "surface_at": describe(held),
        "electrolytes": found.electrolytes,
    }


def _objective(goal: Goal) -> Objective:
    defined = outcome.define(goal.outcome)
    return Objective(name=defined.name, label=defined.label, unit=defined.unit, goal=goal.goal)


def _axis(name: str, item: Range | tuple[str, ...]) -> Axis:
    if isinstance(item, Range):
        return Axis(name=name, low=item.low, high=item.high)
    return Axis(name=name, choices=tuple(item))


def _source(provenance: str) -> str | None:
    known = json.loads(provenance or "{}")
    if not known:
        return None
    return "; ".join(
        f"{key} {', '.join(value) if isinstance(value, list) else value}" for key, value in known.items() if value
    )

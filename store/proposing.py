"""New trials: a proposed batch with its decision, and trials that nobody proposed (published, earlier, unplanned)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS, PROTOCOL_COLUMNS, RECIPE_COLUMNS
from campaign.trial import Decision, SubjectId, check_evaluator
from store import recording, schema
from store.lifecycle import campaign_version, design_part
from store.write import Stale, Write, canonical

REASON_COLUMNS = ("acquisition", "reason", "predicted_mean", "predicted_p05", "predicted_p95")


def content_of(table: pd.DataFrame | None) -> Any:
    """A table as JSON can hold it, for comparing the content of two writes."""
    if table is None:
        return None
    cells = [[str(cell) if cell in (math.inf, -math.inf) else cell for cell in row] for row in table.to_numpy(object)]
    return [list(map(str, table.columns)), [str(label) for label in table.index], cells]


def propose(write: Write, designs: pd.DataFrame, decision: Decision, *, evaluator: str, trials_seen: int) -> list[str]:
    """See `Ledger.propose`."""
    campaign = str(write.campaign)
    version = campaign_version(write, campaign)
    trial = schema.trial
    query = sa.select(sa.func.count()).select_from(trial).where(trial.c.campaign == campaign)
    count = write.connection.execute(query).scalar_one()
    if count != trials_seen:
        raise Stale(
            f"campaign {campaign} has {count} trials, not the {trials_seen} that this choice was made from: another proposer "
            "was faster; read the trials again and choose again"
        )
    designs_only = designs.drop(columns=[name for name in REASON_COLUMNS if name in designs])
    ids = _insert_trials(
        write, designs_only, version, evaluator=evaluator, state="proposed", provenance={}, planned=True
    )
    common = {**asdict(decision), "details": canonical(decision.details), "seq": write.seq}
    if decision.trust_in_prior is not None and not 0 <= decision.trust_in_prior <= 1:
        raise Refusal(f"trust_in_prior is {decision.trust_in_prior}; it must lie between 0 and 1")
    reasons = designs.reindex(columns=list(REASON_COLUMNS)).to_dict("records")
    empty: dict[str, Any] = dict.fromkeys(REASON_COLUMNS)
    rows = []
    for name, reason in zip(ids, reasons, strict=True):
        known: dict[str, Any] = {str(column): value for column, value in reason.items() if not pd.isna(value)}
        numbers = {c: recording.finite(v, f"{name}, {c}") for c, v in known.items() if c != "reason"}
        text = str(known["reason"]) if "reason" in known else None
        rows.append({**empty, **common, **numbers, "reason": text, "trial": name})
    write.insert(schema.decision, rows)
    write.touch("")
    return ids


def add_trials(
    write: Write,
    designs: pd.DataFrame,
    *,
    evaluator: str,
    results: pd.DataFrame | None,
    cycling: pd.DataFrame | None,
    provenance: Mapping[Any, Mapping[str, Any]],
    state: str,
) -> list[str]:
    """See `Ledger.add_trials`."""
    if state not in ("completed", "testing"):
        raise Refusal(f"a trial that nobody proposed comes in as completed or testing, not as {state!r}")
    version = campaign_version(write, str(write.campaign))
    ids = _insert_trials(
        write, designs, version, evaluator=evaluator, state=state, provenance=provenance, planned=False
    )
    names = dict(zip(designs.index, ids, strict=True))
    scalars = _by_subject(results, names)
    cycles = _by_subject(cycling, names)
    required = ("subject", "observable", "unit", "value")
    recording.add_results(write, recording.rows_of(scalars, recording.RESULT_COLUMNS, required))
    recording.add_cycles(write, recording.rows_of(cycles, recording.CYCLING_COLUMNS, ("subject", "cycle")))
    write.touch("")
    return ids


def _by_subject(table: pd.DataFrame | None, names: Mapping[Any, str]) -> pd.DataFrame | None:
    if table is None:
        return None
    strange = [label for label in table["design"].unique() if label not in names]
    if strange:
        raise Refusal(f"a result is of design {strange[0]!r}, which is no row of the designs")
    return table.drop(columns="design").assign(subject=table["design"].map(names))


def _insert_trials(
    write: Write,
    designs: pd.DataFrame,
    version: int,
    *,
    evaluator: str,
    state: str,
    provenance: Mapping[Any, Mapping[str, Any]],
    planned: bool,
) -> list[str]:
    check_evaluator(evaluator)
    if not designs.index.is_unique:
        raise Refusal("two designs have the same row label; each needs its own")
    first = write.next_number(schema.trial.c.number)
    ids = []
    for number, (label, values) in enumerate(zip(designs.index, _records(designs), strict=True), start=first):
        subject = SubjectId(number)
        checked = design_part(values, tuple(DESIGN_COLUMNS), f"design {label}")
        row = {
            "number": number,
            "campaign": write.campaign,
            "campaign_version": version,
            "evaluator": evaluator,
            "planned": planned,
            "recipe_asked": canonical({name: checked[name] for name in RECIPE_COLUMNS if name in checked}),
            "protocol": canonical({name: checked[name] for name in PROTOCOL_COLUMNS if name in checked}),
            "provenance": canonical(provenance.get(label, {})),
        }
        write.begin(subject, {**row, "recipe_done": None}, verb=write.verb, state=state)
        ids.append(str(subject))
    return ids


def _records(designs: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in designs.to_dict("records")]

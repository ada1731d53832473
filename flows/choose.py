"""Choosing: a campaign's Optimiser, told all that the ledger knows, and the proposals it makes."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd

from campaign.errors import Refusal
from campaign.space import SearchSpace
from campaign.trial import OPEN, Decision
from flows import ceiling, evidence, goals, lab_cost, memory, stock, under_test
from flows.evidence import Evidence
from flows.prior import before_results, priors_of
from flows.session import Session, now, who
from store import Lease, Reader

if TYPE_CHECKING:
    from models.prior_grid import PriorFunction
    from surrogate import Optimiser

_ROW = re.compile(r"row (?P<row>\S+)(?P<rest>, column .*)", re.DOTALL)
REASON_COLUMNS = {"predicted": "predicted_mean", "p05": "predicted_p05", "p95": "predicted_p95", "reason": "reason"}


@dataclass(frozen=True)
class Chooser:
    """An Optimiser that knows a campaign as the ledger held it at one moment."""

    optimiser: Optimiser
    evidence: Evidence
    n_trials: int
    n_pending: int
    prior: PriorFunction | None = None
    """The physics' draws of the objective, where the campaign has that prior."""


def chooser(session: Session, reader: Reader, space: SearchSpace | None = None) -> Chooser:
    """Build the campaign's Optimiser and tell it every result and every open trial.

    Args:
        session: an open campaign.
        reader: the ledger at one moment.
        space: what may be proposed, where stock allows less than the campaign's space.
    """
    from flows.early_evidence import needed_cycle
    from surrogate import Optimiser

    memory.require(memory.FIT_MIB)
    spec = session.spec
    held = spec.conditions()
    named = goals.objectives({o.outcome: o.goal for o in spec.objectives}, spec.space, held)
    bounds = goals.conditions_on(spec.outcome_constraints, spec.space, held)
    learned = goals.learned(evidence.wanted_outcomes(spec), spec.space, held)
    goal: Any = named if len(named) > 1 or bounds else spec.objective.goal
    cost = None
    if spec.evaluator == "lab":
        cycles = max(needed_cycle(name, held) for name in learned)
        cost = lab_cost.of_lab(session.space, held, spec.lab, session.materials, cycles=cycles)
    prior = priors_of(session)
    told_prior: Any = prior.get(spec.objective.outcome)
    if isinstance(goal, dict):
        told_prior = {name: draws for name, draws in prior.items() if name in learned} or None
    optimiser = Optimiser(
        space or session.space,
        goal,
        constraints=bounds,
        prior=told_prior,
        seed=spec.seed,
        cost=cost,
        risk=spec.risk,
    )
    known = evidence.learnable(reader, session)
    if spec.evaluator == "lab":
        with _names_the_trial(known):
            known = known.joined(*under_test.partial(session, reader, set(known.trials)))
    if len(known.trials):
        values = known.values[learned].join(known.se[learned].add_suffix("_se"))
        common: Any = {name: shared for name, shared in known.common.items() if name in learned}
        if not isinstance(goal, dict):
            values, common = values.set_axis(["value", "se"], axis=1), common.get(spec.objective.outcome)
        with _names_the_trial(known):
            optimiser.tell(known.recipes, values, common=common)
    trials = reader.trials(session.name)
    waiting = trials[trials["state"].isin(OPEN) & ~trials.index.isin(known.settled)]
    if len(waiting):
        waiting = evidence.as_tested(waiting, reader, session)
        optimiser.pending(waiting[list(spec.space)].reset_index(drop=True))
    return Chooser(optimiser, known, len(trials), len(waiting), prior.get(spec.objective.outcome))


@contextmanager
def _names_the_trial(known: Evidence) -> Iterator[None]:
    """Name the trial of a record that nothing can be learned from, and the way to mend it."""
    try:
        yield
    except Refusal as refusal:
        found = _ROW.match(str(refusal))
        row = found["row"] if found else ""
        if found is None or (row.isdigit() and int(row) >= len(known.trials)):
            raise
        trial = (known.trials[int(row)] if row.isdigit() else row).partition("-")[0]
        wrong = f"If it is not what was mixed: mixwright amend CAMPAIGN {trial} --set COLUMN=VALUE --why '…'"
        if found["rest"].startswith(f", column {evidence.LOADING}"):
            wrong = (
                "It is a cell's active mass over its area; if one is wrong: mixwright amend CAMPAIGN CELL --set "
                "active_mass_mg=VALUE --why '…'"
            )
        raise Refusal(f"{trial}{found['rest']} {wrong}") from refusal


def propose(session: Session, q: int, *, lease: Lease | None = None) -> pd.DataFrame:
    """Choose q trials and put them into the ledger, with the reason for each.

    Returns:
        q rows indexed by trial id: varied columns, `predicted_mean`, `predicted_p05`, `predicted_p95`, `reason`.

    Raises:
        Stale: another proposer was faster; nothing was written.
    """
    reader = session.reader
    choice, recipes = _ask(session, reader, q)
    designs = session.spec.designs(recipes[list(session.spec.space)])
    reasons = recipes[list(REASON_COLUMNS)].rename(columns=REASON_COLUMNS)
    told = [name for name in REASON_COLUMNS.values() if name != "reason"]
    most = ceiling.of(recipes, session.spec.objective.outcome, session.spec, session.materials)
    reasons[told] = ceiling.under(reasons[told].astype(float), most)
    decision = Decision(
        model_version=f"mixwright {version('mixwright')}",
        seed=session.spec.seed,
        data_seq=choice.evidence.data_seq,
        data_sha256=data_hash(choice.evidence),
        outcome=session.spec.objective.outcome,
        trust_in_prior=choice.optimiser.trust if session.spec.prior != "none" else None,
        details={
            "learned_from": choice.evidence.trials,
            "pending": choice.n_pending,
            "advice": [under_test.plain(item) for item in under_test.advise(session, reader, choice)],
        },
    )
    ids = session.ledger.propose(
        session.name,
        designs.join(reasons),
        decision,
        evaluator=session.spec.evaluator,
        trials_seen=choice.n_trials,
        key=f"propose {session.name} after {choice.n_trials} trials",
        at=now(),
        by=who(),
        lease=lease,
    )
    return recipes[list(session.spec.space)].join(reasons).set_axis(ids).rename_axis("trial")


def _ask(session: Session, reader: Reader, q: int) -> tuple[Chooser, pd.DataFrame]:
    """Ask for q recipes; where the stock of a material is known, for as many of them as it allows.

    Raises:
        OutOfStock: not even one batch can be mixed.
    """
    left = stock.stock_of(session, reader)
    if left is None:
        choice = chooser(session, reader)
        recipes = choice.optimiser.ask(q, explain=True)
    else:
        choice, recipes = stock.ask_within(
            left, q, session.space, session.spec.conditions(), lambda space: chooser(session, reader, space)
        )
    if choice.prior is not None and not len(choice.evidence.trials):
        names = [category.name for category in session.space.categories if len(category.choices) > 1]
        mine = reader.trials(session.name)
        earlier = mine[mine["planned"].astype(bool)]
        most = ceiling.of(recipes, session.spec.objective.outcome, session.spec, session.materials)
        recipes = before_results(recipes, choice.prior, names=names, earlier=earlier, most=most)
    return choice, recipes


def reason_to_stop(session: Session) -> str | None:
    """Say why the campaign should stop by its own rule; None where it has no rule or should go on."""
    rule = session.spec.stopping
    if rule is None:
        return None
    choice = chooser(session, session.reader)
    if len(choice.evidence.trials) < session.spec.budget.batch:
        return None
    best = float(choice.optimiser.recommend()["mean"].iloc[0])
    if not math.isfinite(best):
        return None  # nothing has worked yet
    found = choice.optimiser.stopping(abs(best) * rule.smallest_worthwhile_gain_pct / 100.0, bound=rule.chance_below)
    return f"the stopping rule holds: {found.sentence}" if found.stop else None


def next_trials(session: Session, q: int) -> pd.DataFrame:
    """Return the q next trials: those that are proposed and not begun first, new ones for the rest.

    Returns:
        As `propose`.
    """
    trials = session.ledger.trials(session.name, recipe="asked")
    waiting = trials[trials["state"].eq("proposed") & trials["planned"].astype(bool)]
    if len(waiting) < q:
        propose(session, q - len(waiting))
        trials = session.ledger.trials(session.name, recipe="asked")
        waiting = trials[trials["state"].eq("proposed") & trials["planned"].astype(bool)]
    decisions = session.ledger.decisions(session.name).set_index("trial")
    return waiting[list(session.spec.space)].join(decisions[list(REASON_COLUMNS.values())]).head(q)


def data_hash(known: Evidence) -> str:
    """Hash of the evidence that a choice was made from."""
    text = known.recipes.join(known.values).assign(trial=known.trials).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()

"""How far the chooser deserves belief: what it says of itself, put beside the trials that it learned from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flows.choose import Chooser
from flows.session import Session
from review import Diagnosis, PriorInfluence
from store import Reader


def diagnosis(session: Session, reader: Reader, choice: Chooser) -> Diagnosis:
    """Return what speaks for or against the model of the objective; empty tables while there is no result.

    What is foreseen of cells under way is learned from, but is no result: it does not count for or against the model.
    """
    told = choice.evidence.values[session.spec.objective.outcome].notna().to_numpy()
    if not told.any():
        return Diagnosis()
    found = choice.optimiser.diagnostics()
    parity = _parity(reader.trials(session.name)["evaluator"], choice, told, found.parity)
    foreseen = choice.evidence.se.loc[told, session.spec.objective.outcome].notna().to_numpy()
    prior = (
        None if session.spec.prior == "none" else _influence(found.trust, found.log_odds_prior, found.prior_likeness)
    )
    return Diagnosis(parity=parity[~foreseen], sensitivity=found.sensitivity, prior=prior)


def _parity(evaluators: pd.Series, choice: Chooser, told: np.ndarray, parity: pd.DataFrame) -> pd.DataFrame:
    """Name the trial of each row and its evaluator; the Optimiser holds results in the order in which it was told."""
    trials = pd.Series(choice.evidence.trials)[told].reset_index(drop=True)
    recipe = list(choice.evidence.recipes)
    # The cells of a trial may have been mixed a little differently and still are repeats of one another.
    repeated = trials.duplicated(keep=False) | parity.duplicated(recipe, keep=False)
    head = pd.DataFrame({"trial_id": trials, "evaluator": trials.map(evaluators)})
    return head.join(parity.rename(columns={"told": "found"})).assign(repeated=repeated)


def _influence(trust: float, log_odds: float, likeness: float) -> PriorInfluence:
    from surrogate.belief import TRUST_GRID

    shares, weights = (np.array(column) for column in zip(*TRUST_GRID, strict=True))
    without = float(weights[shares == 0.0].sum())
    return PriorInfluence(
        trust=trust,
        trust_before=float(weights @ shares),
        log_odds=log_odds,
        log_odds_before=float(np.log((1.0 - without) / without)),
        likeness=likeness,
    )

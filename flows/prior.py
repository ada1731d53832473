"""A campaign's prior: the physics, for each outcome that is wanted, with its doubt.

It is asked on a grid once a campaign, and the grid is kept in the data directory, so that every later
command begins at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import numpy as np
import pandas as pd

from flows import goals
from flows.calibration import parameters_of
from flows.session import Session

if TYPE_CHECKING:
    from models.prior_grid import Floats, PriorFunction

MANY = 1000
"""Recipes that take long enough to ask the physics about for it to be said."""


def priors_of(session: Session) -> Mapping[str, PriorFunction]:
    """Return the physics as a function of recipes (draws x n) for each objective; nothing where the campaign wants none."""
    if session.spec.prior == "none":
        return {}
    spec = session.spec
    learned = goals.learned([objective.outcome for objective in spec.objectives], spec.space, spec.conditions())
    return {outcome: _prior(session, outcome) for outcome in learned}


def _prior(session: Session, outcome: str) -> PriorFunction:
    from models.physics_prior import DRAWS, prior_ensemble
    from models.prior_grid import on_grid

    spec, materials, parameters = session.spec, session.materials, parameters_of(session)

    def exact(recipes: pd.DataFrame) -> Floats:
        designs = spec.designs(recipes[list(spec.space)])
        return prior_ensemble(designs, outcome, draws=DRAWS, seed=spec.seed, materials=materials, parameters=parameters)

    def before(recipes: int) -> None:
        if recipes >= MANY:
            click.echo(
                f"asking the physics about {recipes} recipes, as prior knowledge: once a campaign, 10 368 take about a minute",
                err=True,
            )

    return on_grid(
        session.space, exact, keep=session.settings.data_dir / "prior" / session.name / outcome, before=before
    )


def before_results(
    recipes: pd.DataFrame, prior: PriorFunction, *, names: Sequence[str], earlier: pd.DataFrame
) -> pd.DataFrame:
    """Return n recipes with what the physics alone expects of each: `predicted`, `p05`, `p95` and a `reason` in numbers.

    Args:
        recipes: n rows, in the order in which they were chosen.
        prior: draws of the objective.
        names: columns whose values are names, for the reason.
        earlier: recipes that were proposed before, with the same columns of names.
    """
    low, middle, high = np.quantile(prior(recipes), [0.05, 0.5, 0.95], axis=0)
    known = pd.concat([earlier[list(names)], recipes[list(names)]]).astype(str)
    first = ~known.duplicated().to_numpy()[len(earlier) :] if names else np.zeros(len(recipes), dtype=bool)
    reasons = []
    for m, a, b, new, row in zip(middle, low, high, first, recipes.to_dict("records"), strict=True):
        why = "first of " + ", ".join(f"{name} {row[name]}" for name in names) if new else "of most promise by it"
        reasons.append(f"No result yet: the physics alone expects {m:.4g} ({a:.3g} to {b:.3g}); {why}.")
    return recipes.assign(predicted=middle, p05=low, p95=high, reason=reasons)

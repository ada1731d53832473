"""A campaign's prior: the physics, for each outcome that is wanted or bounded, with its doubt.

It is asked all over the space once a campaign, and what it said is kept in the data directory, so that every later
command begins at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import numpy as np
import numpy.typing as npt
import pandas as pd

from flows import evidence, goals
from flows.calibration import parameters_of
from flows.session import Session

if TYPE_CHECKING:
    from models.prior_grid import PriorFunction

MANY = 1000
"""Recipes that take long enough to ask the physics about for it to be said."""


def priors_of(session: Session) -> Mapping[str, PriorFunction]:
    """Return the physics as a function of recipes (draws x n) for each outcome that trials teach, the bounded ones too.

    Nothing where the campaign wants no prior.
    """
    if session.spec.prior == "none":
        return {}
    from models.physics_prior import DRAWS, ensemble_in_parts
    from models.prior_grid import tabulated

    spec = session.spec
    learned = goals.learned(evidence.wanted_outcomes(spec), spec.space, spec.conditions())
    ensemble = ensemble_in_parts(
        lambda recipes: spec.designs(recipes[list(spec.space)]),
        draws=DRAWS,
        seed=spec.seed,
        materials=session.materials,
        parameters=parameters_of(session),
    )

    def before(recipes: int) -> None:
        if recipes >= MANY:
            click.echo(
                f"asking the physics about {recipes} recipes, as prior knowledge: once a campaign, 10 368 take about a minute",
                err=True,
            )

    def after(outcome: str, error: float) -> None:
        click.echo(
            f"between them {outcome} is interpolated, off by {100 * error:.0f} % of what its simulators differ by (rms)",
            err=True,
        )

    return tabulated(
        session.space,
        ensemble,
        learned,
        keep=session.settings.data_dir / "prior" / session.name,
        before=before,
        after=after,
    )


def before_results(
    recipes: pd.DataFrame,
    prior: PriorFunction,
    *,
    names: Sequence[str],
    earlier: pd.DataFrame,
    most: npt.ArrayLike = np.inf,
) -> pd.DataFrame:
    """Return n recipes with what the physics alone expects of each: `predicted`, `p05`, `p95` and a `reason` in numbers.

    Args:
        recipes: n rows, in the order in which they were chosen.
        prior: draws of the objective.
        names: columns whose values are names, for the reason.
        earlier: recipes that were proposed before, with the same columns of names.
        most: what no cell of each recipe can exceed.
    """
    low, middle, high = np.quantile(np.minimum(prior(recipes), most), [0.05, 0.5, 0.95], axis=0)
    known = pd.concat([earlier[list(names)], recipes[list(names)]]).astype(str)
    first = ~known.duplicated().to_numpy()[len(earlier) :] if names else np.zeros(len(recipes), dtype=bool)
    reasons = []
    for m, a, b, new, row in zip(middle, low, high, first, recipes.to_dict("records"), strict=True):
        why = "first of " + ", ".join(f"{name} {row[name]}" for name in names) if new else "of most promise by it"
        reasons.append(f"No result yet: the physics alone expects {m:.4g} ({a:.3g} to {b:.3g}); {why}.")
    return recipes.assign(predicted=middle, p05=low, p95=high, reason=reasons)

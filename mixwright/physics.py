"""The physics in Python: tables of recipes in, tables of outcomes out."""

from __future__ import annotations

import pandas as pd


def simulate(recipes: pd.DataFrame, *, draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """Simulate n recipes at full fidelity.

    Args:
        recipes: any subset of the columns of a design table; the rest takes the published values.
        draws: posterior draws behind the 5-95 % band.
        seed: of the draws.

    Returns:
        n rows of outcomes, each with `_p05` and `_p95` beside it.

    Raises:
        Refusal: a recipe that the model does not speak of, with the bound and its reason.
    """
    from models.simulate import simulate as run

    return run(recipes, draws=draws, seed=seed).outcome


def predict(recipes: pd.DataFrame, outcome: str, *, draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """Draw one outcome of n recipes from the model's posterior, quickly: `mean`, `p05`, `p95`."""
    from models.simulate import ensemble

    values = ensemble(recipes, outcome, draws=draws, seed=seed, world=True)
    table = pd.DataFrame(values.T, index=recipes.index)
    return pd.DataFrame(
        {"mean": table.mean(axis=1), "p05": table.quantile(0.05, axis=1), "p95": table.quantile(0.95, axis=1)}
    )

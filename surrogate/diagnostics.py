"""How far the model deserves belief: leave-one-out parity, calibration of intervals, sensitivity, influence of the prior.

Sensitivity is Sobol's, of the posterior mean over the whole space: first order by Saltelli's and total by Jansen's
estimator (Saltelli et al. 2010, doi 10.1016/j.cpc.2009.09.018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr
from scipy.stats import qmc, spearmanr

from campaign.parameter import Category
from campaign.space import SearchSpace
from surrogate.belief import Belief

Floats = npt.NDArray[np.float64]
SOBOL_SAMPLES = 1024
LIKENESS_RECIPES = 256
COVERAGES = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Diagnostics:
    """All that speaks for or against the model."""

    parity: pd.DataFrame
    """Per result: told value, what the others predict (mean, p05, p95), z, and whether it contradicts them."""
    calibration: pd.DataFrame
    """Per nominal coverage: the share of results inside the leave-one-out interval."""
    sensitivity: pd.DataFrame
    """Per parameter: share of the variance by itself (first) and with all its interactions (total)."""
    trust: float
    """Share of the variance that the prior is believed to explain."""
    log_odds_prior: float
    """log of the odds, after the data, that the prior has any part (0 = even; NaN without prior)."""
    r2: float
    """Leave-one-out share of explained variance; below 0 the model predicts worse than the mean."""
    prior_likeness: float
    """Rank correlation over the space of what the prior says with what is believed: below 0 its ranking is turned round, which
    it may be and still be trusted, as a prior whose effects are told the wrong way explains as much. NaN without prior."""


def diagnose(space: SearchSpace, belief: Belief, x: Floats, told: Floats, *, sign: float) -> Diagnostics:
    """Return the diagnostics of a belief about n results (in the outcome's unit; `sign` turns the belief's)."""
    mean, sd = belief.leave_one_out()
    low, middle, high = (sign * belief.warp.back(mean + step * sd) for step in (-1.6449, 0.0, 1.6449))
    z = sign * (belief.warp.to(sign * told) - mean) / sd
    parity = space.restore(x).assign(
        told=told, predicted=middle, p05=np.minimum(low, high), p95=np.maximum(low, high), z=z, flagged=belief.flagged
    )
    chance = ndtr(z)
    # A flagged result was given a wide error afterwards: its interval missed it, whatever it holds now.
    held = [(np.abs(chance - 0.5) <= 0.5 * nominal) & ~belief.flagged for nominal in COVERAGES]
    inside = [float(rows.mean()) if len(told) else np.nan for rows in held]
    spread = float(((told - told.mean()) ** 2).sum()) if len(told) > 1 else 0.0
    r2 = 1.0 - float(((told - middle) ** 2).sum()) / spread if spread > 0 else np.nan
    without = float(belief.weights[belief.shares == 0.0].sum())
    log_odds = float(np.log(max(1.0 - without, 1e-12) / max(without, 1e-12))) if belief.prior.width else np.nan
    return Diagnostics(
        parity,
        pd.DataFrame({"nominal": COVERAGES, "observed": inside}),
        sensitivity(space, belief),
        belief.trust,
        log_odds,
        r2,
        _likeness(space, belief, sign) if belief.prior.width else np.nan,
    )


def _likeness(space: SearchSpace, belief: Belief, sign: float) -> float:
    x = space.encode(space.sample(LIKENESS_RECIPES, seed=0))
    said, believed = sign * belief.prior.values(x), belief.mean_sd(x)[0]
    return float(spearmanr(said, believed).statistic) if np.ptp(believed) > 0 else np.nan


def sensitivity(space: SearchSpace, belief: Belief, *, n: int = SOBOL_SAMPLES) -> pd.DataFrame:
    """Return Sobol indices of the posterior mean, parameters drawn evenly and independently of each other."""
    d = len(space.parameters)
    both = qmc.Sobol(2 * d, scramble=True, rng=np.random.default_rng(0)).random(n)
    a, b = _encoded(space, both[:, :d]), _encoded(space, both[:, d:])
    at_a, at_b = (belief.warp.back(belief.mean_sd(points)[0]) for points in (a, b))
    variance = max(float(np.concatenate([at_a, at_b]).var()), 1e-300)
    rows = []
    for j, name in enumerate(space.names):
        mixed = a.copy()
        mixed[:, j] = b[:, j]
        at_mixed = belief.warp.back(belief.mean_sd(mixed)[0])
        first = float((at_b * (at_mixed - at_a)).mean()) / variance
        total = 0.5 * float(((at_a - at_mixed) ** 2).mean()) / variance
        rows.append({"parameter": name, "first": max(first, 0.0), "total": total})
    return pd.DataFrame(rows)


def _encoded(space: SearchSpace, units: Floats) -> Floats:
    widths = [len(p.choices) if isinstance(p, Category) else 0 for p in space.parameters]
    return np.asarray(np.where(np.array(widths) > 0, np.floor(units * widths), units))

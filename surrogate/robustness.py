"""What slips in setting and weighing cost: the value at risk of a recipe under perturbation of what is set.

A recipe's loss is its believed value less the value that is still reached with a stated chance when speed is 2 % off or a
share 0.5 wt% off. It is taken from the posterior mean (the draws would need a joint covariance over all perturbed recipes)
and subtracted from every draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from campaign.errors import Refusal
from campaign.parameter import Category
from campaign.slip import read_slip
from campaign.space import SearchSpace
from surrogate.belief import Belief

Floats = npt.NDArray[np.float64]
SLIPS = 16
"""Perturbed recipes per recipe."""
FARTHEST = 5.0
"""A slip ends at so many times the larger bound, beyond which `Numeric.read` takes a setting for one in another unit."""
LEVEL = 0.1
"""The value that is missed with this chance is what counts."""


@dataclass(frozen=True)
class Slips:
    """How far off recipes may be mixed: normal sd per parameter, absolute or relative."""

    absolute: Mapping[str, float]
    relative: Mapping[str, float]

    @classmethod
    def of(cls, risk: Mapping[str, float | str] | None, space: SearchSpace) -> Slips | None:
        """Read e.g. `{"speed_rpm": "2%", "active_wt_pct": 0.5}`.

        Raises:
            Refusal: an unknown parameter, a category, a slip wider than the range, or neither a number nor a percentage.
        """
        if not risk:
            return None
        absolute: dict[str, float] = {}
        relative: dict[str, float] = {}
        for name, given in risk.items():
            parameter = space[name]
            if isinstance(parameter, Category):
                raise Refusal(f"risk: {name} is a choice among names; only numbers slip")
            try:
                size, share = read_slip(given)
            except Refusal as refusal:
                raise Refusal(f"risk of {name}: {refusal}") from None
            most = max(abs(parameter.low), abs(parameter.high))
            # A narrow or fixed range says nothing of how well it is set: 2 % of 300 K may be more than it spans.
            if size * (most if share else 1.0) > max(parameter.high - parameter.low, most):
                raise Refusal(
                    f"risk of {name}: {given!r} is wider than the range, {parameter.low:g} to {parameter.high:g}; "
                    "give the sd by which a setting is off, e.g. 2%"
                )
            (relative if share else absolute)[name] = size
        return cls(absolute, relative)

    def loss(self, belief: Belief, space: SearchSpace, x: Floats) -> Floats:
        """Return for m encoded recipes what slips cost at the stated level, on the belief's scale (>= 0)."""
        normals = qmc.MultivariateNormalQMC(np.zeros(len(space.parameters)), rng=np.random.default_rng(0)).random(SLIPS)
        mixed = space.restore(np.repeat(x, SLIPS, axis=0))
        for j, (name, parameter) in enumerate(zip(space.names, space.parameters, strict=True)):
            if isinstance(parameter, Category):
                continue
            push = np.tile(normals[:, j], len(x))
            mixed[name] = mixed[name] if name not in self.relative else mixed[name] * (1.0 + self.relative[name] * push)
            mixed[name] = mixed[name] if name not in self.absolute else mixed[name] + self.absolute[name] * push
            farthest = FARTHEST * max(abs(parameter.low), abs(parameter.high))
            mixed[name] = mixed[name].clip(-farthest, farthest)
        reached = belief.mean_sd(space.encode(mixed))[0].reshape(len(x), SLIPS)
        return np.asarray(np.clip(belief.mean_sd(x)[0] - np.quantile(reached, LEVEL, axis=1), 0.0, None))

"""What slips in setting and weighing cost: the value at risk of a recipe under perturbation of what is set.

A recipe's loss is its believed value less the value that is still reached with a stated chance when speed is 2 % off or a
share 0.5 wt% off. It is taken from the posterior mean (the draws would need a joint covariance over all perturbed recipes)
and subtracted from every draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from scipy.stats import qmc

from campaign.errors import Refusal
from campaign.parameter import Category
from campaign.slip import read_slip
from campaign.space import SearchSpace
from surrogate.belief import Belief

Floats = npt.NDArray[np.float64]
POINTS = 32
"""Perturbed recipes per recipe: what up to four numbers lose by slipping comes out within an eighth (rms over losses of many
shapes); with 16 within a quarter. Each is a question to the prior."""
AT_ONCE = 256
"""Recipes whose slips are looked at together: what bounds the memory."""
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
        lost = [np.zeros(0)]
        for part in np.split(x, range(AT_ONCE, len(x), AT_ONCE)):
            reached = belief.mean(space.encode(self._mixed(space, part))).reshape(len(part), POINTS)
            lost.append(belief.mean(part) - np.quantile(reached, LEVEL, axis=1, method="hazen"))
        return np.clip(np.concatenate(lost), 0.0, None)

    def _mixed(self, space: SearchSpace, x: Floats) -> pd.DataFrame:
        """Return m recipes each as mixed at `POINTS` slips, those of the first recipe first."""
        slipping = [*self.absolute, *self.relative]
        push = dict(zip(slipping, np.tile(_normals(len(slipping)), (len(x), 1)).T, strict=True))
        meant = space.restore(np.repeat(x, POINTS, axis=0))
        by = {name: size * push[name] for name, size in self.absolute.items()}
        by |= {name: size * push[name] * meant[name].to_numpy() for name, size in self.relative.items()}
        mixed = space.displaced(meant, by)
        for parameter in space.numeric:
            farthest = FARTHEST * max(abs(parameter.low), abs(parameter.high))
            mixed[parameter.name] = mixed[parameter.name].clip(-farthest, farthest)
        return mixed


@cache
def _normals(n: int) -> Floats:
    """Return `POINTS` x n equally likely slips: evenly spread, each of the n at the middles of equal shares of its chance."""
    cube = qmc.LatinHypercube(n, scramble=False, optimization="random-cd", rng=np.random.default_rng(0))
    return np.asarray(ndtri(cube.random(POINTS)))

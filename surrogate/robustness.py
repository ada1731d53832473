"""What slips in setting and weighing cost: the value at risk of a recipe under perturbation of what is set.

A recipe's loss is its believed value less the value that is still reached with a stated chance when speed is 2 % off or a
share 0.5 wt% off. It is taken from the posterior mean (the draws would need a joint covariance over all perturbed recipes)
and subtracted from every draw. Conditions on outcomes are judged at both ends of what slips leave of each outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from weakref import WeakKeyDictionary

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
from surrogate.process import Process

Floats = npt.NDArray[np.float64]
POINTS = 32
"""Perturbed recipes per recipe: what up to four numbers lose by slipping comes out within an eighth (rms over losses of many
shapes); with 16 within a quarter. Each is a question to the prior."""
AT_ONCE = 256
"""Recipes whose slips are looked at together: what bounds the memory."""
FARTHEST = 5.0
"""A slip ends at so many times the larger bound, beyond which `Numeric.read` takes a setting for one in another unit."""
LEVEL = 0.1
"""The value that is missed with this chance is what counts: nine of ten mixes reach it."""


@dataclass(frozen=True)
class Slips:
    """How far off recipes may be mixed: normal sd per parameter, absolute or relative."""

    absolute: Mapping[str, float]
    relative: Mapping[str, float]
    _known: WeakKeyDictionary[Process, dict[bytes, Floats]] = field(
        default_factory=WeakKeyDictionary, repr=False, compare=False
    )
    """Shifts of recipes, once worked out, as long as what is believed stays the same: searches come back to most of them."""

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

    def shifts(self, belief: Belief, space: SearchSpace, x: Floats) -> tuple[Floats, Floats]:
        """Return for m encoded recipes how far slips lower (<= 0) and raise (>= 0) an outcome, on the belief's scale.

        Each is passed with the stated chance: what is lost of an outcome wanted high is the first.
        """
        known, x = self._known.setdefault(belief.process, {}), np.ascontiguousarray(x)
        keys = [row.tobytes() for row in x]
        new = [i for i, key in enumerate(keys) if key not in known]
        known.update(zip([keys[i] for i in new], self._worked_out(belief, space, x[new]), strict=True))
        low, high = np.array([known[key] for key in keys]).reshape(len(x), 2).T
        return low, high

    def _worked_out(self, belief: Belief, space: SearchSpace, x: Floats) -> Floats:
        """Return m x 2 shifts."""
        ends = [np.zeros((2, 0))]
        for part in np.split(x, range(AT_ONCE, len(x), AT_ONCE)):
            reached = belief.mean(self._mixed(space, part)).reshape(len(part), POINTS)
            ends.append(np.quantile(reached, (LEVEL, 1.0 - LEVEL), axis=1, method="hazen") - belief.mean(part))
        low, high = np.concatenate(ends, axis=1)
        return np.stack([np.minimum(low, 0.0), np.maximum(high, 0.0)], axis=1)

    def _mixed(self, space: SearchSpace, x: Floats) -> Floats:
        """Return m encoded recipes each as mixed at `POINTS` slips, those of the first recipe first."""
        slipping = [*self.absolute, *self.relative]
        push = dict(zip(slipping, np.tile(_normals(len(slipping)), (len(x), 1)).T, strict=True))
        mixed = np.repeat(x, POINTS, axis=0)
        columns = {parameter: space.names.index(parameter.name) for parameter in space.numeric}
        meant = pd.DataFrame({p.name: p.unscale(mixed[:, j]) for p, j in columns.items()})
        by = {name: size * push[name] for name, size in self.absolute.items()}
        by |= {name: size * push[name] * meant[name].to_numpy() for name, size in self.relative.items()}
        slipped = space.displaced(meant, by)
        for parameter, j in columns.items():
            farthest = FARTHEST * max(abs(parameter.low), abs(parameter.high))
            mixed[:, j] = parameter.to_unit(slipped[parameter.name].clip(-farthest, farthest).to_numpy())
        return mixed


@cache
def _normals(n: int) -> Floats:
    """Return `POINTS` x n equally likely slips: evenly spread, each of the n at the middles of equal shares of its chance."""
    cube = qmc.LatinHypercube(n, scramble=False, optimization="random-cd", rng=np.random.default_rng(0))
    return np.asarray(ndtri(cube.random(POINTS)))

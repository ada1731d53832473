"""Covariance of outcomes over a mixed space, as a GPyTorch kernel.

    K(x, x') = 1 + (1 - rho^2) k(x, x') + rho^2 s^2 [ v f(x) f(x') + sum_k e_k(x) e_k(x') ]
    k(x, x') = s^2 [ M(r) + o^2 ] c(x, x'),    r^2 = sum_j ((x_j - x'_j) / l_j)^2,    M Matern-5/2
    c(x, x') = prod_i c_i,    c_i = exp(-h_i [names differ] - g_i |descriptors differ|^2)

`f` is a simulator's mean and `e_k` the directions of its spread and of doubt in it (`surrogate.prior`), rho^2 the share of
the variance that is the simulator's. `x_j` are numeric parameters on the unit scale, `i` runs over categories. `o^2` lets a
name shift the whole surface; `g` lets a name that was never tried borrow from names with like descriptors.
With three categories or more c is half that and half the mean of the c_i: recipes that differ in all names but one still have
that one's own effect in common, where the product alone would make them strangers.
All of s, o, l, h, g are inferred; each has a log-normal prior. The prior of `l` grows with the root of the dimension
(Hvarfner et al. 2024, doi 10.48550/arXiv.2402.02229), so that a large space starts smooth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor
from torch.nn import Parameter

from campaign.parameter import Category, Numeric
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]

MEAN_SD = 1.0
"""Prior sd of the constant, in units of the outcomes' sd."""
SCALE_FREEDOM = 0.3
"""Prior sd of the simulator's own scale factor around 1, beyond the common scale s [est]."""

MANY_CATEGORIES, ADDITIVE = 3, 0.5
"""With so many categories this share of the names' covariance is a sum over them [est]."""
FEW_NAMES = 64
"""Up to so many names a category's correlations are picked from a table of all pairs: beyond, that costs more than it saves."""


@dataclass(frozen=True)
class Layout:
    """Where numbers, names and descriptors stand in an encoded recipe, and the priors of the kernel's logs."""

    numeric: list[int]
    categorical: list[int]
    descriptor_distance: tuple[Floats | None, ...]
    """Per category, squared distance between any two names in scaled descriptors (levels x levels), or None."""
    levels: tuple[int, ...]
    """Per category, how many names it has."""

    @classmethod
    def of(cls, space: SearchSpace) -> Layout:
        """Read the layout off a space."""
        numeric = [i for i, p in enumerate(space.parameters) if isinstance(p, Numeric)]
        categorical = [i for i, p in enumerate(space.parameters) if isinstance(p, Category)]
        distances = tuple(descriptor_distance(space, category) for category in space.categories)
        return cls(numeric, categorical, distances, tuple(len(category.levels) for category in space.categories))

    @property
    def size(self) -> int:
        """Number of kernel parameters: l, h, g, s, o."""
        return len(self.numeric) + 2 * len(self.categorical) + 2

    def prior(self) -> tuple[Floats, Floats]:
        """Return mean and sd of the logs of (l…, h…, g…, s, o): two vectors of `size`."""
        d, c = max(1, len(self.numeric)), len(self.categorical)
        with_table = [distance is not None for distance in self.descriptor_distance]
        mean = [
            *[math.log(0.5) + 0.5 * math.log(d)] * len(self.numeric),
            # exp(-0.7): names correlate by one half before anything is known; with descriptors these take over.
            *[math.log(0.3) if table else math.log(0.7) for table in with_table],
            *[math.log(2.0)] * c,
            0.0,
            math.log(0.5),
        ]
        spread = [*[0.8] * len(self.numeric), *[1.0] * c, *[1.0] * c, 0.7, 0.7]
        return np.array(mean), np.array(spread)


class RecipeKernel(Kernel):
    """Covariance of outcomes for several shares rho^2 at once (its batch), the simulator's part included.

    Inputs are encoded recipes followed by the simulator's features (n x (p + width)), see `surrogate.prior`. All that is
    fitted stands in one parameter `logs` (shares x size) with a normal prior.
    """

    logs: Parameter
    rho2: Tensor

    def __init__(self, layout: Layout, rho2: Tensor, width: int) -> None:
        """Start at the priors' means."""
        super().__init__(batch_shape=rho2.shape)
        self.layout, self.width = layout, width
        centre, spread = (torch.from_numpy(values) for values in layout.prior())
        self.register_parameter("logs", Parameter(centre.repeat(len(rho2), 1)))
        prior = NormalPrior(centre, spread)  # type: ignore[no-untyped-call]  # GPyTorch's priors are untyped
        self.register_prior("logs_prior", prior, "logs")
        self.register_buffer("rho2", rho2)
        self._tables = [None if table is None else torch.from_numpy(table) for table in layout.descriptor_distance]
        self._every = [
            (torch.arange(levels), torch.eye(levels, dtype=torch.float64)) if levels <= FEW_NAMES else None
            for levels in layout.levels
        ]

    @property
    def simulator_scale(self) -> Tensor:
        """Scale rho s of the simulator's part, per share."""
        return self.rho2.sqrt() * self.logs[:, -2].exp()

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False, **_: Any) -> Tensor:
        """Return shares x n x m covariances (shares x n where `diag`)."""
        own = ((1.0 - self.rho2) * (2.0 * self.logs[:, -2]).exp())[:, None]
        offset = (2.0 * self.logs[:, -1]).exp()[:, None]
        simulated, common = self.simulator_scale.square()[:, None], MEAN_SD**2
        if diag:
            k = (common + own * (1.0 + offset)).expand(-1, x1.shape[-2])
            return k + simulated * (_freedom(self._features(x1)) * self._features(x2)).sum(-1) if self.width else k
        own, offset, simulated = own[..., None], offset[..., None], simulated[..., None]
        if torch.is_grad_enabled():
            k = common + own * (self._matern(x1, x2) + offset) * self._names(x1, x2)
        else:
            k = self._matern(x1, x2).add_(offset).mul_(own).mul_(self._names(x1, x2)).add_(common)
        return k + simulated * (_freedom(self._features(x1)) @ self._features(x2).mT) if self.width else k

    def _features(self, x: Tensor) -> Tensor:
        return x[..., x.shape[-1] - self.width :]

    def _matern(self, x1: Tensor, x2: Tensor) -> Tensor:
        d = len(self.layout.numeric)
        if not d:
            shapes = self.rho2.shape, x1.shape[:-2], x2.shape[:-2]
            batch = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch's is untyped
            return torch.ones(*batch, x1.shape[-2], x2.shape[-2], dtype=x1.dtype)
        a, b = (x[..., self.layout.numeric] * (-self.logs[:, None, :d]).exp() for x in (x1, x2))
        squared = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :] - 2.0 * a @ b.mT
        return torch.as_tensor(_Matern.apply(squared))  # type: ignore[no-untyped-call]  # torch's Function is untyped

    def _names(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return shares x n x m correlations of the recipes' names."""
        alone = [self._alike(i, x1, x2) for i in range(len(self.layout.categorical))]
        if not alone:
            return torch.ones((), dtype=x1.dtype)
        product = reduce(torch.mul, alone)
        if len(alone) < MANY_CATEGORIES:
            return product
        return (1.0 - ADDITIVE) * product + ADDITIVE * torch.stack(alone).mean(0)

    def _alike(self, i: int, x1: Tensor, x2: Tensor) -> Tensor:
        """Return shares x n x m correlations of one category's names, of few names picked from a table of all."""
        first, second = (x[..., self.layout.categorical[i]].long() for x in (x1, x2))
        known = self._every[i]
        if known is None:
            return self._correlation(i, first, second)
        every, ones = known
        # Picked by products with zeros and ones, which are quick both ways: the exponentials are taken of the table alone.
        return ones[first] @ self._correlation(i, every, every) @ ones[second].mT

    def _correlation(self, i: int, first: Tensor, second: Tensor) -> Tensor:
        """Return shares x k x l correlations between k and l names of one category."""
        d, c, table = len(self.layout.numeric), len(self.layout.categorical), self._tables[i]
        a, b = first[..., :, None], second[..., None, :]
        apart = self.logs[:, d + i, None, None].exp() * (a != b)
        if table is not None:
            apart = apart + self.logs[:, d + c + i, None, None].exp() * table[a, b]
        return (-apart).exp()


class _Matern(torch.autograd.Function):
    """Matern-5/2 of squared scaled distances: (1 + r + r^2/3) exp(-r), r^2 = 5 d^2; its slope in d^2 is -5/6 (1 + r) exp(-r).

    In place and with its own slope: at thousands of recipes the memory of each step costs more than its arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, squared: Tensor) -> Tensor:
        r = (5.0 * squared).clamp_min_(1e-20).sqrt_()
        decay = (-r).exp_()
        linear = (1.0 + r).mul_(decay)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(linear)
        return r.square_().div_(3.0).mul_(decay).add_(linear)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        linear: Tensor = ctx.saved_tensors[0]
        return -5.0 / 6.0 * linear * grads[0]


def _freedom(features: Tensor) -> Tensor:
    """The simulator's mean may be stretched a little; its directions of spread are as wide as they came."""
    return torch.cat([SCALE_FREEDOM**2 * features[..., :1], features[..., 1:]], dim=-1)


def descriptor_distance(space: SearchSpace, category: Category) -> Floats | None:
    """Return squared distances between a category's names in its descriptors, or None where it has none.

    Numbers are scaled to unit sd, texts become one column a value, and a property that is absent (NaN) is itself a
    property. The sum is divided by the number of properties, so that a long table does not make all names strangers.
    """
    table = space.descriptors.get(category.name)
    if table is None:
        return None
    columns: list[Floats] = []
    for name in table.columns:
        column = table.loc[list(category.levels), name]
        numbers = column.to_numpy(dtype=float, na_value=np.nan) if _is_numeric(column.tolist()) else None
        if numbers is None:
            texts = [str(value) for value in column]
            columns += [np.array([text == value for text in texts], dtype=float) for value in sorted(set(texts))]
            continue
        absent = ~np.isfinite(numbers)
        if absent.all():
            continue
        columns += [np.where(absent, numbers[~absent].mean(), numbers), absent.astype(float)]
    scaled = [(column - column.mean()) / column.std() for column in columns if column.std() > 0]
    if not scaled:
        return None
    points = np.stack(scaled, axis=1)
    return np.asarray(((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2) / (2.0 * len(scaled)))


def _is_numeric(values: list[object]) -> bool:
    return all(value is None or isinstance(value, int | float | np.number) for value in values)

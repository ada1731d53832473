"""Covariance of outcomes over a mixed space.

    k(x, x') = s^2 [ M(r) + o^2 ] c(x, x'),    r^2 = sum_j ((x_j - x'_j) / l_j)^2,    M Matern-5/2
    c(x, x') = prod_i exp(-h_i [names differ] - g_i |descriptors differ|^2)

`x_j` are numeric parameters on the unit scale, `i` runs over categories. `o^2` lets a name shift the whole surface; `g`
lets a name that was never tried borrow from names with like descriptors. All of s, o, l, h, g are inferred; each
has a log-normal prior. The prior of `l` grows with the root of the dimension (Hvarfner et al. 2024,
doi 10.48550/arXiv.2402.02229), so that a large space starts smooth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from campaign.parameter import Category, Numeric
from campaign.space import SearchSpace

SQRT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Layout:
    """Where numbers, names and descriptors stand in an encoded recipe, and the priors of the kernel's logs."""

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    descriptor_distance: tuple[Tensor | None, ...]
    """Per category, squared distance between any two names in scaled descriptors (levels x levels), or None."""

    @classmethod
    def of(cls, space: SearchSpace) -> Layout:
        """Read the layout off a space."""
        numeric = tuple(i for i, p in enumerate(space.parameters) if isinstance(p, Numeric))
        categorical = tuple(i for i, p in enumerate(space.parameters) if isinstance(p, Category))
        distances = tuple(descriptor_distance(space, category) for category in space.categories)
        return cls(numeric, categorical, distances)

    @property
    def size(self) -> int:
        """Number of kernel parameters: l, h, g, s, o."""
        return len(self.numeric) + 2 * len(self.categorical) + 2

    def prior(self) -> tuple[Tensor, Tensor]:
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
        return torch.tensor(mean, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64)


@dataclass(frozen=True)
class Gaps:
    """Differences between n and m recipes, computed once and used at every step of a fit."""

    squared: Tensor
    """d x n x m, per numeric parameter."""
    differs: Tensor
    """c x n x m, 1 where names differ."""
    described: Tensor
    """c x n x m, squared descriptor distance (0 without descriptors)."""

    @classmethod
    def between(cls, layout: Layout, a: Tensor, b: Tensor) -> Gaps:
        """Compare encoded recipes a (n x p) with b (m x p)."""
        numeric_a, numeric_b = a[:, list(layout.numeric)].T, b[:, list(layout.numeric)].T
        squared = (numeric_a[:, :, None] - numeric_b[:, None, :]) ** 2
        names_a, names_b = a[:, list(layout.categorical)].T.long(), b[:, list(layout.categorical)].T.long()
        differs = (names_a[:, :, None] != names_b[:, None, :]).to(torch.float64)
        described = torch.zeros_like(differs)
        for i, distance in enumerate(layout.descriptor_distance):
            if distance is not None:
                described[i] = distance[names_a[i][:, None], names_b[i][None, :]]
        return cls(squared, differs, described)


def covariance(layout: Layout, gaps: Gaps, logs: Tensor) -> Tensor:
    """Return k (n x m) for the kernel parameters `logs` (l…, h…, g…, s, o)."""
    d, c = len(layout.numeric), len(layout.categorical)
    inverse = torch.exp(-2.0 * logs[:d])
    r2 = torch.tensordot(inverse, gaps.squared, dims=1) if d else torch.zeros(1, dtype=torch.float64)
    r = SQRT5 * torch.sqrt(r2 + 1e-12)  # 1e-12: the root's slope must stay finite where recipes coincide
    matern = (1.0 + r + r * r / 3.0) * torch.exp(-r)
    scale, offset = torch.exp(2.0 * logs[-2]), torch.exp(2.0 * logs[-1])
    if not c:
        return scale * (matern + offset)
    weights, slopes = torch.exp(logs[d : d + c]), torch.exp(logs[d + c : d + 2 * c])
    away = torch.tensordot(weights, gaps.differs, dims=1) + torch.tensordot(slopes, gaps.described, dims=1)
    return scale * (matern + offset) * torch.exp(-away)


def diagonal(logs: Tensor, n: int) -> Tensor:
    """Return k(x, x) for n recipes; it is the same for each."""
    return (torch.exp(2.0 * logs[-2]) * (1.0 + torch.exp(2.0 * logs[-1]))).expand(n)


def descriptor_distance(space: SearchSpace, category: Category) -> Tensor | None:
    """Return squared distances between a category's names in its descriptors, or None where it has none.

    Numbers are scaled to unit sd, texts become one column a value, and a property that is absent (NaN) is itself a
    property. The sum is divided by the number of properties, so that a long table does not make all names strangers.
    """
    table = space.descriptors.get(category.name)
    if table is None:
        return None
    columns: list[npt.NDArray[np.float64]] = []
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
    points = torch.tensor(np.stack(scaled, axis=1))
    squared: Tensor = torch.cdist(points, points) ** 2
    return squared / (2.0 * len(scaled))


def _is_numeric(values: list[object]) -> bool:
    return all(value is None or isinstance(value, int | float | np.number) for value in values)

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

from campaign.parameter import Category, Numeric
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Where numbers, names and descriptors stand in an encoded recipe, and the priors of the kernel's logs."""

    numeric: list[int]
    categorical: list[int]
    descriptor_distance: tuple[Floats | None, ...]
    """Per category, squared distance between any two names in scaled descriptors (levels x levels), or None."""

    @classmethod
    def of(cls, space: SearchSpace) -> Layout:
        """Read the layout off a space."""
        numeric = [i for i, p in enumerate(space.parameters) if isinstance(p, Numeric)]
        categorical = [i for i, p in enumerate(space.parameters) if isinstance(p, Category)]
        distances = tuple(descriptor_distance(space, category) for category in space.categories)
        return cls(numeric, categorical, distances)

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


@dataclass(frozen=True)
class Gaps:
    """Differences between n and m recipes, computed once and used at every step of a fit."""

    squared: Floats
    """d x n x m, per numeric parameter."""
    differs: Floats
    """c x n x m, 1 where names differ."""
    described: Floats
    """c x n x m, squared descriptor distance (0 without descriptors)."""

    @classmethod
    def between(cls, layout: Layout, a: Floats, b: Floats) -> Gaps:
        """Compare encoded recipes a (n x p) with b (m x p)."""
        numeric_a, numeric_b = a[:, layout.numeric].T, b[:, layout.numeric].T
        squared = (numeric_a[:, :, None] - numeric_b[:, None, :]) ** 2
        names_a, names_b = a[:, layout.categorical].T.astype(int), b[:, layout.categorical].T.astype(int)
        differs = (names_a[:, :, None] != names_b[:, None, :]).astype(float)
        described = np.zeros_like(differs)
        for i, distance in enumerate(layout.descriptor_distance):
            if distance is not None:
                described[i] = distance[names_a[i][:, None], names_b[i][None, :]]
        return cls(squared, differs, described)


@dataclass(frozen=True)
class Terms:
    """The factors of a covariance, kept for its slopes."""

    matern: Floats
    steep: Floats
    """-2 dM/d(r^2): what the slopes in log l have in common."""
    names: Floats
    """c(x, x')."""


def terms(layout: Layout, gaps: Gaps, logs: Floats, *, slopes: bool = False) -> Terms:
    """Return the factors for the kernel parameters `logs` (l…, h…, g…, s, o)."""
    d, c = len(layout.numeric), len(layout.categorical)
    shape = gaps.squared.shape[1:] if d else gaps.differs.shape[1:]
    r = np.sqrt(5.0 * np.tensordot(np.exp(-2.0 * logs[:d]), gaps.squared, axes=1)) if d else np.zeros(shape)
    decay = np.exp(-r)
    matern = (1.0 + r + r * r / 3.0) * decay
    steep = (5.0 / 3.0) * (1.0 + r) * decay if slopes else matern
    if not c:
        return Terms(matern, steep, np.ones(shape))
    away = np.tensordot(np.exp(logs[d : d + c]), gaps.differs, axes=1)
    away += np.tensordot(np.exp(logs[d + c : d + 2 * c]), gaps.described, axes=1)
    return Terms(matern, steep, np.exp(-away))


def covariance(layout: Layout, gaps: Gaps, logs: Floats) -> Floats:
    """Return k (n x m) for the kernel parameters `logs` (l…, h…, g…, s, o)."""
    parts = terms(layout, gaps, logs)
    return np.asarray(np.exp(2.0 * logs[-2]) * (parts.matern + np.exp(2.0 * logs[-1])) * parts.names)


def slopes(layout: Layout, gaps: Gaps, logs: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return k (n x n) and sum_ij weight_ij dk_ij/dlogs for every kernel parameter."""
    parts = terms(layout, gaps, logs, slopes=True)
    d, c = len(layout.numeric), len(layout.categorical)
    scale, offset = np.exp(2.0 * logs[-2]), np.exp(2.0 * logs[-1])
    k = scale * (parts.matern + offset) * parts.names
    lengths = weight * (scale * parts.steep * parts.names)
    whole = weight * k
    slope = np.empty(layout.size)
    slope[:d] = [np.exp(-2.0 * logs[j]) * np.vdot(lengths, gaps.squared[j]) for j in range(d)]
    slope[d : d + c] = [-np.exp(logs[d + i]) * np.vdot(whole, gaps.differs[i]) for i in range(c)]
    slope[d + c : d + 2 * c] = [-np.exp(logs[d + c + i]) * np.vdot(whole, gaps.described[i]) for i in range(c)]
    slope[-2] = 2.0 * whole.sum()
    slope[-1] = 2.0 * scale * offset * np.vdot(weight, parts.names)
    return k, slope


def diagonal(logs: Floats, n: int) -> Floats:
    """Return k(x, x) for n recipes; it is the same for each."""
    return np.full(n, np.exp(2.0 * logs[-2]) * (1.0 + np.exp(2.0 * logs[-1])))


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

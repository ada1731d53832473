"""Parameters of the physics: a data file with unit, prior, posterior, tag and source, and its unconstrained coordinates.

Each parameter x lives in coordinates where its prior is a standard normal: u = T(x), z = (u - T(prior)) / prior_sd with
T the logarithm, the logit or the identity. Calibration moves z, and its Laplace posterior is a covariance in z; a
parameter that no measurement identifies stays at z = 0 with its prior's width. `fixed` ones are definitions or have
no bearing on anything measured.

Source: each row of `parameters.csv` carries its own tag and reason; valid for what `models.limits` does not refuse.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from campaign.errors import Refusal
from models import discrepancy_file
from models.discrepancy import Discrepancy

Transform = Literal["log", "logit", "identity", "fixed"]
Values = Mapping[str, Tensor]
"""Parameter name -> value, each of one shape that broadcasts against designs: () or (draws, 1)."""

FOLDER = Path(__file__).parent
FILE, COVARIANCE_FILE = "parameters.csv", "posterior.csv"
COLUMNS = ("name", "unit", "transform", "prior", "prior_sd", "posterior", "posterior_sd", "tag", "source")


@dataclass(frozen=True)
class Parameter:
    """One row of the parameter file; `prior_sd` and `posterior_sd` are in the transformed coordinate."""

    name: str
    unit: str
    transform: Transform
    prior: float
    prior_sd: float
    posterior: float
    posterior_sd: float
    tag: str
    source: str

    @property
    def free(self) -> bool:
        """Whether calibration may move it."""
        return self.transform != "fixed"


def forward(value: float, transform: Transform) -> float:
    """T(x): the unconstrained coordinate of a value."""
    if transform == "log":
        return math.log(value)
    if transform == "logit":
        return math.log(value / (1.0 - value))
    return value


def inverse(u: Tensor, transform: Transform) -> Tensor:
    """The value at an unconstrained coordinate."""
    if transform == "log":
        return torch.exp(u)
    if transform == "logit":
        return torch.sigmoid(u)
    return u


@dataclass(frozen=True)
class Parameters:
    """Every parameter, the point of the posterior in z and its covariance.

    Attributes:
        rows: in the file's order.
        z: posterior mode in the coordinates of the free parameters, (p,).
        covariance: Laplace covariance in z, (p, p); the identity before any calibration.
        discrepancy: what these parameters leave unexplained.
    """

    rows: tuple[Parameter, ...]
    z: np.ndarray
    covariance: np.ndarray
    discrepancy: Discrepancy = field(default_factory=discrepancy_file.prior)

    @property
    def free(self) -> tuple[Parameter, ...]:
        """Free parameters, in the order of z."""
        return tuple(row for row in self.rows if row.free)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of z."""
        return tuple(row.name for row in self.free)

    def values(self, z: Tensor | None = None, *, by_design: bool = False) -> Values:
        """Values at z: (p,) gives scalars, (draws, p) gives (draws, 1); None gives the posterior mode.

        With `by_design` z is (..., designs, p), and the values have shape (..., designs): each design under its own.
        """
        at = torch.as_tensor(self.z, dtype=torch.float64) if z is None else z
        out: dict[str, Tensor] = {}
        for row in self.rows:
            if not row.free:
                out[row.name] = torch.tensor(row.prior, dtype=torch.float64, device=at.device)
        for column, row in enumerate(self.free):
            u = forward(row.prior, row.transform) + row.prior_sd * at[..., column]
            value = inverse(u, row.transform)
            out[row.name] = value if value.ndim == 0 or by_design else value[..., None]
        return out

    def draw(self, draws: int, *, seed: int, prior: bool = False) -> Tensor:
        """Samples of z, (draws, p), from the Laplace posterior (or the prior)."""
        generator = torch.Generator().manual_seed(seed)
        white = torch.randn(draws, len(self.z), generator=generator, dtype=torch.float64)
        if prior:
            return white
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(len(self.z)))
        return torch.as_tensor(self.z) + white @ torch.as_tensor(root).T


def _number(text: str, missing: float) -> float:
    return float(text) if text.strip() else missing


@lru_cache(maxsize=8)
def load(folder: Path = FOLDER) -> Parameters:
    """Read the parameter file of a folder and, where a calibration has written them, posterior and discrepancy.

    Raises:
        Refusal: a column is missing or the covariance speaks of other parameters.
    """
    file, covariance_file = folder / FILE, folder / COVARIANCE_FILE
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise Refusal(f"{file}, row 1: columns must be {','.join(COLUMNS)}")
        rows = tuple(_parameter(cells) for cells in reader)
    free = [row for row in rows if row.free]
    z = np.array([(forward(r.posterior, r.transform) - forward(r.prior, r.transform)) / r.prior_sd for r in free])
    if not covariance_file.exists():
        return Parameters(rows, z, np.eye(len(free)))
    with covariance_file.open(newline="", encoding="utf-8") as stream:
        table = list(csv.reader(stream))
    if table[0] != [row.name for row in free]:
        raise Refusal(f"{covariance_file}: its columns are not the free parameters of {file}; calibrate again")
    return Parameters(rows, z, np.array(table[1:], dtype=float), discrepancy_file.load(folder, len(free)))


_TRANSFORMS: Mapping[str, Transform] = {"log": "log", "logit": "logit", "identity": "identity", "fixed": "fixed"}


def _parameter(cells: Mapping[str, str]) -> Parameter:
    transform = _TRANSFORMS.get(cells["transform"])
    if transform is None:
        raise Refusal(
            f"parameter {cells['name']}: transform {cells['transform']!r} is none of log, logit, identity, fixed"
        )
    prior = float(cells["prior"])
    return Parameter(
        name=cells["name"],
        unit=cells["unit"],
        transform=transform,
        prior=prior,
        prior_sd=float(cells["prior_sd"]),
        posterior=_number(cells["posterior"], prior),
        posterior_sd=_number(cells["posterior_sd"], float(cells["prior_sd"])),
        tag=cells["tag"],
        source=cells["source"],
    )


def with_posterior(
    parameters: Parameters, z: np.ndarray, *, covariance: np.ndarray, discrepancy: Discrepancy | None = None
) -> Parameters:
    """The same parameters with another posterior; None keeps the discrepancy."""
    return replace(parameters, z=z, covariance=covariance, discrepancy=discrepancy or parameters.discrepancy)


def save(parameters: Parameters, *, folder: Path = FOLDER) -> None:
    """Write the parameter file, the covariance and the discrepancy."""
    values = parameters.values()
    sd = dict(zip(parameters.names, np.sqrt(np.diag(parameters.covariance)), strict=True))
    with (folder / FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in parameters.rows:
            posterior = (
                [f"{float(values[row.name]):.5g}", f"{sd[row.name] * row.prior_sd:.3g}"] if row.free else ["", ""]
            )
            prior = [f"{row.prior:g}", f"{row.prior_sd:g}"]
            writer.writerow([row.name, row.unit, row.transform, *prior, *posterior, row.tag, row.source])
    with (folder / COVARIANCE_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(parameters.names)
        writer.writerows([[f"{cell:.4g}" for cell in row] for row in parameters.covariance])
    discrepancy_file.save(parameters.discrepancy, folder)
    load.cache_clear()

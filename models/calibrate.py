"""Calibrate the physics from measured rows: many-start mode, Laplace posterior, identifiability, leave-one-mix-out.

    python -m models.calibrate            fits the published rows and writes parameters.csv and posterior.csv
    python -m models.calibrate --leave-one-out    also prints the errors on mixes that were left out, and the goals

Rows with `use` fit or range enter (equalities by value, bounds and words censored); `check` rows are only compared. A
parameter is called identified where the posterior is at most 0.9 of its prior's width. Source: issue 4, point 7.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaign.materials import Materials
from models import facts, likelihood
from models.fit import fit, laplace
from models.likelihood import Likelihood
from models.measured import Rows, read_rows
from models.parameters import Parameters, load, save, with_posterior

FITTED = ("fit", "range")
IDENTIFIED_BELOW = 0.9
"""A parameter is identified where its posterior is narrower than this share of its prior."""

_DISTINCT = 0.5
"""Starts that end within this of the best objective have found the same minimum."""


@dataclass(frozen=True)
class Calibration:
    """What a fit found.

    Attributes:
        parameters: with the posterior mode and its Laplace covariance.
        rows: what was fitted.
        objectives: at the end of each start, rising.
        eigenvalues: of the data's information in prior-standardised coordinates, falling: above 1 the data say more than
            the prior along that direction.
    """

    parameters: Parameters
    rows: Rows
    objectives: np.ndarray
    eigenvalues: np.ndarray

    @property
    def same_minimum(self) -> int:
        """How many starts found the best minimum."""
        return int((self.objectives < self.objectives[0] + _DISTINCT).sum())

    def table(self) -> pd.DataFrame:
        """One row a free parameter: prior, posterior, shrinkage, identified or at its prior."""
        sd = np.sqrt(np.diag(self.parameters.covariance))
        values = self.parameters.values()
        return pd.DataFrame(
            {
                "name": list(self.parameters.names),
                "unit": [row.unit for row in self.parameters.free],
                "prior": [row.prior for row in self.parameters.free],
                "posterior": [float(values[name]) for name in self.parameters.names],
                "z": self.parameters.z,
                "posterior_over_prior_sd": sd,
                "identified": sd < IDENTIFIED_BELOW,
            }
        )


def calibrate(
    rows: pd.DataFrame,
    *,
    parameters: Parameters | None = None,
    materials: Materials | None = None,
    starts: int = 1,
    seed: int = 0,
    corrections: int = 2,
) -> Calibration:
    """Fit the parameters to measured rows.

    The search runs quick; then the fit is repeated with each row corrected by full less quick at the last point, so that
    what is fitted is full, with the slopes of quick.

    Args:
        rows: the columns of `paper_facts.csv`; where there is a column `use`, rows with `fit` and `range` are fitted.
        parameters: the file whose priors hold; None is ours. Its posterior is not used.
        materials: our tables and a lab's own rows.
        starts: the prior's centre, and starts - 1 draws from the prior.
        seed: of the starts.
        corrections: repetitions with full; 0 fits quick alone.
    """
    known = parameters or load()
    read = read_rows(rows, materials=materials)
    data = likelihood.build(read, fitted(rows))
    begin = torch.cat(
        [torch.zeros(1, len(known.z), dtype=torch.float64), 0.7 * known.draw(starts - 1, seed=seed, prior=True)]
    )
    weight = torch.ones(starts, len(data.mix), dtype=torch.float64)
    residuals = _residuals(data, known)
    with torch.no_grad():
        found = fit(residuals, begin, weight=weight)
        order = torch.argsort(found.objective)
        z, objectives = found.z[order[0]], found.objective[order]
        for _ in range(corrections):
            data = _corrected(data, known, z)
            residuals = _residuals(data, known)
            z = fit(residuals, z[None], weight=weight[:1]).z[0]
    covariance = laplace(residuals, z, weight=weight[0])
    information = torch.linalg.inv(covariance) - torch.eye(len(z), dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(information).flip(0)
    fitted_parameters = with_posterior(known, z.numpy(), covariance=covariance.detach().numpy())
    return Calibration(fitted_parameters, read, objectives.numpy(), eigenvalues.detach().numpy())


def _corrected(data: Likelihood, known: Parameters, z: Tensor) -> Likelihood:
    p = known.values(z)
    return data.shifted_by(data.rows.predict(p, fidelity="full"), data.rows.predict(p))


def fitted(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are fitted."""
    return rows["use"].isin(FITTED).to_numpy() if "use" in rows else np.ones(len(rows), dtype=bool)


def _residuals(data: Likelihood, known: Parameters) -> likelihood.OfZ:
    return lambda z: data.residuals(data.rows.predict(known.values(z)))


def leave_one_out(
    rows: pd.DataFrame,
    calibration: Calibration,
    *,
    materials: Materials | None = None,
    draws: int = facts.DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every row by a fit that has not seen any row of its mix.

    Each mix is a lane of one batched fit that starts from the full calibration; the lanes' own Laplace covariances give
    the bands. Returns the table of `facts.score`.
    """
    known, read = calibration.parameters, calibration.rows
    data = likelihood.build(read, fitted(rows))
    mixes = np.unique(read.mix)
    weight = torch.as_tensor((data.mix[None, :] != mixes[:, None]).astype(float))
    start = torch.as_tensor(known.z).expand(len(mixes), -1)
    with torch.no_grad():
        data = _corrected(data, known, torch.as_tensor(known.z))
        lanes = fit(_residuals(data, known), start, weight=weight)
        lane_of_design = np.zeros(len(read.designs), dtype=int)
        lane_of_design[read.design] = np.searchsorted(mixes, read.mix)
        z = lanes.z[lane_of_design]
        sample = torch.cat([z[None], _draw(lanes.z, lanes.covariance, draws, seed)[:, lane_of_design]])
        centre = read.predict(known.values(z, by_design=True), fidelity="full", by_design=True)
        quick = read.predict(known.values(sample, by_design=True), by_design=True)
    return facts.verdicts(rows, read, facts.predictive(read, centre, quick, materials=materials, seed=seed))


def _draw(z: Tensor, covariance: Tensor, draws: int, seed: int) -> Tensor:
    """Samples of every lane, (draws, lanes, p)."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(draws, *z.shape, generator=generator, dtype=z.dtype)
    root = torch.linalg.cholesky(covariance + 1e-12 * torch.eye(z.shape[1], dtype=z.dtype))
    drawn: Tensor = z + (root @ white[..., None])[..., 0]
    return drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the published rows, write the parameter file, print what was found."""
    from models import calibration_report as report  # it prints what this module finds

    parser = argparse.ArgumentParser(prog="python -m models.calibrate", description=__doc__)
    parser.add_argument("--rows", type=Path, default=facts.PAPER, help="measured rows (CSV)")
    parser.add_argument("--starts", type=int, default=8, help="starts of the fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--leave-one-out", action="store_true", help="leave each mix out in turn and print the goals")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    asked = parser.parse_args(arguments)
    rows = pd.read_csv(asked.rows)
    found = calibrate(rows, starts=asked.starts, seed=asked.seed)
    scored = facts.score(rows, parameters=found.parameters)
    lines = [*report.calibration_lines(found), *report.row_lines(scored), *report.summary_lines("fitted", scored)]
    if asked.leave_one_out:
        left_out = leave_one_out(rows, found)
        lines += [
            *report.row_lines(left_out),
            *report.summary_lines("left out", left_out),
            *report.goal_lines(left_out),
        ]
    if not asked.dry_run:
        save(found.parameters)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

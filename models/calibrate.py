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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaign.materials import Materials
from models import facts, likelihood
from models.discrepancy import Seen, Sizes, infer
from models.fit import covariance, fit, jacobian
from models.likelihood import Likelihood
from models.measured import Rows, read_rows
from models.parameters import Parameters, load, save, with_posterior

FITTED = ("fit", "range")
IDENTIFIED_BELOW = 0.9
"""A parameter is identified where its posterior is narrower than this share of its prior."""

_NESTED = 2
"""Times that a left-out fit and its sizes of the discrepancy are found in turn."""

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
    unknown = replace(known.discrepancy, sizes=known.discrepancy.prior, seen=None)
    sizes = unknown.sizes
    with torch.no_grad():
        found = fit(_residuals(data, known), begin, root=data.root(sizes).expand(starts, -1, -1))
        order = torch.argsort(found.objective)
        z, slope, objectives = found.z[order[0]], found.jacobian[order[0]], found.objective[order]
        for _ in range(corrections):
            sizes = infer(unknown, _seen(data, known, z, slope), z)
            data = _corrected(data, known, z)
            lane = fit(_residuals(data, known), z[None], root=data.root(sizes)[None])
            z, slope = lane.z[0], lane.jacobian[0]
    slope = jacobian(_residuals(data, known), z).detach()
    with torch.no_grad():
        seen = _seen(data, known, z, slope)
        sizes = infer(unknown, seen, z)
        spread = covariance(slope, data.root(sizes))
    information = torch.linalg.inv(spread) - torch.eye(len(z), dtype=torch.float64)
    left = replace(unknown, sizes=sizes, seen=_shared(seen))
    fitted_parameters = with_posterior(known, z.numpy(), covariance=spread.numpy(), discrepancy=left)
    return Calibration(fitted_parameters, read, objectives.numpy(), torch.linalg.eigvalsh(information).flip(0).numpy())


def _seen(data: Likelihood, known: Parameters, z: Tensor, slope: Tensor, *, keep: np.ndarray | None = None) -> Seen:
    """The rows compared by value, at a mode z with D r / d z; those of `keep` only."""
    equal = len(data.equal)
    some = torch.arange(equal) if keep is None else torch.as_tensor(np.flatnonzero(keep[:equal]))
    off = -data.residuals(data.rows.predict(known.values(z)))[:equal]
    return Seen(data.terms.take(some), off[some], slope[some])


def _shared(seen: Seen) -> Seen:
    """Only the rows that say something of other recipes."""
    some = torch.nonzero((seen.terms.level != 0) | (seen.terms.slope != 0))[:, 0]
    return Seen(seen.terms.take(some), seen.residual[some], seen.jacobian[some])


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

    Each mix is a lane of one batched fit that starts from the full calibration (a start, no more); sizes of the
    discrepancy, covariance and worlds are the lane's own. Returns the table of `facts.score`.
    """
    known, read = calibration.parameters, calibration.rows
    data = likelihood.build(read, fitted(rows))
    mixes = np.unique(read.mix)
    kept = data.mix[None, :] != mixes[:, None]
    start = torch.as_tensor(known.z).expand(len(mixes), -1)
    unknown = replace(known.discrepancy, sizes=known.discrepancy.prior, seen=None)
    sizes = [unknown.sizes for _ in mixes]
    with torch.no_grad():
        data = _corrected(data, known, torch.as_tensor(known.z))
        for _ in range(_NESTED):
            lanes = fit(_residuals(data, known), start, root=_roots(data, sizes, kept))
            start = lanes.z
            seen = [
                _seen(data, known, z, slope, keep=keep)
                for z, slope, keep in zip(lanes.z, lanes.jacobian, kept, strict=True)
            ]
            sizes = [infer(unknown, some, z) for some, z in zip(seen, lanes.z, strict=True)]
        root = _roots(data, sizes, kept)
        own = np.zeros(len(read.designs), dtype=int)
        own[read.design] = np.searchsorted(mixes, read.mix)
        drawn = _draw(lanes.z, covariance(lanes.jacobian, root), draws, seed)
        sample = torch.cat([lanes.z[own][None], drawn[:, own]])
        centre = read.predict(known.values(lanes.z[own], by_design=True), fidelity="full", by_design=True)
        quick = read.predict(known.values(sample, by_design=True), by_design=True)
        noise = torch.zeros(draws, len(rows), dtype=torch.float64)
        for lane, mix in enumerate(mixes):
            gap = replace(unknown, sizes=sizes[lane], seen=_shared(seen[lane]))
            mine = np.flatnonzero(read.mix == mix)
            noise[:, mine] = facts.noise(
                read, mine, gap, moved=drawn[:, lane] - lanes.z[lane], seed=seed, materials=materials
            )
    return facts.verdicts(rows, read, facts.predictive(read, centre, quick, noise=noise))


def _roots(data: Likelihood, sizes: list[Sizes], kept: np.ndarray) -> Tensor:
    return torch.stack([data.root(one, keep=keep) for one, keep in zip(sizes, kept, strict=True)])


def _draw(z: Tensor, spread: Tensor, draws: int, seed: int) -> Tensor:
    """Samples of every lane, (draws, lanes, p)."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(draws, *z.shape, generator=generator, dtype=z.dtype)
    root = torch.linalg.cholesky(spread + 1e-12 * torch.eye(z.shape[1], dtype=z.dtype))
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
    rows = facts.read(asked.rows)
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

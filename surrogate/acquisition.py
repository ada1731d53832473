"""How much a recipe promises with several objectives: BoTorch's noisy log expected improvement of dominated hypervolume.

qLogNoisyExpectedHypervolumeImprovement (Daulton et al. 2021); conditions on outcomes by its `constraints`. The log of the
cost and of the chance of success are added: gain per cost, where the trial does not fail. Objectives stand on the beliefs'
standardised scales here, with the sign folded in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.multi_objective import logei as hypervolume
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.penalized import PenalizedAcquisitionFunction
from botorch.models import ModelList
from botorch.models.deterministic import GenericDeterministicModel
from botorch.sampling.base import MCSampler
from botorch.sampling.index_sampler import IndexSampler
from botorch.sampling.list_sampler import ListSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

if TYPE_CHECKING:
    from surrogate.situation import Situation

Floats = npt.NDArray[np.float64]

# BoTorch would compile a C++ kernel at the first hypervolume, for a minute, where a compiler is found; one process killed
# meanwhile leaves a lock that stops all later ones, and the last digits would depend on the processor.
vars(hypervolume)["_load_attempted"] = True

DRAWS = 64
"""Joint draws: each one's Pareto front is taken apart into boxes."""


STRIDE = 97
"""Every so-many-th recipe of the coarse set stands for the space before anything was tried: a dozen or two."""


def hypervolume_gain(situation: Situation, incumbents: Floats, *, seed: int) -> AcquisitionFunction:
    """Return the acquisition function of m x 1 x p encoded recipes.

    Args:
        situation: what is believed, with two objectives or more.
        incumbents: r x p encoded, the tried recipes that may be best.
        seed: of the joint draws.
    """
    raw = _Gain(situation, incumbents, seed=seed).acquisition()
    return PenalizedAcquisitionFunction(raw, _Penalty(situation), regularization_parameter=1.0)


class _Gain:
    def __init__(self, situation: Situation, incumbents: Floats, *, seed: int) -> None:
        """Take what is believed and the tried recipes that may be best (r x p encoded)."""
        self._situation, self._seed = situation, seed
        self._baseline = torch.from_numpy(incumbents)
        self._pending = torch.from_numpy(situation.pending) if len(situation.pending) else None
        self._parameters = list(situation.space.names)
        beliefs = list(situation.beliefs.values())
        self._model = ModelList(*beliefs, GenericDeterministicModel(lambda x: x, num_outputs=len(self._parameters)))
        self._constraints: list[Callable[[Tensor], Tensor]] | None = (
            [self._violation] if situation.goals.outcome_constraints else None
        )

    def acquisition(self) -> AcquisitionFunction:
        situation = self._situation
        baseline = self._baseline
        if not len(baseline):  # promise is then counted from what is under way, or from what the space gives anywhere
            baseline = self._pending if self._pending is not None else torch.from_numpy(situation.base[::STRIDE])
        levels = situation.known(situation.base)
        scales = {name: (values.mean(), values.std() + 1e-12) for name, values in levels.items()}
        places = {name: i for i, name in enumerate((*situation.beliefs, *self._parameters))}

        def values(samples: Tensor, X: Tensor | None = None) -> Tensor:
            columns = []
            for objective in situation.goals.objectives:
                column = samples[..., places[objective.name]]
                if objective.known:
                    assert X is not None
                    centre, scale = scales[objective.name]
                    known = _by_recipe(partial(_known, situation, objective.name), X)
                    column = ((known - centre) / scale).expand_as(column)
                elif X is not None and situation.slips:
                    column = column - self._loss(objective.name, X)
                columns.append(column)
            return torch.stack(columns, dim=-1)

        with torch.no_grad():
            means = [belief.posterior(baseline).mean for belief in situation.beliefs.values()]
            believed = values(torch.cat([*means, baseline], dim=-1), baseline)
        low, high = believed.amin(0), believed.amax(0)
        return hypervolume.qLogNoisyExpectedHypervolumeImprovement(
            self._model,
            ref_point=low - 0.1 * (high - low),
            X_baseline=baseline,
            sampler=self._sampler(),
            objective=GenericMCMultiOutputObjective(values),
            constraints=self._constraints,
            X_pending=self._pending if baseline is self._baseline else None,
            prune_baseline=True,
            cache_root=False,
        )

    def _sampler(self) -> MCSampler:
        """Samplers of their own seed for each outcome: outcomes are independent given the recipe."""
        shape, count = torch.Size([DRAWS]), len(self._situation.beliefs)
        normal = [SobolQMCNormalSampler(shape, seed=self._seed + i) for i in range(count)]
        return ListSampler(*normal, IndexSampler(shape, seed=self._seed))

    def _loss(self, name: str, x: Tensor) -> Tensor:
        return _by_recipe(lambda rows: self._situation.loss(name, rows), x)

    def _violation(self, samples: Tensor) -> Tensor:
        """Return 1 where a condition on outcomes is broken, -1 where all hold; all draws (first) are of the same recipes."""
        beliefs, draws = self._situation.beliefs, len(samples)
        x = samples[0, ..., len(beliefs) :].reshape(-1, len(self._parameters)).numpy()
        outcomes = {name: samples[..., i].reshape(draws, -1).numpy() for i, name in enumerate(beliefs)}
        met = self._situation.admissible(outcomes, x)
        return torch.from_numpy(np.where(met, -1.0, 1.0)).reshape(samples.shape[:-1])


class _Penalty(torch.nn.Module):
    """Log cost less log chance of success of m x 1 x p recipes."""

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(-self._situation.log_penalty(x[..., 0, :].numpy()))


def _known(situation: Situation, name: str, x: Floats) -> Floats:
    return situation.known(x)[name]


def _by_recipe(function: Callable[[Floats], Floats], x: Tensor) -> Tensor:
    """Return a function of recipes at ... x p encoded ones, each asked for once."""
    rows, where = torch.unique(x.reshape(-1, x.shape[-1]), dim=0, return_inverse=True)
    return torch.from_numpy(function(rows.numpy()))[where].reshape(x.shape[:-1])

"""Gradients of whole 100-cycle outcomes at full fidelity: the adjoint against central differences on the frozen steps.

Recipe (relative changes of its numbers) and parameters (every free one, in the coordinates of the fit) are checked each by
itself: along the components that are largest for each outcome, and along two random directions through all of them.
"""

import dataclasses

import numpy as np
import pytest
import torch
from frozen_steps import FrozenSteps, central_differences
from physics_designs import random_designs

from models import cell, cell_mesh, cell_scaled
from models.cell import CellDesign, HalfCycle
from models.cell_steps import CUTOFF, NO_CAPACITY, Tolerances
from models.inputs import encode, take
from models.observables import outcome
from models.parameters import load
from models.physics import run

cell_numba = pytest.importorskip("models.cell_numba", reason="numba is optional", exc_type=ImportError)

RECIPE = (
    "speed_rpm", "time_h", "premill_h", "premill_speed_rpm", "heat_C", "heat_h", "ball_ratio", "duty",
    "active_share", "sse_share", "carbon_share", "loading_mg_cm2", "current_mA_cm2", "stack_pressure_MPa", "temperature_C",
)  # fmt: skip
OUTCOMES = (
    "discharge_capacity_cycle_100_mAh_g_composite",
    "discharge_energy_cycle_100_Wh_kg_composite",
    "retention_cycle_100_pct",
    "utilisation_cycle_10_pct",
)
KNOWN = load()


class FrozenCells:
    """The discharges of one run's cells, solved again on the steps of the first time for any number of changed runs."""

    def __init__(self, design: CellDesign) -> None:
        mesh = cell_mesh.build(cell_mesh.lay_edges(design))
        state = cell_scaled.charged_state(design, nodes=cell_mesh.NODES).contiguous()
        scaled = cell_scaled.scale(design, direction=+1)
        self.done = cell_numba.march(scaled, state, mesh, direction=+1, tolerances=Tolerances(), record=True)
        self.frozen = FrozenSteps(mesh, self.done, direction=+1)

    def discharge(self, design: CellDesign, *, fidelity: str) -> HalfCycle:
        """In place of ``cell.discharge``: anchors are stacked before the changed runs."""
        assert fidelity == "full"
        n = self.done.steps.shape[0]
        lane = np.repeat(np.arange(n), design.n // n)
        start = cell_scaled.charged_state(design, nodes=cell_mesh.NODES).numpy()
        passed, voltage, _ = self.frozen.solve(cell_scaled.scale(design, direction=+1).numpy(), start, lane)
        charge = self.done.charge.numpy()[lane]
        beyond = np.arange(charge.shape[1]) >= self.done.steps.numpy()[lane][:, None]
        voltage = np.where(beyond, design.cutoff_discharge_V.numpy()[:, None], voltage)
        charge = np.where(beyond, passed[:, None], charge)
        energy = np.trapezoid(voltage, charge, axis=1)
        mean = np.divide(energy, passed, out=voltage[:, 0].copy(), where=passed > 0)
        nothing = torch.zeros(design.n, 1)
        return HalfCycle(
            torch.from_numpy(passed) * design.capacity_mAh_cm2, torch.from_numpy(mean), nothing, nothing, nothing,
            nothing, nothing, nothing,
        )  # fmt: skip


def values(x, at):
    """Outcomes of many changed runs, (points, outcomes): relative changes of one recipe, then shifts of the parameters."""
    at = torch.as_tensor(at)
    everyone = take(x, torch.zeros(len(at), dtype=torch.long))
    changed = {field: getattr(everyone, field) * (1 + at[:, k]) for k, field in enumerate(RECIPE)}
    now = dataclasses.replace(everyone, **changed)
    p = KNOWN.values(torch.as_tensor(KNOWN.z) + at[:, len(RECIPE) :], by_design=True)
    followed = run(now, p, last=100, also=(10,), fidelity="full")
    return torch.stack([outcome(name, now, followed, p) for name in OUTCOMES], 1)


def probed(gradients, rng):
    """Directions through one block of the gradients (outcomes, block): the largest components, two random ones."""
    largest = np.unique(np.abs(gradients).argmax(1))
    return np.vstack([np.eye(gradients.shape[1])[largest], rng.choice([-1.0, 1.0], size=(2, gradients.shape[1]))])


def errors_of(x, rng, monkeypatch):
    """Error of each outcome over its largest component, in recipe and in parameters; None where the cell gives nothing."""
    seen = []
    solved = cell.discharge
    with monkeypatch.context() as patch:
        patch.setattr(cell, "discharge", lambda d, *, fidelity: seen.append(d) or solved(d, fidelity=fidelity))
        leaf = torch.zeros(1, len(RECIPE) + len(KNOWN.z), dtype=torch.float64, requires_grad=True)
        found = values(x, leaf)[0]
    gradients = np.stack([torch.autograd.grad(q, leaf, retain_graph=True)[0][0].numpy() for q in found])
    frozen = FrozenCells(CellDesign(*(field.detach() for field in seen[0].tensors())))
    ended = frozen.done.status
    assert ((ended == CUTOFF) | (ended == NO_CAPACITY)).all()
    if ended[-1] == NO_CAPACITY or ended[0] == NO_CAPACITY:
        return None
    errors = []
    for block in (slice(0, len(RECIPE)), slice(len(RECIPE), None)):
        own = gradients[:, block]
        directions = probed(own, rng)
        whole = np.zeros((len(directions), gradients.shape[1]))
        whole[:, block] = directions
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(cell, "discharge", frozen.discharge)
            expected = central_differences(lambda at: values(x, at).numpy(), np.zeros(gradients.shape[1]), whole)
        errors.append(np.abs(directions @ own.T - expected).max(0) / np.abs(own).max(1))
    return np.stack(errors)


@pytest.mark.parametrize("designs", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_gradients_of_outcomes_in_recipe_and_parameters(designs, monkeypatch, capsys):
    everyone = encode(random_designs(4 * designs, 50).assign(cycles=100))
    errors = []
    for i in range(everyone.n):
        one = errors_of(take(everyone, torch.tensor([i])), np.random.default_rng(i), monkeypatch)
        errors += [] if one is None else [one]
        if len(errors) == designs:
            break
    table = np.stack(errors)
    with capsys.disabled():
        for k, name in enumerate(OUTCOMES):
            told = ", ".join(
                f"{what} worst {table[:, j, k].max():.1e} median {np.median(table[:, j, k]):.1e}"
                for j, what in enumerate(("recipe", "parameters"))
            )
            print(f"\n{name}: {told}", end="")
        print(f"\n{len(table)} recipes of the {i + 1} drawn give a capacity at cycles 1 and 100")
    assert len(table) == designs and table.max() <= 1e-4

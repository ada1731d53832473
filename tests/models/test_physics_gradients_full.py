"""Gradients of whole 100-cycle outcomes at full fidelity: the adjoint against central differences on the frozen steps."""

import dataclasses

import numpy as np
import pytest
import torch
from frozen_steps import FrozenSteps, central_difference
from physics_designs import random_designs

from models import cell, cell_full, cell_mesh, cell_scaled
from models.cell import CellDesign, HalfCycle
from models.cell_steps import CUTOFF, Tolerances
from models.inputs import encode, take
from models.observables import outcome
from models.parameters import load
from models.physics import run

cell_numba = pytest.importorskip("models.cell_numba", reason="numba is optional", exc_type=ImportError)

NODES = 8
LONG_STEPS = Tolerances(lithiation=2e-3, voltage_V=8e-3)
RECIPE = ("speed_rpm", "time_h", "active_share", "current_mA_cm2", "loading_mg_cm2", "stack_pressure_MPa")
PARAMETERS = ("ion_tortuosity_factor", "fade_strain", "interface_resistance_ohm_cm2")
KNOWN = load()


class FrozenCells:
    """The discharges of one run's cells, solved again on the steps of the first time."""

    def __init__(self, design: CellDesign) -> None:
        self.mesh = cell_mesh.build(cell_mesh.lay_edges(design, nodes=NODES))
        state = cell_scaled.charged_state(design, nodes=NODES).contiguous()
        scaled = cell_scaled.scale(design, direction=+1)
        done = cell_numba.march(scaled, state, self.mesh, direction=+1, tolerances=LONG_STEPS, record=True)
        self.alive = bool((done.status == CUTOFF).all())
        rows = torch.cumsum(done.steps + 1, 0).tolist()
        self.lanes = [
            FrozenSteps(self.mesh, i, 1.0, done.charge[i, : last - first].numpy(), done.current[first:last].numpy())
            for i, (first, last) in enumerate(zip([0, *rows], rows, strict=False))
        ]

    def discharge(self, design: CellDesign, *, fidelity: str) -> HalfCycle:
        """In place of ``cell.discharge``."""
        assert fidelity == "full"
        p = cell_scaled.scale(design, direction=+1).numpy()
        state = cell_scaled.charged_state(design, nodes=NODES).numpy()
        passed, mean = [], []
        for lane, x, start in zip(self.lanes, p, state, strict=True):
            charge, voltage, _ = lane.solve(x, start)
            passed.append(charge)
            mean.append(np.trapezoid(voltage, [*lane.charge[:-1], charge]) / charge)
        nothing = torch.zeros(len(p), 1)
        return HalfCycle(
            torch.tensor(passed) * design.capacity_mAh_cm2, torch.tensor(mean), nothing, nothing, nothing, nothing,
            nothing, nothing,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "designs"),
    [
        ("discharge_energy_cycle_100_Wh_kg_composite", 1),
        pytest.param("discharge_energy_cycle_100_Wh_kg_composite", 50, marks=pytest.mark.soak),
        pytest.param("discharge_capacity_cycle_100_mAh_g_composite", 50, marks=pytest.mark.soak),
    ],
)
def test_gradient_of_an_outcome_in_recipe_and_parameters(name, designs, monkeypatch):
    everyone = encode(random_designs(3 * designs + 3, 50))
    checked = 0
    for i in range(everyone.n):
        x = take(everyone, torch.tensor([i]))
        base = np.array([float(getattr(x, field)) for field in RECIPE] + [float(KNOWN.values()[q]) for q in PARAMETERS])

        def value(at, x=x):
            changed = {field: at[k].reshape(1) for k, field in enumerate(RECIPE)}
            p = dict(KNOWN.values()) | {q: at[len(RECIPE) + k] for k, q in enumerate(PARAMETERS)}
            now = dataclasses.replace(x, **changed)
            return outcome(name, now, run(now, p, last=100, fidelity="full"), p)[0]

        def coarse(design, *, fidelity):
            return cell_full.half_cycle(design, start=None, direction=+1, tolerances=LONG_STEPS, nodes=NODES)

        frozen = []
        with monkeypatch.context() as patch:
            patch.setattr(cell, "discharge", coarse)
            leaf = torch.tensor(base, requires_grad=True)
            found = torch.autograd.grad(value(leaf), leaf)[0].numpy() * base
            patch.setattr(
                cell,
                "discharge",
                lambda d, *, fidelity, seen=frozen: seen.append(FrozenCells(d)) or coarse(d, fidelity=fidelity),
            )
            with torch.no_grad():
                value(torch.tensor(base))
                if not frozen[0].alive:
                    continue
                patch.setattr(cell, "discharge", frozen[0].discharge)
                expected = [
                    central_difference(lambda at: float(value(torch.tensor(at))), base, j) for j in range(len(base))
                ]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
        checked += 1
        if checked == designs:
            return
    raise AssertionError("too few recipes that give a capacity at every anchor")

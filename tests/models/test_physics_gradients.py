"""Gradients of outcomes with respect to recipe and parameters: autograd against central differences, quick fidelity."""

import dataclasses

import pytest
import torch
from physics_designs import random_designs

from models.inputs import encode
from models.observables import outcome
from models.parameters import load
from models.physics import prepare, run

PARAMETERS = load()
RECIPE = ("speed_rpm", "time_h", "active_share", "current_mA_cm2", "loading_mg_cm2", "stack_pressure_MPa")
OUTCOMES = (
    "discharge_areal_capacity_cycle_100_mAh_cm2",
    "discharge_capacity_cycle_100_mAh_g_composite",
    "q2_over_q1",
    "retention_cycle_100_pct",
    "surface_halide_to_P",
)


def value(name, x, z):
    p = PARAMETERS.values(z)
    return outcome(name, x, run(x, p, last=100), p)


@pytest.mark.parametrize("name", OUTCOMES)
def test_gradient_in_the_recipe(name):
    x = encode(random_designs(50, 40))
    z = torch.as_tensor(PARAMETERS.z)
    leaves = {field: getattr(x, field).clone().requires_grad_() for field in RECIPE}
    value(name, dataclasses.replace(x, **leaves), z).sum().backward()
    worst = torch.zeros(50, dtype=torch.float64)
    scale = torch.zeros(50, dtype=torch.float64)
    for field, leaf in leaves.items():
        size = getattr(x, field)
        h = 1e-5 * size
        up, down = (value(name, dataclasses.replace(x, **{field: size + s * h}), z) for s in (1, -1))
        numeric = (up - down) / 2e-5  # per relative change: components of one gradient must share a unit
        exact = (leaf.grad if leaf.grad is not None else torch.zeros_like(size)) * size
        worst = torch.maximum(worst, (numeric - exact).abs().detach())
        scale = torch.maximum(scale, exact.abs())
    assert (worst <= 1e-4 * scale + 1e-9).all()


@pytest.mark.parametrize("name", OUTCOMES)
def test_gradient_in_the_parameters(name):
    x = encode(random_designs(20, 41))
    z = torch.as_tensor(PARAMETERS.z).clone()
    leaf = z.clone().requires_grad_()
    weights = torch.linspace(0.5, 1.5, 20, dtype=torch.float64)
    (value(name, x, leaf) * weights).sum().backward()
    steps = 1e-5 * torch.eye(len(z), dtype=torch.float64)
    up, down = (value(name, x, z + s * steps) for s in (1, -1))
    numeric = ((up - down) * weights).sum(-1) / 2e-5
    assert ((numeric - leaf.grad).abs().max() / leaf.grad.abs().max()) < 1e-4


def test_gradcheck_passes_on_the_powder():
    x = encode(random_designs(4, 42))
    p = PARAMETERS.values()

    def powder(speed, time):
        made = prepare(dataclasses.replace(x, speed_rpm=speed, time_h=time), p)
        return made.segregation.coverage, made.composite.ionic_conductivity_S_cm * 1e4, made.mixing.contact

    leaves = (x.speed_rpm.clone().requires_grad_(), x.time_h.clone().requires_grad_())
    assert torch.autograd.gradcheck(powder, leaves, eps=1e-4, atol=1e-6)

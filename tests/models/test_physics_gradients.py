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


def along_a_line(seed, points):
    """Points of a straight line between two random recipes that share their materials."""
    one, other = (encode(random_designs(2, seed).iloc[[k]]) for k in (0, 1))
    along = torch.linspace(0, 1, points, dtype=torch.float64)
    moved = {}
    for field in dataclasses.fields(one):
        start = getattr(one, field.name)
        if torch.is_tensor(start) and len(start) == 1:
            end = getattr(other, field.name) if field.name in RECIPE else start
            moved[field.name] = start + (end - start) * along.reshape(-1, *[1] * (start.dim() - 1))
    return dataclasses.replace(one, **moved)


def largest_bend(seed, points, kink=0.0):
    """Largest change of slope between neighbouring pieces of the line: falls with their length unless there is a kink."""
    y = value(OUTCOMES[0], along_a_line(seed, points), torch.as_tensor(PARAMETERS.z)).reshape(-1)
    y = y + kink * (torch.linspace(0, 1, points, dtype=torch.float64) - 0.37).abs()
    return float((y[2:] - 2 * y[1:-1] + y[:-2]).abs().max() * (points - 1))


@pytest.mark.parametrize("seed", range(6))
def test_quick_has_no_kink_along_random_lines_through_the_box(seed):
    coarse, fine = largest_bend(seed, 513), largest_bend(seed, 4097)
    assert fine < coarse / 4


def test_a_kink_of_a_hundredth_would_be_seen():
    assert largest_bend(3, 4097, kink=0.01) > largest_bend(3, 513, kink=0.01) / 4


def test_gradcheck_passes_on_the_powder():
    x = encode(random_designs(4, 42))
    p = PARAMETERS.values()

    def powder(speed, time):
        made = prepare(dataclasses.replace(x, speed_rpm=speed, time_h=time), p)
        return made.segregation.coverage, made.composite.ionic_conductivity_S_cm * 1e4, made.mixing.contact

    leaves = (x.speed_rpm.clone().requires_grad_(), x.time_h.clone().requires_grad_())
    assert torch.autograd.gradcheck(powder, leaves, eps=1e-4, atol=1e-6)

"""What physics demands of the model, over the whole box: balances, monotonicities, finite numbers, batches."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from physics_designs import random_designs, seeds

from models.electrode import sse_capacity_mAh_cm2, theoretical_capacity_mAh_cm2
from models.inputs import encode, take
from models.limits import refusals
from models.mixing import peak_vessel_temperature_C, specific_power_W_g, thermal_history
from models.observables import STATES, states
from models.parameters import load
from models.physics import prepare, run
from models.record import discharge_at, spacing

PARAMETERS = load()
CYCLES = torch.arange(1, 101, dtype=torch.float64)


def record(table, values=None):
    x = encode(table)
    p = values or PARAMETERS.values()
    return discharge_at(x, run(x, p, last=100), CYCLES, p)


@pytest.mark.parametrize("corners", [False, True], ids=["inside", "corners"])
def test_ten_thousand_designs_give_finite_positive_numbers(corners):
    table = random_designs(10_000, 5, corners=corners)
    assert set(refusals(table[:300])) == {None}
    x, p = encode(table), PARAMETERS.values()
    followed = run(x, p, last=450)
    q = discharge_at(x, followed, torch.tensor([1.0, 2.0, 30.0, 450.0], dtype=torch.float64), p)
    assert torch.isfinite(q).all()
    assert (q >= 0).all()
    for name, value in states(followed.powder, p).items():
        assert torch.isfinite(value).all(), name
    assert torch.isfinite(followed.charges.capacity_mAh_cm2).all()
    assert torch.isfinite(followed.discharges.voltage_V).all()


def test_draws_from_the_prior_stay_finite():
    x = encode(random_designs(200, 8))
    wide = 1.5 * PARAMETERS.draw(100, seed=1, prior=True)
    p = PARAMETERS.values(wide)
    at = torch.tensor([1.0, 30.0, 100.0, 450.0], dtype=torch.float64)
    assert torch.isfinite(discharge_at(x, run(x, p, last=450), at, p)).all()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_halide_is_conserved_and_LiX_is_at_most_what_the_electrolyte_held(seed):
    x = encode(random_designs(50, seed))
    halide = prepare(x, PARAMETERS.values(PARAMETERS.draw(3, seed=seed))).segregation
    total = halide.segregated_per_P + halide.remaining_per_P
    torch.testing.assert_close(total, x.halide_per_P.expand_as(total), rtol=0, atol=1e-12)
    assert (halide.segregated_per_P >= 0).all()
    assert (halide.remaining_per_P >= 0).all()
    sum_remaining = halide.remaining_per_P.sum(-1)
    torch.testing.assert_close(halide.bulk_halide_to_P, sum_remaining, rtol=1e-12, atol=1e-12)
    # The volume of LiX on the active is the volume of what left: layer x coverage x area.
    assert (halide.coverage <= 1).all()


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_volume_shares_and_porosity_fill_the_cathode(seed):
    pressed = prepare(encode(random_designs(50, seed)), PARAMETERS.values()).composite
    total = (
        pressed.active_volume_fraction + pressed.sse_volume_fraction + pressed.carbon_volume_fraction + pressed.porosity
    )
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_no_cell_gives_more_than_its_active_and_its_electrolyte_hold(seed):
    table = random_designs(50, seed)
    x, p = encode(table), PARAMETERS.values()
    held = theoretical_capacity_mAh_cm2(x) + sse_capacity_mAh_cm2(x, 1.0, p)
    assert (record(table) <= held[:, None] * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("column", "low", "high", "state", "sign"),
    [
        ("time_h", 1.0, 6.0, "segregation_extent", +1),
        ("speed_rpm", 800.0, 1800.0, "segregation_extent", +1),
        ("time_h", 1.0, 6.0, "contact_fraction", +1),
        ("time_h", 1.0, 6.0, "crystallite_size_um", -1),
        ("speed_rpm", 400.0, 1800.0, "crystallite_size_um", -1),
        ("time_h", 1.0, 6.0, "crystal_collapse", +1),
        ("time_h", 1.0, 6.0, "sse_pellet_conductivity_mS_cm", -1),
        ("ball_ratio", 2.0, 8.0, "dose_h", +1),
        ("speed_rpm", 400.0, 1800.0, "vessel_temperature_C", +1),
        ("loading_mg_cm2", 2.0, 4.0, "thickness_um", +1),
        ("temperature_C", 20.0, 30.0, "ionic_conductivity_mS_cm", +1),
        ("stack_pressure_MPa", 20.0, 70.0, "ionic_conductivity_mS_cm", +1),
    ],
)
def test_states_are_monotone_where_physics_is(column, low, high, state, sign):
    table = random_designs(200, 21)
    p = PARAMETERS.values()
    less, more = (states(prepare(encode(table.assign(**{column: v})), p), p)[state] for v in (low, high))
    assert (sign * (more - less) >= -1e-12).all()


@pytest.mark.parametrize(("column", "low", "high"), [("current_mA_cm2", 0.3, 1.5), ("stack_pressure_MPa", 100.0, 30.0)])
def test_a_harder_test_gives_no_more_first_capacity(column, low, high):
    table = random_designs(200, 22)
    easy, hard = (record(table.assign(**{column: v}))[:, 0] for v in (low, high))
    assert (hard <= easy * 1.002 + 1e-4).all()  # quick: next to nothing is no order


def test_hand_mixing_segregates_nothing_and_halogen_free_has_no_LiX():
    x = encode(pd.DataFrame({"speed_rpm": [0.0, 2000.0], "time_h": [0.0, 5.0], "sse": ["LPSCl", "LGPS"]}))
    halide = prepare(x, PARAMETERS.values()).segregation
    assert halide.surface_halide_to_P[0] == pytest.approx(1.0, abs=1e-3)
    assert halide.surface_halide_to_P[1] == 0
    assert halide.coverage[1] == 0


def test_a_batch_of_one_is_one_of_a_batch():
    table = random_designs(64, 3).assign(cycles=100)
    alone = torch.cat([record(table.iloc[[k]]) for k in (0, 17, 63)])
    torch.testing.assert_close(alone, record(table)[[0, 17, 63]], rtol=1e-12, atol=1e-12)


def test_draws_are_simulators_one_by_one():
    x = encode(random_designs(8, 4))
    z = PARAMETERS.draw(3, seed=2)
    together = run(x, PARAMETERS.values(z), last=100).discharge_at(100)
    each = torch.stack([run(x, PARAMETERS.values(row), last=100).discharge_at(100) for row in z])
    torch.testing.assert_close(together, each, rtol=1e-10, atol=1e-12)


def test_the_vessel_warms_to_its_peak_and_never_beyond():
    x, p = take(encode(random_designs(20, 6)), torch.arange(20)), PARAMETERS.values()
    clock, temperature = thermal_history(x, p, points=4000)
    assert torch.allclose(clock[-1], x.time_h / x.duty)
    assert (temperature >= p["room_temperature_C"] - 1e-9).all()
    rise = temperature.amax(0) - p["room_temperature_C"]
    peak = peak_vessel_temperature_C(x, specific_power_W_g(x, x.speed_rpm, p=p), p=p) - p["room_temperature_C"]
    long_enough = x.time_h > 1.0
    assert (rise <= peak * 1.001 + 1e-6)[long_enough].all()
    assert (rise >= peak * 0.9)[long_enough].all()


def test_jumping_cycles_costs_less_than_half_a_percent_and_says_how_much():
    x, p = encode(random_designs(128, 31)), PARAMETERS.values()
    every = discharge_at(x, run(x, p, last=100, also=range(1, 101)), CYCLES, p)
    ratio, told = spacing(x, p, last=100)
    worst = torch.zeros(128, dtype=torch.float64)
    for one in ratio.unique():
        mine = torch.nonzero(ratio == one)[:, 0]
        some = take(x, mine)
        jumped = discharge_at(some, run(some, p, last=100, ratio=float(one)), CYCLES, p)
        worst[mine] = ((jumped - every[mine]).abs() / every[mine].amax(1, keepdim=True)).amax(1)
    assert worst.max() < 5e-3
    assert (worst <= 2 * told + 2e-3).all()
    assert float(ratio.max()) > float(ratio.min())  # dense where it must be, and only there


def test_halides_of_an_electrolyte_segregate_in_proportion():
    x = encode(pd.DataFrame({"sse": ["LPSClI"]}))
    halide = prepare(x, PARAMETERS.values()).segregation
    share = halide.segregated_per_P[0] / x.halide_per_P[0]
    present = share[x.halide_per_P[0] > 0]
    assert len(present) == 2
    assert present[0] == pytest.approx(float(present[1]))


def test_inputs_know_no_names():
    fields = {f.name: f.type for f in dataclasses.fields(encode(pd.DataFrame({"time_h": [1.0]})))}
    texts = [name for name, kind in fields.items() if "str" in str(kind)]
    assert texts == ["halide_names"]


def test_state_names_carry_units_or_are_pure_numbers():
    assert len(STATES) == len(set(STATES))
    assert np.all([name == name.strip() for name in STATES])

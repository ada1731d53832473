"""The public door: tables in, tables out, refusals, warnings, bands."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from campaign import materials, outcome
from campaign.errors import Refusal
from campaign.recipe import complete
from models import limits
from models.limits import BOX
from models.simulate import draw_worlds, gaps, simulators

DESIGNS = pd.DataFrame({"time_h": [1.0, 5.0, 10.0], "cycles": [100, 120, 100]}, index=["a", "b", "c"])


@pytest.fixture(scope="module")
def quick():
    return models.simulate(DESIGNS, fidelity="quick", draws=32, seed=1)


def test_one_row_a_design_and_one_row_a_cycle(quick):
    assert list(quick.outcome.index) == ["a", "b", "c"]
    assert quick.cycling.groupby("design")["cycle"].agg(["min", "max", "size"]).loc["b"].tolist() == [1, 120, 120]
    assert set(quick.curves["half"]) == {"discharge", "charge"}
    assert (quick.cycling["charge_areal_capacity_mAh_cm2"] <= quick.cycling["discharge_areal_capacity_mAh_cm2"]).all()


def test_outcomes_are_those_of_the_record(quick):
    derived = outcome.derive(quick.cycling, quick.designs, materials.load(), cycles=[100])
    for name in ("discharge_capacity_cycle_100_mAh_g_composite", "retention_cycle_100_pct", "q2_over_q1"):
        np.testing.assert_allclose(quick.outcome[name], derived[name], rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "discharge_areal_capacity_cycle_25_mAh_cm2",
        "discharge_capacity_cycle_100_mAh_g_composite",
        "sse_corrected_areal_capacity_cycle_100_mAh_cm2",
        "utilisation_cycle_50_pct",
        "retention_cycle_100_vs_peak_pct",
        "discharge_energy_cycle_100_Wh_kg_composite",
        "peak_areal_capacity_mAh_cm2",
        "peak_cycle",
        "mixing_clock_h",
        "surface_halide_to_P",
    ],
)
def test_ensemble_and_simulate_mean_the_same_by_a_name(name):
    designs = DESIGNS.loc[["a", "c"]]
    known = models.parameters.load()
    still = models.parameters.with_posterior(known, known.z, covariance=np.eye(len(known.z)) * 1e-18)
    drawn = models.ensemble(designs, name, draws=2, seed=0, parameters=still, world=False)
    told = models.simulate(designs, fidelity="quick").outcome[name].to_numpy()
    np.testing.assert_allclose(drawn[0], told, rtol=2e-4)


def test_bands_hold_the_centre_and_widen_outside_what_was_measured(quick):
    name = "discharge_capacity_cycle_100_mAh_g_composite"
    low, mid, high = (quick.outcome[name + end] for end in ("_p05", "", "_p95"))
    assert ((low < mid) & (mid < high)).all()
    near_far = pd.DataFrame({"speed_rpm": [2000.0, 1000.0], "time_h": [5.0, 12.0]})
    near, far = np.log(models.ensemble(near_far, "discharge_areal_capacity_cycle_1_mAh_cm2", draws=100, seed=0)).std(0)
    assert far > 1.3 * near


def test_the_same_seed_gives_the_same_bands():
    one, two = (models.simulate(DESIGNS, fidelity="quick", draws=8, seed=4).outcome for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_full_and_quick_tell_the_same_story():
    full, quick = (models.simulate(DESIGNS, fidelity=f).outcome for f in ("full", "quick"))
    name = "discharge_areal_capacity_cycle_100_mAh_cm2"
    np.testing.assert_allclose(full[name], quick[name], rtol=0.10)


def test_controls_simulate():
    table = pd.DataFrame(
        {
            "speed_rpm": [0.0, 2000.0, 2000.0, 2000.0],
            "time_h": [0.0, 5.0, 5.0, 5.0],
            "active": ["S", "none", "S", "none"],
            "carbon": ["KB", "KB", "none", "none"],
            "loading_mg_cm2": [4.0, 8.8, 4.0, 8.8],
        }
    )
    result = models.simulate(table, fidelity="quick")
    q = result.outcome["discharge_areal_capacity_cycle_1_mAh_cm2"]
    assert np.isfinite(q).all()
    assert q.iloc[0] < 1.0
    assert q.iloc[2] < 0.5  # no carbon, no electrons
    assert all(any(s.startswith("control") for s in told) for told in result.warnings)


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"speed_rpm": 2100.0}, "2000"),
        ({"speed_rpm": 150.0}, "200"),
        ({"time_h": 12.5}, "12"),
        ({"active_wt_pct": 12.0}, "15"),
        ({"active_wt_pct": 41.0, "carbon_wt_pct": 9.0}, "40"),
        ({"active_wt_pct": 44.0, "sse_wt_pct": 50.0}, "40"),
        ({"active_wt_pct": 38.0, "sse_wt_pct": 55.0}, "8"),
        ({"sse_wt_pct": 60.0, "active_wt_pct": 20.0}, "55"),
        ({"sse": "LIC"}, "reduced"),
        ({"loading_mg_cm2": 6.0}, "5"),
        ({"current_mA_cm2": 2.5}, "2"),
        ({"temperature_C": 60.0}, "30"),
        ({"stack_pressure_MPa": 5.0}, "15"),
        ({"cycles": 1000}, "450"),
    ],
)
def test_outside_the_box_it_refuses_with_the_bound(change, bound):
    with pytest.raises(Refusal, match=bound):
        models.simulate(pd.DataFrame([change]), fidelity="quick")
    assert models.simulate(pd.DataFrame([change]), fidelity="quick", allow_refused=True).outcome.notna().any(axis=None)


def test_a_refusal_names_the_row():
    with pytest.raises(Refusal, match="row second"):
        models.simulate(pd.DataFrame({"time_h": [5.0, 20.0]}, index=["first", "second"]))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"speed_rpm": 1000.0}, "speed_rpm"),
        ({"active_wt_pct": 28.0}, "active_wt_pct"),
        ({"stack_pressure_MPa": 40.0}, "stack_pressure_MPa"),
        ({"anode": "Li"}, "anode"),
        ({"active": "Te"}, "active"),
        ({"heat_C": 120.0, "heat_h": 6.0}, "heat_h"),
        ({"cycles": 300}, "cycles"),
        ({"sse": "Li5.5PS4.5Cl1.5"}, "halide_per_P"),
        ({"sse": "beta-LPS"}, "lot_conductivity"),
    ],
)
def test_outside_what_was_measured_it_warns(change, word):
    told = limits.warnings(pd.DataFrame([change]))[0]
    assert any(sentence.startswith("extrapolation") and word in sentence for sentence in told)
    assert limits.warnings(pd.DataFrame([{"time_h": 5.0}]))[0] == []


def test_a_lab_brings_its_own_electrolyte(tmp_path):
    header = ",".join(
        [
            "name,formula,molar_mass_g_mol,halide_per_P,halides,conductivity_mS_cm,conductivity_source",
            "conductivity_low_mS_cm,conductivity_high_mS_cm,activation_energy_eV,density_g_cm3,youngs_modulus_GPa",
            "window_low_V_vs_Li,window_high_V_vs_Li,relative_price,source",
        ]
    )
    own = tmp_path / "own.csv"
    own.write_text(header + "\nours,Li6PS5Br,312.8,1,Br:1,1.5,lot 7,1,2,0.33,2.09,25,1.7,2.0,1.2,ours\n")
    stock = materials.load({"electrolytes": own})
    result = models.simulate(pd.DataFrame({"sse": ["ours", "LPSBr"]}), fidelity="quick", materials=stock, draws=4)
    ours, theirs = result.composite["segregated_Br_per_P"]
    assert ours == pytest.approx(theirs)


def test_the_box_is_readable_data():
    assert BOX["time_h"].high == 12
    assert all(bound.low < bound.high and bound.reason for bound in BOX.values())


@pytest.mark.parametrize("sse", [name for name in materials.load().electrolytes if name != "LIC"])
def test_every_electrolyte_simulates_with_every_chalcogen(sse):
    actives = list(materials.load().actives)
    result = models.simulate(pd.DataFrame({"active": actives, "sse": sse}), fidelity="quick")
    assert np.isfinite(result.outcome.drop(columns=["peak_cycle"])).all(axis=None)
    halide = materials.load().electrolyte(sse).halide_per_P
    kept = result.composite.filter(regex="^(segregated|remaining)_.*_per_P$")
    assert kept.sum(axis=1).to_numpy() == pytest.approx(halide)


def test_a_mixer_of_another_class_is_refused(tmp_path):
    stock = materials.load()
    planetary = replace(stock.mixer("AR-100"), name="P7", mixer_class="planetary-ball-mill")
    other = replace(stock, mixers={**stock.mixers, "P7": planetary})
    with pytest.raises(Refusal, match="planetary-ball-mill"):
        models.simulate(pd.DataFrame({"mixer": ["P7"]}), fidelity="quick", materials=other)


def test_a_world_is_one_function_of_the_recipe():
    name = "discharge_capacity_cycle_100_mAh_g_composite"
    table = pd.DataFrame({"time_h": [2.0, 4.0, 4.01]})
    together = models.ensemble(table, name, draws=6, seed=2)
    alone = models.ensemble(table.iloc[[1]], name, draws=6, seed=2)
    np.testing.assert_allclose(together[:, [1]], alone, rtol=1e-9)
    np.testing.assert_allclose(together[:, 1], together[:, 2], rtol=0.02)


@given(
    st.lists(
        st.sampled_from(
            [
                "discharge_capacity_cycle_100_mAh_g_composite",
                "retention_cycle_100_pct",
                "retention_cycle_25_pct",
                "utilisation_cycle_1_pct",
                "q2_over_q1",
                "crystallite_size_um",
            ]
        ),
        min_size=1,
        unique=True,
    )
)
@settings(max_examples=10, deadline=None)
def test_what_is_drawn_of_an_outcome_does_not_depend_on_what_else_is_asked(outcomes):
    table = pd.DataFrame({"speed_rpm": [1200.0, 2000.0], "time_h": [2.0, 5.0]})
    together = simulators(table, outcomes, draws=3, seed=2)
    for name in outcomes:
        alone = simulators(table, [name], draws=3, seed=2)[name]
        assert np.array_equal(together[name], alone)
        (gap,) = gaps(complete(table), [draw_worlds(draws=3, seed=2)])
        assert np.array_equal(
            models.ensemble(table, name, draws=3, seed=2), alone * np.exp(gap.log_factor(name).numpy())
        )

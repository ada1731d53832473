"""Outcomes are derived once, from what was measured and nothing else."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign import materials, outcome, recipe
from campaign.errors import Refusal

KNOWN = materials.load()


def record(capacities: dict[int, float], design: object = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "design": design,
            "cycle": list(capacities),
            "discharge_areal_capacity_mAh_cm2": list(capacities.values()),
        }
    )


def published_design() -> pd.DataFrame:
    return recipe.complete(pd.DataFrame({"speed_rpm": [2000.0]}), KNOWN)


def test_the_paper_s_headline_numbers_come_out() -> None:
    out = outcome.derive(record({1: 6.28, 100: 6.21}), published_design(), KNOWN).iloc[0]
    assert out["retention_cycle_100_pct"] == pytest.approx(98.9, abs=0.05)  # printed, F049
    assert out["discharge_capacity_cycle_100_mAh_g_active"] == pytest.approx(6.21 / 4 * 1000)
    assert out["discharge_capacity_cycle_100_mAh_g_composite"] == pytest.approx(6.21 / 4 * 1000 * 0.2275)
    assert out["utilisation_cycle_1_pct"] == pytest.approx(100 * 6.28 / (4 * 1.672))


def test_nothing_is_interpolated() -> None:
    out = outcome.derive(record({1: 6.0, 3: 5.0, 99: 4.0}), published_design(), KNOWN)
    for absent in ("discharge_areal_capacity_cycle_100_mAh_cm2", "q2_over_q1", "peak_cycle"):
        assert absent not in out


def test_retention_against_the_peak_needs_every_cycle() -> None:
    whole = outcome.derive(record(dict(enumerate([5.0, 6.0, 3.0], start=1))), published_design(), KNOWN, cycles=[3])
    assert whole["retention_cycle_3_vs_peak_pct"].iloc[0] == pytest.approx(50)
    assert whole["peak_cycle"].iloc[0] == 2
    gap = outcome.derive(record({1: 5.0, 3: 3.0}), published_design(), KNOWN, cycles=[3])
    assert "retention_cycle_3_vs_peak_pct" not in gap


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=30), st.floats(0.5, 2))
def test_ratios_do_not_depend_on_the_scale(capacities: list[float], scale: float) -> None:
    numbered = dict(enumerate(capacities, start=1))
    a = outcome.derive(record(numbered), published_design(), KNOWN, cycles=[1, 2])
    b = outcome.derive(record({n: scale * q for n, q in numbered.items()}), published_design(), KNOWN, cycles=[1, 2])
    for name in ("q2_over_q1", "retention_cycle_2_pct", "retention_cycle_2_vs_peak_pct", "peak_cycle"):
        assert a[name].iloc[0] == pytest.approx(b[name].iloc[0])


def test_designs_do_not_touch_each_other() -> None:
    designs = recipe.complete(pd.DataFrame({"speed_rpm": [2000.0, 400.0]}, index=["a", "b"]), KNOWN)
    both = pd.concat([record({1: 6.0, 2: 3.0}, "a"), record({1: 1.0}, "b")])
    out = outcome.derive(both, designs, KNOWN)
    assert out.loc["a", "q2_over_q1"] == pytest.approx(0.5)
    assert pd.isna(out.loc["b", "q2_over_q1"])


def test_every_standard_outcome_has_a_definition() -> None:
    full = record(dict(enumerate([6.0] * 100, start=1))).assign(
        mean_discharge_voltage_V=1.3, sse_areal_capacity_mAh_cm2=1.0
    )
    for name in outcome.derive(full, published_design(), KNOWN):
        assert outcome.define(name).unit


@pytest.mark.parametrize("name", ["", "capacity", "retention_cycle_0_pct", "retention_cycle_x_pct"])
def test_an_unknown_outcome_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="nobody defined the outcome"):
        outcome.define(name)

"""The fit: least squares it must solve exactly, data that it must recover, what it says of what it cannot know."""

import numpy as np
import pandas as pd
import pytest
import torch

from models import calibrate, facts, likelihood, parameters
from models.discrepancy import Discrepancy, Seen, Sizes, Terms, infer, worlds
from models.fit import covariance, differences, fit, jacobian
from models.inputs import encode, take
from models.measured import read_rows

RNG = np.random.default_rng(3)
A = torch.as_tensor(RNG.normal(size=(12, 4)))
B = torch.as_tensor(RNG.normal(size=12))


def linear(z):
    return z @ A.T - B


def test_a_linear_problem_is_solved_exactly_with_every_lane_its_own_rows():
    root = torch.eye(12, dtype=torch.float64).repeat(3, 1, 1)
    root[1, :6] = 0
    root[2, 6:] = 0
    found = fit(linear, torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), root=root)
    for lane in range(3):
        precision = root[lane].T @ root[lane]
        curvature = A.T @ precision @ A + torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(
            found.z[lane], torch.linalg.solve(curvature, A.T @ precision @ B), rtol=1e-4, atol=1e-5
        )
        spread = covariance(found.jacobian[lane], root[lane])
        torch.testing.assert_close(spread, torch.linalg.inv(curvature), rtol=1e-4, atol=1e-5)


def test_a_curved_problem_comes_to_its_minimum_from_afar():
    def rosenbrock(z):
        return torch.stack([10 * (z[:, 1] - z[:, 0] ** 2), 1 - z[:, 0]], -1) * 30

    root = torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    found = fit(rosenbrock, torch.tensor([[-1.2, 1.0], [2.0, -1.0]], dtype=torch.float64), root=root)
    torch.testing.assert_close(found.z, torch.ones(2, 2, dtype=torch.float64), rtol=0, atol=2e-2)


PRIOR = Discrepancy(Sizes(0.2, 0.05, 0.1, 0.1, 1.0), Sizes(0.2, 0.05, 0.1, 0.1, 1.0), Sizes(0.7, 0.7, 0.7, 0.7, 0.5))


def made_rows(level, row, *, recipes=40, each=3, spread=30.0):
    """Capacities of recipes far apart: one gap a recipe, a scatter a reading, and a parameter that says nothing."""
    rng = np.random.default_rng(1)
    u = torch.as_tensor(np.repeat(spread * rng.standard_normal((recipes, 14)), each, axis=0))
    r = recipes * each
    one, nil = torch.ones(r, dtype=torch.float64), torch.zeros(r, dtype=torch.float64)
    terms = Terms(u=u, level=one, slope=nil, measured_sd=0.01 * one, row=one, state=nil)
    gap = np.repeat(level * rng.standard_normal(recipes), each) + row * rng.standard_normal(r)
    return Seen(terms, torch.as_tensor(gap), torch.zeros(r, 1, dtype=torch.float64))


@pytest.mark.parametrize(("level", "row"), [(0.4, 0.03), (0.1, 0.05)])
def test_the_sizes_of_the_discrepancy_come_out_of_the_rows(level, row):
    sizes = infer(PRIOR, made_rows(level, row), torch.zeros(1, dtype=torch.float64))
    assert sizes.level == pytest.approx(level, rel=0.35)
    assert sizes.row == pytest.approx(row, rel=0.2)
    assert sizes.state == pytest.approx(0.1, rel=0.05)  # no row speaks of it: its prior


def test_worlds_follow_what_was_seen_and_are_free_elsewhere():
    rows = facts.read().query("id in ['F046', 'F050', 'F054']")
    read = read_rows(rows)
    terms = likelihood.terms(read, np.arange(3))
    seen = Seen(terms, torch.tensor([0.3, 0.3, 0.3]).double(), torch.zeros(3, 1, dtype=torch.float64))
    known = Discrepancy(Sizes(0.3, 0.05, 0.02, 0.1, 1.0), PRIOR.prior, PRIOR.prior_sd, seen)
    drawn = worlds(known, torch.zeros(400, 1, dtype=torch.float64), seed=0, quantities=1)
    other = parameters_designs([{"time_h": 5.0}, {"time_h": 5.0, "sse": "SS7", "active": "Te", "speed_rpm": 400.0}])
    near, far = drawn.at(encode(other), np.zeros((2, 1))).level.T
    assert near.mean() == pytest.approx(0.3, abs=0.05)
    assert near.std() < 0.06
    assert far.mean() == pytest.approx(0.0, abs=0.06)
    assert far.std() == pytest.approx(0.3, rel=0.2)


def test_a_world_is_one_function_whatever_it_is_asked_for():
    drawn = worlds(PRIOR, torch.zeros(5, 1, dtype=torch.float64), seed=3, quantities=1)
    x = encode(parameters_designs([{"time_h": t} for t in (1.0, 1.02, 5.0)]))
    together = drawn.at(x, np.zeros((3, 1))).level
    alone = drawn.at(take(x, torch.tensor([2])), np.zeros((1, 1))).level
    torch.testing.assert_close(together[:, 2:], alone)
    assert (together[:, 0] - together[:, 1]).abs().max() < 0.05 * 0.2 * 10


def parameters_designs(rows):
    return pd.DataFrame(rows).pipe(
        lambda table: (
            table.fillna({"sse": "LPSCl", "active": "S", "speed_rpm": 2000.0}) if len(table.columns) > 1 else table
        )
    )


def test_differences_agree_with_autograd():
    known = parameters.load()
    rows = read_rows(facts.read().iloc[40:75])
    data = likelihood.build(rows, np.ones(35, dtype=bool))

    def residuals(z):
        return data.residuals(rows.predict(known.values(z)))

    z = torch.as_tensor(known.z)
    exact = jacobian(residuals, z)
    numeric = differences(residuals, z[None], residuals(z[None]))[0]
    assert (exact - numeric).abs().max() < 1e-4 * exact.abs().max()


def test_it_recovers_parameters_from_rows_that_they_made():
    known = parameters.load()
    truth = known.z.copy()
    moved = known.names.index("crystallite_rate_per_um"), known.names.index("damage_dose_h")
    truth[list(moved)] += (1.0, -1.0)
    rows = facts.read().query("observable in ['crystallite_size', 'sse_pellet_conductivity'] and use == 'fit'")
    rows = rows.assign(rel_uncertainty=0.01)
    made = read_rows(rows).predict(known.values(torch.as_tensor(truth)))
    found = calibrate.calibrate(rows.assign(value=made.numpy()))
    again = read_rows(rows).predict(found.parameters.values())
    np.testing.assert_allclose(again, made, rtol=0.05)


def test_a_parameter_that_no_row_speaks_of_stays_at_its_prior():
    rows = facts.read().query("observable == 'crystallite_size'")
    table = calibrate.calibrate(rows).table().set_index("name")
    assert table.loc["fade_bare", "z"] == pytest.approx(0, abs=1e-9)
    assert table.loc["fade_bare", "posterior_over_prior_sd"] == pytest.approx(1, abs=1e-6)
    assert not table.loc["fade_bare", "identified"]
    assert table.loc["crystallite_initial_um", "identified"]


def test_bounds_and_words_pull_only_where_they_are_broken():
    table = pd.DataFrame(
        [
            {"id": i, "active": "S", "sse": "LPSCl", "speed_rpm": 2000.0, "time_h": 5.0, "observable": o, "relation": r,
             "value": v, "cycle": 1.0}
            for i, (o, r, v) in enumerate(
                [("discharge_areal_capacity", ">=", 0.5), ("discharge_areal_capacity", ">=", 60.0),
                 ("segregation_seen", "=", 1.0), ("segregation_seen", "=", 0.0)]
            )
        ]
    )  # fmt: skip
    rows = read_rows(table)
    data = likelihood.build(rows, np.ones(4, dtype=bool))
    kept, broken, right, wrong = data.residuals(rows.predict(parameters.load().values()))
    assert kept < 1e-3
    assert broken > 3
    assert right < 0.1
    assert wrong > 3


def test_the_parameter_file_comes_back_as_it_was_written(tmp_path):
    known = parameters.load()
    parameters.save(known, folder=tmp_path)
    again = parameters.load(tmp_path)
    np.testing.assert_allclose(again.z, known.z, atol=2e-3)
    np.testing.assert_allclose(again.covariance, known.covariance, atol=2e-3)
    assert again.discrepancy.sizes == known.discrepancy.sizes
    torch.testing.assert_close(again.discrepancy.seen.residual, known.discrepancy.seen.residual, rtol=1e-3, atol=1e-3)


def test_every_parameter_has_a_unit_a_tag_and_a_reason():
    for row in parameters.load().rows:
        assert row.unit
        assert row.source
        assert row.tag in {"lit", "est", "fit", "definition"}
        assert row.free == (row.prior_sd > 0)


@pytest.mark.soak
def test_the_goals_are_met_on_mixes_that_were_left_out():
    rows = facts.read()
    left_out = calibrate.leave_one_out(rows, calibrate.calibrate(rows))
    figures = facts.figures(left_out[left_out["use"].isin(["fit", "range"])])
    assert figures["median_abs_residual"] <= 0.20
    assert figures["worst_abs_residual"] <= 1.0
    assert 80 <= figures["coverage_pct"] <= 97
    assert figures["words_wrong"] == 0


def test_rows_of_one_mix_are_left_out_together_and_only_those():
    rows = facts.read().query("sse == 'LPSCl' and active == 'S'")
    rows = pd.concat([rows, rows.assign(loading_mg_cm2=3.0, current_mA_cm2=1.0)])
    read = read_rows(rows.assign(premill_speed_rpm=rows["premill_speed_rpm"].fillna(777)))
    asked = ["speed_rpm", "time_h", "premill_h", "heat_C", "heat_h", "active_wt_pct", "carbon"]
    by_hand = rows[asked].fillna(-1).groupby(asked).ngroup().to_numpy()
    assert pd.Series(read.mix).groupby(by_hand).nunique().eq(1).all()
    assert pd.Series(by_hand).groupby(read.mix).nunique().eq(1).all()

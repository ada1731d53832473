"""The fit: least squares it must solve exactly, data that it must recover, what it says of what it cannot know."""

import numpy as np
import pandas as pd
import pytest
import torch

from models import calibrate, facts, likelihood, parameters
from models.fit import differences, fit, jacobian, laplace
from models.measured import read_rows

RNG = np.random.default_rng(3)
A = torch.as_tensor(RNG.normal(size=(12, 4)))
B = torch.as_tensor(RNG.normal(size=12))


def linear(z):
    return z @ A.T - B


def test_a_linear_problem_is_solved_exactly_with_every_lane_its_own_rows():
    weight = torch.ones(3, 12, dtype=torch.float64)
    weight[1, :6] = 0
    weight[2, 6:] = 0
    found = fit(
        linear, torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), weight=weight
    )
    for lane in range(3):
        w = torch.diag(weight[lane])
        curvature = A.T @ w @ A + torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(found.z[lane], torch.linalg.solve(curvature, A.T @ w @ B), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.covariance[lane], torch.linalg.inv(curvature), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(laplace(linear, found.z[0], weight=weight[0]), found.covariance[0], rtol=1e-4, atol=1e-5)


def test_a_curved_problem_comes_to_its_minimum_from_afar():
    def rosenbrock(z):
        return torch.stack([10 * (z[:, 1] - z[:, 0] ** 2), 1 - z[:, 0]], -1) * 30

    found = fit(
        rosenbrock, torch.tensor([[-1.2, 1.0], [2.0, -1.0]], dtype=torch.float64), weight=torch.ones(2, 2).double()
    )
    torch.testing.assert_close(found.z, torch.ones(2, 2, dtype=torch.float64), rtol=0, atol=2e-2)


def test_differences_agree_with_autograd():
    known = parameters.load()
    rows = read_rows(facts.read().iloc[40:75])
    data = likelihood.build(rows, np.ones(35, dtype=bool))

    def residuals(z):
        return data.residuals(rows.predict(known.values(z)))

    z = torch.as_tensor(known.z)[None]
    exact = jacobian(residuals, z)
    numeric = differences(residuals, z, residuals(z))
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
    file, covariance = tmp_path / "p.csv", tmp_path / "c.csv"
    parameters.save(known, file=file, covariance_file=covariance)
    again = parameters.load(file, covariance)
    np.testing.assert_allclose(again.z, known.z, atol=2e-3)
    np.testing.assert_allclose(again.covariance, known.covariance, atol=2e-3)


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

"""The Gaussian process: its slopes, its agreement with GPyTorch, its leave-one-out."""

import warnings

import numpy as np
import pytest
from scipy.optimize import check_grad

from campaign.space import SearchSpace
from surrogate.gp import Data, _Density, fit, hyperprior
from surrogate.kernel import Layout

SPACE = SearchSpace.of(
    {"a": (0, 1), "b": (0, 1), "kind": ["x", "y", "z"], "other": ["p", "q"]},
    descriptors={
        "kind": {"x": {"k": 1.0, "halide": "Cl"}, "y": {"k": 2.0, "halide": "Br"}, "z": {"k": 4.0, "halide": "Cl"}}
    },
)
LAYOUT = Layout.of(SPACE)


def data(n=12, *, features=0, seed=0, known=False):
    rng = np.random.default_rng(seed)
    x = SPACE.encode(SPACE.sample(n, seed=seed))
    y = np.sin(4 * x[:, 0]) + x[:, 1] + 0.4 * x[:, 2] + 0.05 * rng.normal(size=n)
    variance = np.full(n, 0.01 if known else np.nan)
    return Data(x, (y - y.mean()) / y.std(), variance, rng.normal(size=(n, features)) / 2, np.zeros(n))


@pytest.mark.parametrize(("rho2", "features"), [(0.0, 0), (0.6, 5)])
def test_the_slopes_of_the_density_are_exact(rho2, features):
    centre, spread = hyperprior(LAYOUT)
    density = _Density(LAYOUT, data(features=features), rho2, centre, spread)
    for seed in range(3):
        logs = centre + 0.5 * spread * np.random.default_rng(seed).normal(size=len(centre))
        scale = np.linalg.norm(density.loss(logs)[1])
        assert check_grad(lambda v: density.loss(v)[0], lambda v: density.loss(v)[1], logs) < 1e-4 * (1 + scale)


def test_the_posterior_is_gpytorchs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from gpytorch.distributions import MultivariateNormal
        from gpytorch.kernels import MaternKernel
    space = SearchSpace.of({"a": (0, 1), "b": (0, 1)})
    layout = Layout.of(space)
    x, new = space.encode(space.sample(10, seed=0)), space.encode(space.sample(7, seed=1))
    y = np.cos(3 * x[:, 0]) - x[:, 1]
    part = fit(layout, Data(x, y, np.full(10, 0.04), np.zeros((10, 0)), np.zeros(10)), rho2=0.0)
    kernel = MaternKernel(nu=2.5, ard_num_dims=2).double()
    kernel.lengthscale = torch.tensor(np.exp(part.logs[:2]))
    scale, offset = np.exp(2 * part.logs[-3]), np.exp(2 * part.logs[-2])
    both = torch.tensor(np.vstack([x, new]))
    with torch.no_grad():
        k = 1.0 + scale * (kernel(both).to_dense() + offset)
        joint = MultivariateNormal(torch.zeros(17, dtype=torch.float64), k)
        k = joint.covariance_matrix
        gain = torch.linalg.solve(k[:10, :10] + 0.04 * torch.eye(10, dtype=torch.float64), k[:10, 10:]).T
        mean, cov = gain @ torch.tensor(y), k[10:, 10:] - gain @ k[:10, 10:]
    found = part.joint(new, np.zeros((7, 0)))
    assert np.allclose(found[0], mean.numpy(), atol=1e-5)
    assert np.allclose(found[1], cov.numpy(), atol=1e-5)


def test_leave_one_out_is_what_the_others_predict():
    told = data(known=True)
    whole = fit(LAYOUT, told, rho2=0.0)
    mean, sd = whole.leave_one_out()
    for i in (0, 5):
        keep = np.arange(told.n) != i
        rest = Data(told.x[keep], told.y[keep], told.variance[keep], told.features[keep], told.extra[keep])
        part = fit(LAYOUT, rest, rho2=0.0, start=whole.logs, max_iterations=0)
        alone, width = part.mean_sd(told.x[[i]], told.features[[i]])
        assert alone[0] == pytest.approx(mean[i], abs=1e-5)
        assert np.hypot(width[0], 0.1) == pytest.approx(sd[i], abs=1e-5)


def test_a_fit_finds_what_matters():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.random((40, 2)), np.zeros((40, 2))])
    y = np.sin(6 * x[:, 0])
    part = fit(LAYOUT, Data(x, y, np.full(40, np.nan), np.zeros((40, 0)), np.zeros(40)), rho2=0.0)
    assert np.exp(part.logs[1]) > 3 * np.exp(part.logs[0])
    assert np.exp(part.logs[-1]) < 0.06

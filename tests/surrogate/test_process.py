"""The Gaussian process: its slopes, its agreement with GPyTorch's own posterior, its leave-one-out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad

from campaign.space import SearchSpace
from surrogate.belief import MixturePosterior
from surrogate.kernel import Layout
from surrogate.process import Data, Process, fit, hyperprior

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
    seen = np.hstack([x, rng.normal(size=(n, features)) / 2])
    return Data(seen, (y - y.mean()) / y.std(), np.full(n, 0.01 if known else np.nan), np.zeros(n), features)


@pytest.mark.parametrize(("rho2", "features"), [(0.0, 0), (0.6, 5)])
def test_the_slopes_of_the_density_are_exact(rho2, features):
    centre, spread = (values.numpy() for values in hyperprior(LAYOUT))
    process = Process(LAYOUT, data(features=features), torch.tensor([rho2], dtype=torch.float64))

    def at(logs):
        value, slopes = process.moved(torch.from_numpy(logs)[None], process.rho2).log_density()
        return value.item(), torch.cat(slopes, dim=1)[0].numpy()

    for seed in range(3):
        logs = centre + 0.5 * spread * np.random.default_rng(seed).normal(size=len(centre))
        scale = np.linalg.norm(at(logs)[1])
        assert check_grad(lambda v: at(v)[0], lambda v: at(v)[1], logs) < 1e-4 * (1 + scale)


@pytest.mark.parametrize("features", [0, 4])
def test_covariances_are_the_same_whichever_way_they_are_reckoned(monkeypatch, features):
    shares = torch.tensor([0.0, 0.7] if features else [0.0], dtype=torch.float64)
    told = data(features=features)
    x, other = torch.from_numpy(told.x), torch.from_numpy(data(7, features=features, seed=1).x)
    kernel = Process(LAYOUT, told, shares).covar_module
    traced = kernel.forward(x, other)
    with torch.no_grad():
        assert torch.allclose(kernel.forward(x, other), traced.detach(), rtol=1e-12)
        assert torch.allclose(kernel.forward(x, x, diag=True), kernel.forward(x, x).diagonal(dim1=-2, dim2=-1))
    monkeypatch.setattr("surrogate.kernel.FEW_NAMES", 0)
    among_many = Process(LAYOUT, told, shares).covar_module.forward(x, other)
    assert torch.allclose(among_many, traced, rtol=1e-12)


def test_over_numbers_alone_it_is_matern():
    from gpytorch.kernels import MaternKernel

    layout = Layout.of(SearchSpace.of({"a": (0, 1), "b": (0, 1)}))
    x = torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    process = Process(layout, Data(x.numpy(), np.zeros(9), np.full(9, np.nan), np.zeros(9), 0), torch.zeros(1).double())
    length, other_length, scale, offset = process.covar_module.logs[0].exp()
    theirs = MaternKernel(nu=2.5, ard_num_dims=2).double()
    theirs.lengthscale = torch.stack([length, other_length])[None]
    expected = 1.0 + scale**2 * (theirs(x).to_dense() + offset**2)
    assert torch.allclose(process.covar_module.forward(x, x)[0], expected, atol=1e-9)


@pytest.mark.parametrize(("features", "together"), [(0, False), (4, False), (4, True)])
def test_the_posterior_is_gpytorchs(features, together):
    told = data(features=features, known=True)
    told = replace(told, common=np.full((told.n, told.n), 0.05)) if together else told
    process = fit(LAYOUT, told, [0.0, 0.7] if features else [0.0])
    x = torch.from_numpy(data(7, features=features, seed=1).x)
    with torch.no_grad():
        theirs = process.posterior(x)
        mean, covariance = theirs.mean[..., 0], theirs.distribution.covariance_matrix
    joint, marginal = process.joint(x), process.marginal(x)
    assert torch.allclose(joint[0], mean, atol=1e-5) and torch.allclose(joint[1], covariance, atol=1e-5)
    assert torch.allclose(marginal[0], mean, atol=1e-5)
    assert torch.allclose(marginal[1], covariance.diagonal(dim1=-2, dim2=-1), atol=1e-5)


def test_leave_one_out_is_what_the_others_predict():
    told = data(known=True)
    whole = fit(LAYOUT, told, [0.0])
    mean, variance = whole.leave_one_out()
    for i in (0, 5):
        keep = np.arange(told.n) != i
        rest = Data(told.x[keep], told.y[keep], told.variance[keep], told.extra[keep], 0)
        alone, width = Process(LAYOUT, rest, whole.rho2).moved(whole.logs, whole.rho2).marginal(whole._x[[i]])
        assert alone.item() == pytest.approx(mean[0, i].item(), abs=1e-5)
        assert width.item() + 0.01 == pytest.approx(variance[0, i].item(), abs=1e-5)


def test_a_fit_finds_what_matters():
    x = np.column_stack([np.random.default_rng(1).random((40, 2)), np.zeros((40, 2))])
    told = Data(x, np.sin(6 * x[:, 0]), np.full(40, np.nan), np.zeros(40), 0)
    logs = fit(LAYOUT, told, [0.0]).logs[0].exp()
    assert logs[1] > 3 * logs[0] and logs[-1] < 0.06


def test_draws_of_a_mixture_have_its_mean_and_spread():
    means, covariances = torch.tensor([[0.0, 1.0], [4.0, 2.0]]).double(), 0.25 * torch.eye(2).double().repeat(2, 1, 1)
    mixture = MixturePosterior(means, covariances, torch.tensor([0.75, 0.25]).double())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = mixture.rsample(torch.Size([40000]))
    assert torch.allclose(drawn.mean(0), mixture.mean, atol=0.03)
    assert torch.allclose(drawn.var(0), mixture.variance, atol=0.05)
    assert mixture.variance[0].item() == pytest.approx(0.25 + 16 * 0.75 * 0.25)

"""What rounding decides: nothing. The same results, but for the last digit, give the same proposals and predictions."""

import numpy as np
import pytest

from campaign.space import SearchSpace
from surrogate import Optimiser

SPACE = SearchSpace.of(
    {"speed_rpm": (400, 2000), "time_h": (1, 12), "active_wt_pct": (15, 40), "sse": ["A", "B", "C", "D"]},
    steps={"speed_rpm": 25, "time_h": 0.25, "active_wt_pct": 0.25},
)
BONUS = {"A": 0.0, "B": 3.0, "C": 6.0, "D": 3.0}
LAST_DIGIT = (1e-15, -2e-15, 1e-14)


def ensemble(recipes):
    """16 simulators that put the hill elsewhere."""
    shift = np.linspace(-1, 1, 16)[:, None]
    fast, long = (recipes.speed_rpm.to_numpy() - 1500) / 500, (recipes.time_h.to_numpy() - 6) / 4
    return 50 + 20 * np.exp(-((fast - shift) ** 2) - (long + shift) ** 2) + recipes.sse.map(BONUS).to_numpy()


@pytest.mark.parametrize("prior", [None, ensemble], ids=["without a prior", "with a prior"])
@pytest.mark.parametrize("n", [3, 5, 8, 12])
def test_the_last_digit_of_results_changes_no_proposal_and_no_prediction(prior, n):
    chance = np.random.default_rng(n)
    tried, probes = SPACE.sample(n, seed=3), SPACE.sample(30, seed=9)
    results = ensemble(tried)[4] * (1 + 0.1 * chance.standard_normal(n))

    def told(values):
        optimiser = Optimiser(SPACE, prior=prior, seed=1)
        optimiser.tell(tried, values)
        return optimiser.ask(1)[list(SPACE.names)], optimiser.predict(probes)[["mean", "p05", "p95"]]

    proposal, prediction = told(results)
    for size in LAST_DIGIT:
        again, predicted = told(results * (1 + size * chance.standard_normal(n)))
        assert again.equals(proposal)
        np.testing.assert_allclose(predicted, prediction, rtol=1e-9)

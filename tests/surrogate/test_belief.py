"""What is believed: trust in a simulator, noise, outliers, failures, names never tried, slips."""

import numpy as np
import pandas as pd
import pytest

from campaign.errors import Refusal
from surrogate import Optimiser

BOX = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "sse": ["A", "B", "C"]}
BONUS = {"A": 0.6, "B": 1.0, "C": 0.8}


def truth(recipes, *, best_rpm=1400.0, best_h=4.0):
    far = ((recipes.speed_rpm - best_rpm) / 600) ** 2 + ((recipes.time_h - best_h) / 4) ** 2
    return (100 * np.exp(-far) * recipes.sse.map(BONUS)).to_numpy(float)


def ensemble(recipes):
    """Knows the shape, not the place: 32 draws of the optimum."""
    rng = np.random.default_rng(0)
    return np.stack([truth(recipes, best_rpm=rng.normal(1300, 200), best_h=rng.normal(4.5, 1)) for _ in range(32)])


def misleading(recipes):
    """The time axis and the ranking of names turned round."""
    turned = recipes.assign(time_h=12.5 - recipes.time_h, sse=recipes.sse.map({"A": "B", "B": "A", "C": "C"}))
    return ensemble(turned)


def unrelated(recipes):
    """Hills and valleys that have nothing to do with the truth."""
    waves = np.random.default_rng(1).normal(size=(32, 2)) + 4
    return np.stack([20 + np.sin(a * recipes.speed_rpm / 200 + b * recipes.time_h) for a, b in waves])


def told(n, *, prior=None, seed=0, noise=0.02, **options):
    opt = Optimiser(BOX, prior=prior, seed=seed, **options)
    recipes = opt.space.sample(n, seed=seed)
    rng = np.random.default_rng(seed)
    opt.tell(recipes, truth(recipes) * (1 + noise * rng.normal(size=n)))
    return opt


def test_trust_goes_to_a_good_simulator_and_leaves_a_bad_one():
    assert Optimiser(BOX).trust == 0.0
    assert told(24, prior=ensemble).trust > 0.8
    assert told(24, prior=unrelated).trust < 0.2
    assert told(10, prior=lambda recipes: np.ones(len(recipes))).trust == 0.0, "a flat prior says nothing"


def test_a_good_simulator_predicts_better_than_none_in_any_unit():
    new = Optimiser(BOX).space.sample(64, seed=9)
    errors = {}
    priors = {
        "none": None,
        "good": ensemble,
        "unit": lambda r: 0.01 * ensemble(r),
        "zero": lambda r: 3 + 0.01 * ensemble(r),
    }
    for name, prior in priors.items():
        predicted = told(8, prior=prior).predict(new)["mean"]
        errors[name] = float(np.sqrt(((predicted - truth(new)) ** 2).mean()))
    assert errors["unit"] == pytest.approx(errors["good"], rel=1e-3)
    assert max(errors["good"], errors["zero"]) < 0.1 * errors["none"]


def test_a_simulator_that_ranks_the_names_wrongly_is_mended_there_and_keeps_its_word_about_numbers():
    def steep(recipes, names="ABC"):
        return truth(recipes) / recipes.sse.map(BONUS) * recipes.sse.map(dict(zip(names, (0.1, 0.3, 1.0), strict=True)))

    new, errors = Optimiser(BOX).space.sample(64, seed=9), {}
    for name, prior in (("none", None), ("turned", lambda r: np.outer([0.9, 1.0, 1.1], steep(r, "CBA")))):
        opt = Optimiser(BOX, prior=prior)
        recipes = opt.space.sample(10, seed=3)
        opt.tell(recipes, steep(recipes))
        errors[name] = float(np.sqrt(((opt.predict(new)["mean"] - steep(new)) ** 2).mean()))
    assert errors["turned"] < 0.3 * errors["none"]


def test_a_refuted_simulator_leaves_predictions_about_as_good_as_none():
    new = Optimiser(BOX).space.sample(64, seed=9)
    errors = [
        float(np.sqrt(((told(24, prior=prior).predict(new)["mean"] - truth(new)) ** 2).mean()))
        for prior in (None, misleading)
    ]
    assert errors[1] < 1.25 * errors[0]


def test_intervals_cover_what_was_not_told():
    inside = []
    for seed in range(4):
        opt = told(20, seed=seed, noise=0.05)
        new = opt.space.sample(40, seed=100 + seed)
        interval = opt.predict(new)
        inside.append(((truth(new) >= interval.p05) & (truth(new) <= interval.p95)).mean())
    assert 0.75 <= np.mean(inside) <= 1.0


def test_an_outlier_is_flagged_and_kept_and_a_lone_peak_is_not():
    clean = told(24, seed=3)
    assert not clean.flagged.any(), "the best of few results is a discovery, not an error"
    recipes = pd.concat([clean.trials[list(BOX)][:8]] * 3, ignore_index=True)
    values = truth(recipes) * (1 + 0.03 * np.random.default_rng(0).normal(size=24))
    worst = int(np.argmax(values))
    values[worst] *= 0.3
    opt = Optimiser(BOX, seed=3)
    opt.tell(recipes, values)
    assert opt.flagged.tolist() == [i == worst for i in range(24)]
    assert len(opt.trials) == 24
    held = opt.predict(recipes[worst : worst + 1])["mean"].iloc[0]
    assert held == pytest.approx(truth(recipes)[worst], rel=0.15)


@pytest.mark.parametrize("off", [-60.0, 60.0])
def test_one_gross_error_among_scattered_recipes_is_flagged_though_it_spoils_what_the_others_teach(off):
    found, false = 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        opt = Optimiser(BOX, seed=seed)
        recipes = opt.space.sample(40, seed=seed)
        values = truth(recipes) + rng.normal(0, 3, 40)
        wrong = int(rng.integers(40))
        values[wrong] += off
        opt.tell(recipes, values)
        found += int(opt.flagged[wrong])
        false += int(opt.flagged.sum()) - int(opt.flagged[wrong])
    assert found >= 2, "one of the four lies where the others cannot tell an error from a discovery"
    assert false == 0


def test_failures_that_gather_keep_proposals_away():
    opt = told(12, seed=1)
    bad = opt.space.sample(8, seed=5).assign(sse="B", speed_rpm=lambda r: 1300 + 0.05 * r.speed_rpm)
    opt.tell(bad, [np.nan] * 8)
    opt.tell(bad.assign(time_h=4.0), [np.nan] * 8)
    asked = opt.ask(4)
    assert not ((asked.sse == "B") & asked.speed_rpm.between(1250, 1450) & asked.time_h.between(3, 5)).any()


def test_a_name_never_tried_is_predicted_from_its_descriptors_and_honestly_wide():
    table = {"A": {"k": 0.0}, "B": {"k": 1.0}, "C": {"k": 1.05}, "D": {"k": 0.05}}
    space = {"x": (0, 1), "sse": list(table)}
    opt = Optimiser(space, descriptors={"sse": table}, seed=0)
    x = np.tile(np.linspace(0, 1, 6), 2)
    names = np.repeat(["A", "B"], 6)
    opt.tell(pd.DataFrame({"x": x, "sse": names}), np.where(names == "B", 80.0, 10.0) + x)
    new = opt.predict(pd.DataFrame({"x": [0.5, 0.5, 0.5, 0.5], "sse": list("CDBA")}))
    assert new["mean"][0] > 50 > 40 > new["mean"][1]
    assert new.sd[0] > 2 * new.sd[2] and new.sd[1] > 2 * new.sd[3]


def test_a_sure_result_counts_for_more_than_an_unsure_one():
    recipes = pd.DataFrame({"x": [0.5, 0.5, 0.0, 1.0]})
    opt = Optimiser({"x": (0, 1)}, seed=0)
    opt.tell(recipes, pd.DataFrame({"value": [10.0, 20.0, 12.0, 13.0], "se": [0.1, 5.0, 0.1, 0.1]}))
    assert opt.predict(recipes[:1])["mean"][0] == pytest.approx(10, abs=0.5)


def test_replicates_are_proposed_where_noise_rules_and_not_where_there_is_none():
    noisy, clean = Optimiser({"kind": ["a", "b", "c"]}, seed=0), Optimiser(BOX, seed=0)
    noisy.tell(pd.DataFrame({"kind": list("aabbcc")}), pd.DataFrame({"value": [1, 3, 2, 4, -9, -8], "se": [2.0] * 6}))
    assert noisy.ask(1).kind[0] in "ab"
    for _ in range(9):
        recipes = clean.ask(1)
        clean.tell(recipes, truth(recipes))
    assert not clean.trials.duplicated(subset=list(BOX)).any()


def test_slips_move_the_recommendation_away_from_an_edge():
    def edge(recipes):
        return np.where(recipes.x < 0.7, recipes.x, 0.0)

    answers = []
    for risk in (None, {"x": 0.08}):
        opt = Optimiser({"x": (0, 1)}, seed=0, risk=risk)
        recipes = pd.DataFrame({"x": np.linspace(0, 1, 41)})
        opt.tell(recipes, edge(recipes))
        answers.append(float(opt.recommend().x[0]))
    assert answers[1] < answers[0] - 0.03
    with pytest.raises(Refusal, match="percentage"):
        Optimiser({"x": (0, 1)}, risk={"x": "much"})


def test_cost_pulls_proposals_to_the_cheap_side():
    def cheap_left(recipes):
        return 1.0 + 50.0 * (recipes.time_h > 4)

    plain, thrifty = told(8, seed=2), told(8, seed=2, cost=cheap_left)
    assert (thrifty.ask(4).time_h <= 4).sum() > (plain.ask(4).time_h <= 4).sum() - 1
    assert (thrifty.pending().time_h <= 4).all()
    with pytest.raises(Refusal, match="above 0"):
        told(6, cost=lambda recipes: np.zeros(len(recipes))).ask(1)


def test_results_of_one_sign_over_decades_are_not_predicted_on_the_other_side_of_nothing():
    recipes = pd.DataFrame({"x": [0.0, 0.3, 0.6, 1.0]})
    new = pd.DataFrame({"x": np.linspace(0, 1, 21)})
    values = np.array([2.0, 15.0, 480.0, 60.0])
    up, down, other = (Optimiser({"x": (0, 1)}, goal, seed=0) for goal in ("max", "min", "max"))
    up.tell(recipes, values)
    down.tell(recipes, -values)
    other.tell(recipes, values - 100.0)
    above, below = up.predict(new), down.predict(new)
    assert (above.p05 >= 0).all() and (above["mean"] > above.p05).all() and (above.p95 > above["mean"]).all()
    assert np.allclose(below.p05, -above.p95) and np.allclose(below["mean"], -above["mean"])
    assert (other.predict(new).p05 < 0).any()

"""With several objectives a repetition is asked for where it is worth more than any new recipe, and only there."""

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser

MERIT = dict(zip("ABCDEFGH", (100.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0, 10.0), strict=True))
SPACE = {"sse": list(MERIT), "x": (0.0, 1.0)}


def told(goal: dict, se: float, constraints: tuple[str, ...] = ()) -> Optimiser:
    """All but the middle settings of the two worst electrolytes; of the best one the results have that error."""
    opt = Optimiser(SPACE, goal, steps={"x": 0.5}, constraints=constraints, seed=1)
    recipes = pd.DataFrame([{"sse": sse, "x": x} for sse in MERIT for x in (0.0, 0.5, 1.0)])
    recipes = recipes[~((recipes["x"] == 0.5) & recipes["sse"].isin(["G", "H"]))]
    merit, errors = recipes["sse"].map(MERIT), np.where(recipes["sse"] == "A", se, 0.5)
    results = {
        "a": merit * (0.5 + recipes["x"] / 2),
        "b": merit * (1 - recipes["x"] / 2),
        "a_se": errors,
        "b_se": errors,
    }
    outcomes = ["b", "b_se"] if "b" in goal or constraints else []
    opt.tell(recipes, pd.DataFrame(results)[["a", "a_se", *outcomes]])
    return opt


@pytest.mark.parametrize("goal", [{"a": "max", "b": "max"}, {"a": "max", "x": "min"}, {"a": "max"}])
def test_a_doubtful_result_at_the_front_is_repeated_with_several_objectives_as_with_one(goal):
    asked = told(goal, 25.0).ask(2, explain=True)
    assert asked["sse"].iloc[0] == "A" and asked["reason"].iloc[0].startswith("Replicate of a recipe measured 1 time")
    if len(goal) > 1:
        assert all(f"{name} " in asked["reason"].iloc[0] for name in goal) and "the front" in asked["reason"].iloc[0]
    assert not asked.duplicated(["sse", "x"]).any()


def test_what_is_known_well_is_not_repeated():
    asked = told({"a": "max", "b": "max"}, 0.5).ask(1, explain=True)
    assert not asked["reason"].iloc[0].startswith("Replicate")


def test_what_cannot_meet_the_conditions_is_not_repeated_for_the_front():
    asked = told({"a": "max", "x": "min"}, 25.0, ("b <= 15",)).ask(1, explain=True)
    assert not asked["reason"].iloc[0].startswith("Replicate")


def peak(recipes: pd.DataFrame, narrow: float) -> np.ndarray:
    x = recipes["x"].to_numpy(float)
    return 10 + 6 * np.sin(2.5 * x) + 8 * narrow * np.exp(-(((x - 0.7) / 0.03) ** 2))


def test_a_flagged_result_that_would_be_the_best_is_measured_again_before_anything_else():
    for true in (True, False):
        opt = Optimiser({"x": (0.0, 1.0)}, seed=0)
        x = pd.DataFrame({"x": np.append(np.linspace(0.03, 0.99, 9), 0.7)})
        opt.tell(x, peak(x, 1) + 0.1 * np.random.default_rng(0).normal(size=10))
        assert opt.flagged.tolist() == [False] * 9 + [True]
        asked = opt.ask(1, explain=True)
        assert asked["x"].iloc[0] == pytest.approx(0.7, abs=1e-6)
        assert "contradicts the others" in asked["reason"].iloc[0]
        opt.tell(asked[["x"]], peak(asked, 1 if true else 0))
        assert (opt.recommend()["mean"].iloc[0] > 20) == true
        asked = opt.ask(1)
        assert asked["x"].iloc[0] != pytest.approx(0.7, abs=1e-6), "twice is enough"


@pytest.mark.parametrize("at", [0.7, 0.06])
def test_a_flagged_result_that_would_add_to_the_front_is_measured_again_with_several_objectives(at):
    """Beside a capacity with a spike at 0.7 there is a loss, flat but for one reading: a high one adds nothing to the front."""
    opt = Optimiser({"x": (0.0, 1.0)}, {"loss": "min", "capacity": "max"}, seed=0)
    x = pd.DataFrame({"x": np.append(np.linspace(0.03, 0.99, 9), at)})
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 10))
    loss = 5 + 3 * x["x"] + noise[0] + np.where((x["x"] == at) & (at != 0.7), 4.0, 0.0)
    opt.tell(x, pd.DataFrame({"loss": loss, "capacity": peak(x, 1) + noise[1]}))
    assert opt.flagged.tolist() == [False] * 9 + [True]
    asked = opt.ask(1, explain=True)
    again = asked["reason"].iloc[0].startswith("Repeats a result that contradicts the others (capacity 2")
    assert again == (at == 0.7)
    if again:
        assert (
            asked["x"].iloc[0] == pytest.approx(0.7, abs=1e-6) and "an addition to the front" in asked["reason"].iloc[0]
        )
        opt.tell(asked[["x"]], pd.DataFrame({"loss": [7.1], "capacity": peak(asked, 0)}))
        assert opt.ask(1)["x"].iloc[0] != pytest.approx(0.7, abs=1e-6), "twice is enough"

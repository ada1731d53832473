"""Virtual labs: what is drawn, what is asked, what is plugged in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaign.errors import Refusal
from campaign.space import SearchSpace
from campaign.spec import Objective
from models.virtual_lab import LEVELS, Best, Cell, Question, VirtualLab, published_question
from models.virtual_lab_plug import OpenLab, factory_from, open_lab

RECIPE = {"speed_rpm": 1800.0, "time_h": 4.0, "active_wt_pct": 25.0, "sse": "LPSCl"}


@pytest.fixture(scope="module")
def biased() -> OpenLab:
    return open_lab(3, "biased", question=published_question())


@pytest.mark.parametrize("level", LEVELS)
def test_a_lab_is_its_seed_and_level(level):
    one, same, other = VirtualLab(4, level), VirtualLab(4, level), VirtualLab(5, level)
    recipes = pd.DataFrame([RECIPE])
    assert one.truth(recipes) == same.truth(recipes)
    assert one.truth(recipes) != other.truth(recipes)


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_in_the_space_beats_the_best(level):
    lab = VirtualLab(2, level)
    sample = lab.question.space.sample(1500, seed=9)
    assert lab.truth(sample).max() <= lab.best().value * 1.001
    assert lab.truth(pd.DataFrame([lab.best().recipe]))[0] == pytest.approx(lab.best().value, rel=1e-6)


def test_the_best_of_a_minimum_is_the_least(biased):
    question = published_question()
    least = Question(question.space, question.conditions, Objective(outcome=question.objective.outcome, goal="min"))
    lab = VirtualLab(3, "biased", question=least)
    assert lab.best().value <= lab.truth(least.space.sample(500, seed=1)).min()


def test_noise_has_the_sizes_that_were_fixed(biased):
    batches = [biased.mix(RECIPE, day=0.0, label=f"M{i}") for i in range(400)]
    firsts = np.array([biased.cycle(mix, 1).discharge_mAh_cm2[0] for mix in batches])
    log = np.log(firsts)
    middle = log[np.abs(log - np.median(log)) < 0.45]
    assert np.std(middle) == pytest.approx(np.hypot(0.12, 0.05), rel=0.15)
    cells = [biased.cycle(batches[0], 1, cell=i).discharge_mAh_cm2[0] for i in range(300)]
    log = np.log(cells)
    assert np.std(log[np.abs(log - np.median(log)) < 0.2]) == pytest.approx(0.05, rel=0.15)


def test_some_cells_die_early_and_die_the_same_when_asked_again(biased):
    mix = biased.mix(RECIPE, day=0.0, label="M1")
    lengths = [len(biased.cycle(mix, 100, cell=i).hours) for i in range(200)]
    dead = [i for i, n in enumerate(lengths) if n < 100]
    assert 2 <= len(dead) <= 22
    assert len(biased.cycle(mix, 100, cell=dead[0]).hours) == lengths[dead[0]]


def test_a_partial_curve_is_the_beginning_of_the_whole(biased):
    mix = biased.mix(RECIPE, day=0.0, label="M1")
    whole, part = biased.cycle(mix, 100), biased.cycle(mix, 25)
    np.testing.assert_allclose(whole.discharge_mAh_cm2[:25], part.discharge_mAh_cm2)
    np.testing.assert_allclose(part.hours, (part.discharge_mAh_cm2 + part.charge_mAh_cm2) / 0.67)


def test_the_median_of_many_cells_is_the_truth(biased):
    values = [biased.measured(RECIPE, biased.cycle(biased.mix(RECIPE, day=0.0, label=f"M{i}"), 100)) for i in range(60)]
    assert np.nanmedian(values) == pytest.approx(biased.truth(pd.DataFrame([RECIPE]))[0], rel=0.08)


def test_wrong_turns_time_or_electrolytes_round():
    turned = {VirtualLab(seed, "wrong").turned for seed in range(8)}
    assert turned == {"time_h", "sse"}


def test_wrong_needs_something_to_turn_round():
    question = published_question()
    space = SearchSpace.of({"speed_rpm": (400, 2000)})
    held = {**question.conditions, "sse": "LPSCl", "time_h": 5.0, "active_wt_pct": 22.75}
    with pytest.raises(Refusal, match="varies neither"):
        VirtualLab(0, "wrong", question=Question(space, held, question.objective))


def test_curves_cross_where_the_fade_law_is_its_own():
    question = published_question()
    recipes = question.space.sample(200, seed=0)
    names = [f"discharge_areal_capacity_cycle_{n}_mAh_cm2" for n in (5, 100)]

    def misranked(level: str) -> float:
        tables = [VirtualLab(seed, level).outcomes(recipes, names).rank() for seed in range(4)]
        return float(np.mean([1 - table.corr().iloc[0, 1] for table in tables]))

    assert misranked("biased") > 0.02


def test_powder_comes_with_every_mix(biased):
    powder = biased.powder(biased.mix(RECIPE, day=0.0, label="M1"))
    assert powder["crystallite_size_um"] > 0
    assert powder["surface_halide_to_P"] >= 0.7


def test_an_unknown_level_is_refused():
    with pytest.raises(Refusal, match="faithful, biased, wrong"):
        VirtualLab(0, "honest")  # type: ignore[arg-type]  # what the test is about


FILE = """
class Lab:
    def __init__(self, seed, level):
        self.gain = 1 + seed
    def mix(self, recipe, context, day):
        return recipe["time_h"]
    def powder(self, mix):
        return {}
    def cycle(self, cell, n):
        hours = [1.0] * n
        return [self.gain * cell.mix / 10] * n, hours
    def best(self):
        return self.gain * 12 / 10 / (4 / 0.2275) * 1000

def factory(seed, level):
    return Lab(seed, level)
"""


def test_a_lab_of_ones_own_is_asked_the_same(tmp_path: Path):
    (tmp_path / "mine.py").write_text(FILE)
    lab = open_lab(1, "biased", question=published_question(), file=f"{tmp_path / 'mine.py'}:factory")
    assert isinstance(lab.best(), Best)
    record = lab.cycle(lab.mix({**RECIPE, "active_wt_pct": 22.75}, day=0.0, label="M1"), 100)
    assert lab.measured({**RECIPE, "active_wt_pct": 22.75}, record) == pytest.approx(0.8 / (4 / 0.2275) * 1000)
    assert lab.truth(pd.DataFrame([{**RECIPE, "active_wt_pct": 22.75}])) == pytest.approx(0.8 / (4 / 0.2275) * 1000)


@pytest.mark.parametrize(
    ("text", "says"),
    [("mine.py", "FILE.py:factory"), ("none.py:factory", "no file"), ("mine.py:other", "no function other")],
)
def test_a_lab_that_is_not_there_is_refused(tmp_path: Path, text: str, says: str):
    (tmp_path / "mine.py").write_text(FILE)
    name, _, function = text.partition(":")
    asked = f"{tmp_path / name}:{function}" if function else text
    with pytest.raises(Refusal, match=says):
        factory_from(asked)


def test_a_cell_is_a_mix_and_a_number():
    lab = VirtualLab(0, "faithful")
    mix = lab.mix(RECIPE, {}, 0.0)
    assert Cell(mix) == Cell(mix, 1)
    assert len(lab.cycle(Cell(mix), 2).hours) <= 2

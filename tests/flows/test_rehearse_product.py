"""The product on the virtual clock: partial curves as evidence, advice on running cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from campaign.recipe import complete
from campaign.space import SearchSpace
from campaign.spec import Lab, Objective, OutcomeBound
from flows.advice import WEAK
from flows.early_evidence import NOISE_SD, Seen, needed_cycle
from flows.rehearsal_calendar import Bench, play
from flows.rehearsal_product import Product, Switches
from models.virtual_lab import Best, Cell, Cycles, Question
from models.virtual_lab_plug import OpenLab

N = np.arange(100)
OUTCOME = "discharge_areal_capacity_cycle_100_mAh_cm2"


def question(outcome: str = OUTCOME, **space) -> Question:
    return Question(
        SearchSpace.of(space or {"time_h": (0.5, 12.0)}), {"duty": 0.5, "cycles": 100}, Objective(outcome=outcome)
    )


class FadingLab:
    """Best at 6 h; what is far from it starts low and fades."""

    def mix(self, recipe, context, day):
        return float(recipe["time_h"])

    def powder(self, mix):
        return {}

    def cycle(self, cell: Cell, n: int) -> Cycles:
        off = abs(cell.mix - 6) / 6
        q = 6 * (1 - off) * np.exp(-0.01 * off * N[:n]) + 0.01
        return Cycles(q, q, 2 * q / 0.67)

    def best(self):
        return Best(6.01)

    def truth(self, recipes: pd.DataFrame):
        return np.array([self.cycle(Cell(t), 100).discharge_mAh_cm2[-1] for t in recipes["time_h"]])


def product(**given) -> Product:
    asked = question()
    curves = [q * np.exp(-k * N) for q in (2.0, 4.0, 6.0) for k in np.linspace(0.0, 0.02, 10)]
    return Product(asked, curves=curves, **{"seed": 1, **given})


def cell(number: int, time_h: float, cycles: int, state: str = "running") -> Seen:
    return Seen(number, {"time_h": time_h}, {}, FadingLab().cycle(Cell(time_h), cycles).discharge_mAh_cm2, state)


def test_a_running_cell_is_evidence_with_more_doubt_than_a_finished_one():
    tests = [cell(1, 5.0, 10), cell(2, 6.5, 50), cell(3, 4.0, 100, "ended")]
    tests += [cell(10 * n + k, 5.0 + k / 2, n) for n in (10, 50) for k in range(3)]
    known = product().evidence(tests).table
    relative = (known[f"{OUTCOME}_se"] / known[OUTCOME]).to_numpy()
    assert relative[0] > relative[1] > relative[2] == pytest.approx(NOISE_SD)
    truth = FadingLab().truth(pd.DataFrame({"time_h": [4.0]}))[0]
    assert known[OUTCOME].iloc[2] == pytest.approx(truth)


def test_what_cells_owe_to_the_laws_is_common_and_the_rest_is_their_own_noise():
    tests = [cell(1, 5.0, 10), cell(2, 5.2, 10), cell(3, 11.0, 10), cell(4, 4.0, 100, "ended")]
    told = product().evidence(tests)
    known, common = told.table, told.common[OUTCOME]
    values = known[OUTCOME].to_numpy()
    own = known[f"{OUTCOME}_se"].to_numpy() ** 2 - np.diagonal(common)
    assert np.sqrt(own) / values == pytest.approx(NOISE_SD)
    sds = np.sqrt(np.diagonal(common))[:3]
    correlation = common[:3, :3] / np.outer(sds, sds)
    assert correlation[0, 1] > correlation[0, 2] and (common[3] == 0).all()


def test_a_cell_that_died_late_still_tells_and_one_without_a_cycle_failed():
    known = product().evidence([cell(1, 5.0, 40, "died"), cell(2, 5.0, 0, "died"), cell(3, 5.0, 0, "mixing")]).table
    assert known["number"].tolist() == [1, 2]
    assert known[OUTCOME].notna().tolist() == [True, False]


def batches(cycled: int) -> list[Seen]:
    """Cells whose level follows a powder reading and not their mixing time, the first ones with ten cycles."""
    sizes = np.array([1.0, 3.0, 1.5, 2.5, 1.2, 2.8, 2.0, 0.9, 3.2, 1.8, 1.1, 2.9])
    curve = np.outer(6.0 / sizes, np.exp(-0.001 * N[:10]))
    return [
        Seen(k, {"time_h": 1.0 + k % 3}, {"size_nm": s}, q if k < cycled else np.zeros(0), "running")
        for k, (s, q) in enumerate(zip(sizes, curve, strict=True))
    ]


def test_a_batch_of_which_only_the_powder_is_known_tells_what_it_lets_expect():
    cells = batches(10)
    told = product().evidence(cells)
    fine, coarse = told.table[OUTCOME].iloc[10:]
    assert told.table["number"].tolist() == list(range(12)) and fine > 1.5 * coarse
    relative = (told.table[f"{OUTCOME}_se"] / told.table[OUTCOME]).to_numpy()
    assert relative[10:].min() > relative[:10].max()
    before = product().evidence(cells[:10])
    assert np.array_equal(before.table[OUTCOME], told.table[OUTCOME][:10])
    assert (np.sqrt(np.diagonal(told.common[OUTCOME])) < told.table[f"{OUTCOME}_se"]).all()


def test_a_batch_speaks_once_and_not_beside_its_own_cell():
    cells = batches(10)
    twin, sister = replace(cells[10], number=20), replace(cells[3], number=21, discharge=np.zeros(0))
    assert product().evidence([*cells, twin, sister]).table["number"].tolist() == list(range(12))


def test_the_chooser_is_told_of_powder_when_it_comes_in_and_waits_for_the_cell():
    cells = [replace(test, state="mixing") if test.number == 10 else test for test in batches(10)[:11]]
    made = product()
    before = made._optimiser([*cells[:10], replace(cells[10], powder={})])
    after = made._optimiser(cells)
    assert len(after.trials) == len(before.trials) + 1 == 11
    blind = product(switches=Switches(powder=False))
    assert len(blind._optimiser(cells).trials) == 10


def test_without_partial_curves_only_ended_cells_count():
    tests = [cell(1, 5.0, 60), cell(2, 6.0, 100, "ended")]
    assert product(switches=Switches(partial_curves=False)).evidence(tests).table["number"].tolist() == [2]


@pytest.mark.parametrize("off", ["partial_curves", "powder", "cost_aware"])
def test_with_a_part_off_no_error_in_common_exceeds_what_is_stated(off: str):
    tests = [cell(k, 1.5 * k, 10 * k) for k in range(1, 6)] + [cell(6, 5.5, 100, "ended"), cell(7, 3.0, 30, "died")]
    tests = [replace(test, powder={"reading_nm": 50.0 + 7 * test.number**2}) for test in tests]
    chooser = product(switches=Switches(**{off: False}))
    told = chooser.evidence(tests)
    stated = told.table[f"{OUTCOME}_se"].to_numpy()
    assert (np.sqrt(np.diagonal(told.common[OUTCOME])) < stated).all()
    assert 0.5 <= chooser.next(tests, free=1)["time_h"] <= 12.0


def test_a_hopeless_cell_is_stopped_and_the_best_goes_on():
    ended = [cell(k, t, 100, "ended") for k, t in enumerate((2.0, 4.0, 5.5, 6.0, 8.0, 10.0), start=1)]
    advice = {a.number: a for a in product().advise([*ended, cell(7, 0.75, 10), cell(8, 6.0, 10)])}
    assert advice[7].stop
    assert advice[7].chance_best < 0.02 < advice[8].chance_best
    assert "chance" in advice[7].reason


def test_good_cells_run_on_while_no_batch_waits_for_a_channel():
    good = [cell(k, 5.5 + 0.2 * k, 10 * k) for k in range(1, 5)]
    assert not any(a.stop for a in product().advise(good))


def test_a_waiting_batch_takes_the_channel_of_the_cell_that_has_least_to_tell():
    ended = [cell(10 + k, t, 100, "ended") for k, t in enumerate((4.9, 5.1, 5.9, 6.1, 6.2, 9.0))]
    good = [cell(1, 6.0, 99), cell(2, 6.0, 60), cell(3, 5.0, 60), cell(4, 6.1, 3)]
    stopped = [a for a in product().advise([*ended, *good], wanted=1) if a.stop]
    assert [a.number for a in stopped] == [3]
    assert "waits for a channel" in stopped[0].reason


def test_the_first_cells_of_a_region_keep_their_channels_until_one_has_come_to_its_end():
    """What they lack they lack together, and fresh cells would lack it too."""
    good = [cell(1, 6.0, 60), cell(2, 6.0, 60), cell(3, 5.5, 60), cell(4, 6.1, 50)]
    assert not [a.number for a in product().advise(good, wanted=4) if a.stop]
    ended = [cell(10 + k, t, 100, "ended") for k, t in enumerate((5.5, 5.8, 6.0, 6.1, 6.2))]
    assert [a.number for a in product().advise([*ended, *good], wanted=4) if a.stop]


def test_a_cell_whose_current_is_varied_takes_as_long_as_its_own_current_lets_it():
    cells = [replace(cell(k, 6.0, 10), recipe={"time_h": 6.0, "current_mA_cm2": 0.3 * k}) for k in (1, 2)]
    days = Product(question(time_h=(0.5, 12.0), current_mA_cm2=(0.2, 2.0)), seed=1).cycle_days(cells)
    assert days[1] == pytest.approx(2 * cells[0].discharge.mean() / 0.3 / 24)
    assert days[2] == pytest.approx(days[1] / 2)
    held = product().cycle_days([cell(1, 6.0, 10)])[1]
    assert held == pytest.approx(days[1] * 0.3 / 0.67)


def test_what_is_under_way_is_not_asked_for_again():
    made, tests = product(), []
    for number in range(1, 4):
        recipe = made.next(tests, free=3)
        tests.append(Seen(number, recipe, {}, np.zeros(0), "mixing"))
    assert len({test.recipe["time_h"] for test in tests}) == 3


def test_a_rehearsal_mixes_no_more_than_the_stock_holds():
    made = Product(question(sse=["LPSCl", "LPSBr"]), seed=1, lab=Lab(stock_g={"LPSCl": 1.2, "LPSBr": 1.7}))
    tests = []
    for number in range(1, 9):
        recipe = made.next(tests, free=8)
        if recipe is None:
            break
        tests.append(Seen(number, recipe, {}, np.zeros(0), "mixing"))
    used = pd.DataFrame([test.recipe for test in tests])["sse"].value_counts().to_dict()
    share = complete(pd.DataFrame([{"sse": "LPSCl"}]))["sse_wt_pct"].iloc[0] / 100
    assert used == {"LPSCl": int(1.2 / share), "LPSBr": int(1.7 / share)}
    assert recipe is None


def test_stopping_makes_room_once_the_first_cells_have_taught_what_early_cycles_mean():
    lab = OpenLab(FadingLab(), question())
    later = {True: 0, False: 0}
    for partial in later:
        for seed in range(3):
            made = product(switches=Switches(partial_curves=partial), seed=seed)
            played = play(lab, made, Bench(channels=2, most_tests=40, horizon_days=300.0))
            later[partial] += sum(150 < test.started_day < 300 for test in played.tests)
    assert later[True] > 1.2 * later[False]  # 17 and 12


def test_a_weak_cell_gives_way_to_a_batch_that_waits_and_only_then():
    known = [cell(10 + k, t, 100, "ended") for k, t in enumerate((5.8, 5.9, 6.0, 6.0, 6.1, 6.2))]
    running = [cell(1, 6.0, 10), cell(2, 6.1, 10), cell(3, 4.5, 10), cell(4, 7.8, 10)]
    assert not any(a.stop for a in product().advise([*known, *running]))
    stopped = [a for a in product().advise([*known, *running], wanted=2) if a.stop]
    assert [a.number for a in stopped] == [3, 4]
    assert all(a.chance_best < WEAK and "less than 10%, and a batch waits" in a.reason for a in stopped)


def test_what_is_bounded_is_foreseen_by_the_physics_in_a_rehearsal_too():
    """Of two hills of the objective the higher one is where the physics says that the condition is broken."""

    def hills(recipes: pd.DataFrame) -> np.ndarray:
        t = recipes["time_h"].to_numpy(float)
        told = 4 * np.exp(-((t - 3) ** 2)) + 6 * np.exp(-((t - 9) ** 2))
        return told * np.linspace(0.9, 1.1, 16)[:, None]

    def kept(recipes: pd.DataFrame) -> np.ndarray:
        return 95 - 5 * recipes["time_h"].to_numpy(float) + np.linspace(-3.0, 3.0, 16)[:, None]

    bounds = (OutcomeBound(outcome="retention_cycle_100_pct", at_least=70.0),)
    priors = {OUTCOME: hills, "retention_cycle_100_pct": kept}
    first = {
        name: Product(replace(question(), bounds=bounds), priors=told, seed=1).next([], free=8)["time_h"]
        for name, told in (("both", priors), ("objective", {OUTCOME: hills}))
    }
    assert first["both"] < 5 < first["objective"]


def test_where_no_cell_is_likely_to_meet_the_conditions_all_but_the_likeliest_give_way():
    bound = OutcomeBound(outcome="retention_cycle_100_pct", at_least=99.0)
    made = Product(replace(question(), bounds=(bound,)), seed=1)
    ended = [cell(10 + k, t, 100, "ended") for k, t in enumerate((9.0, 9.5, 10.0, 10.5, 11.0, 11.5))]
    running = [cell(1, 9.2, 60), cell(2, 9.7, 60), cell(3, 10.2, 60), cell(4, 10.7, 60)]
    assert not any(a.stop for a in made.advise([*ended, *running]))
    stopped = [a for a in made.advise([*ended, *running], wanted=2) if a.stop]
    assert len(stopped) == 2 and 1 not in [a.number for a in stopped]
    assert all("a batch waits for a channel" in a.reason and a.chance_best < 0.02 for a in stopped)


def test_the_cycle_that_an_objective_needs():
    assert needed_cycle(OUTCOME, {"cycles": 150}) == 100
    assert needed_cycle("q2_over_q1", {"cycles": 150}) == 2
    assert needed_cycle("peak_areal_capacity_mAh_cm2", {"cycles": 150}) == 150

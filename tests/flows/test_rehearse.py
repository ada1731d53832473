"""Rehearsals and virtual labs as evaluators, through their doors."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from campaign.errors import Refusal
from flows import choose
from flows.cli.rehearse import rehearse as command
from flows.cli.run import run, tick
from flows.rehearse import evaluate_virtual, read_question, rehearse
from flows.session import now, open_session
from models.virtual_lab_plug import open_lab

CAMPAIGN = """
campaign: small
evaluator: {evaluator}
seed: 1
space:
  time_h: {{low: 0.5, high: 12, step: 0.25}}
  sse: [LPSCl, LPSBr]
objectives:
  - {{outcome: {outcome}, goal: max}}
budget: {{trials: 3, batch: 2}}
lab: {{channels: 2}}
virtual_lab: {{seed: 3, level: faithful}}
"""

OWN = """
class Lab:
    def __init__(self, seed):
        self.seed = seed
    def mix(self, recipe, context, day):
        return recipe["time_h"]
    def powder(self, mix):
        return {}
    def cycle(self, cell, n):
        q = 5.0 * (1 - abs(cell.mix - 4) / 20)
        return [q] * n, [2 * q / 0.67] * n
    def best(self):
        return 5.0 / (4 / 0.2275) * 1000

def factory(seed, level):
    return Lab(seed)
"""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))

    def write(evaluator: str = "lab", outcome: str = "discharge_capacity_cycle_10_mAh_g_composite") -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(CAMPAIGN.format(evaluator=evaluator, outcome=outcome))
        return path

    return write


def test_the_command_gives_table_picture_and_json(campaign, tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    arguments = [str(campaign()), "--workers", "1", "--lab", f"{tmp_path / 'own.py'}:factory"]
    picture = tmp_path / "r.png"
    told = CliRunner().invoke(command, [*arguments, "--labs", "1"], catch_exceptions=False)
    assert "chance of success" in told.stdout
    both = [*arguments, "--labs", "2", "--plot", str(picture), "--json"]
    data = json.loads(CliRunner().invoke(command, both, catch_exceptions=False).stdout)
    assert picture.stat().st_size > 1000
    assert data["labs"] == 2
    assert {row["lab"] for row in data["by_lab"]} == {7, 8}
    assert all(row["cells_used"] <= 3 for row in data["by_lab"])
    assert (
        0
        <= data["chance_of_success"]["p05"]
        <= data["chance_of_success"]["value"]
        <= data["chance_of_success"]["p95"]
        <= 1
    )


def test_a_rehearsal_that_the_stock_ends_says_so(campaign, tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    path = campaign()
    arguments = [str(path), "--workers", "1", "--labs", "1", "--lab", f"{tmp_path / 'own.py'}:factory"]
    assert "stock" not in CliRunner().invoke(command, arguments, catch_exceptions=False).stdout
    path.write_text(path.read_text().replace("channels: 2", "channels: 2, stock_g: {S: 0.5}"))
    told = CliRunner().invoke(command, arguments, catch_exceptions=False).stdout
    assert "in 1 of 1 labs the stock ran out, after 2 cells at the median: " in told
    assert "what is left (S 0.045 g) does not do for one more batch" in told


def test_the_same_seed_gives_the_same_rehearsal(campaign):
    once, again = (rehearse(campaign(), labs=1, seed=5, workers=1)[0] for _ in range(2))
    assert once.weeks.equals(again.weeks)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [("discharge_energy_cycle_10_Wh_kg_composite", "cannot be rehearsed")],
)
def test_what_no_capacity_shows_is_refused(campaign, outcome: str, says: str):
    with pytest.raises(Refusal, match=says):
        rehearse(campaign(outcome=outcome), labs=1, workers=1)


@pytest.mark.parametrize("factory", ["steps", "constant", "dead"])
@pytest.mark.parametrize("outcome", ["discharge_areal_capacity_cycle_41_mAh_cm2"])
def test_a_lab_of_a_strangers_making_is_played_to_the_end(campaign, factory: str, outcome: str):
    text = campaign(outcome=outcome).read_text()
    wide = "space:\n  speed_rpm: {low: 900, high: 2000}"
    path = campaign()
    path.write_text(
        text.replace("space:", wide).replace("[LPSCl, LPSBr]", "[LPSCl, LGPS]").replace("trials: 3", "trials: 5")
    )
    file = f"{Path(__file__).with_name('stranger_lab.py')}:{factory}"
    (result,) = rehearse(path, labs=1, seed=3, lab_file=file, workers=1, horizon_days=120)
    assert result.cells_used == 5
    if factory == "constant":
        assert result.within and result.regret == pytest.approx(0.0)
    if factory == "dead":
        assert not result.within


def test_several_objectives_are_refused_with_a_way_out(campaign):
    path = campaign()
    path.write_text(path.read_text().replace("budget:", "  - {outcome: mixing_time_h, goal: min}\nbudget:"))
    with pytest.raises(Refusal, match="outcome_constraints"):
        rehearse(path, labs=1, workers=1)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("  - {outcome: mixing_time_h, goal: min}\n", "a virtual lab answers one objective, not 2: keep "),
        (
            "outcome_constraints:\n  - {outcome: discharge_energy_cycle_10_Wh_kg_composite, at_least: 1}\n",
            "a virtual lab gives capacities and hours, and discharge_energy_cycle_10_Wh_kg_composite needs voltages",
        ),
    ],
)
def test_what_a_virtual_lab_cannot_answer_is_refused_before_anything_is_proposed(campaign, more: str, says: str):
    path = campaign("virtual-lab")
    path.write_text(path.read_text().replace("budget:", f"{more}budget:"))
    ran = CliRunner().invoke(tick, [str(path)])
    assert says in str(ran.exception) and "small.yaml, line " in str(ran.exception)
    assert "rehears" not in str(ran.exception)
    path.write_text(path.read_text().replace(more, ""))
    assert open_session(path).ledger.trials("small").empty


def test_bounds_on_outcomes_hold_in_what_a_rehearsal_recommends(campaign, tmp_path: Path):
    """The lab's best is at 4 h; with the mixing time bounded, what is recommended keeps to the bound."""
    (tmp_path / "own.py").write_text(OWN.replace("return 5.0 / (4", "return 5.0 * 0.95 / (4"))
    path = campaign()
    bound = "outcome_constraints:\n  - {outcome: mixing_time_h, at_most: 3}\nbudget:"
    path.write_text(path.read_text().replace("budget:", bound))
    (result,) = rehearse(path, labs=1, workers=1, lab_file=f"{tmp_path / 'own.py'}:factory")
    assert 0 <= result.regret < 0.2


def told_of(campaign: Path, tmp_path: Path, own: str, *more: str):
    """What the command says of a lab of one's own: the printed lines, and the data of --json."""
    (tmp_path / "own.py").write_text(own)
    arguments = [str(campaign), "--workers", "1", "--labs", "1", "--lab", f"{tmp_path / 'own.py'}:factory", *more]
    shown = CliRunner().invoke(command, arguments, catch_exceptions=False)
    data = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).stdout)
    return shown, data


def test_a_bound_that_the_recommended_recipe_breaks_is_named(campaign, tmp_path: Path):
    path, bound = campaign(), "discharge_areal_capacity_cycle_10_mAh_cm2"
    broken = f"outcome_constraints:\n  - {{outcome: {bound}, at_least: 100}}\n  - {{outcome: mixing_time_h, at_most: 9}}\nbudget:"
    path.write_text(path.read_text().replace("budget:", broken))
    shown, data = told_of(path, tmp_path, OWN)
    assert data["by_lab"][0]["breaks"] == [f"{bound} at least 100"]
    assert f"recommended recipe breaks {bound} at least 100" in shown.stderr
    assert (
        f"in 1 of 1 labs that recipe breaks a bound, so that it counts as worth nothing: {bound} at least 100"
        in shown.stdout
    )


def test_a_built_in_lab_s_broken_bound_is_named(campaign):
    path = campaign()
    hard = "outcome_constraints:\n  - {outcome: retention_cycle_10_pct, at_least: 99.99}\nbudget:"
    path.write_text(path.read_text().replace("budget:", hard) + "prior: none\n")
    question = read_question(path)[2]
    lab = open_lab(3, "biased", question=question)
    recipes = question.space.sample(8, seed=1)
    broken = [bool(lab.broken(row)) for row in recipes.to_dict("records")]
    assert broken == np.isnan(lab.admitted(recipes)).tolist() and any(broken)


def test_a_campaign_that_the_horizon_cuts_off_is_said_to_be(campaign, tmp_path: Path):
    slow = OWN.replace("[2 * q / 0.67] * n", "[400.0] * n")
    shown, data = told_of(campaign(), tmp_path, slow, "--horizon-days", "60")
    assert data["by_lab"][0]["cut_off"] and data["labs_cut_off"] == 1
    assert "cut off at the horizon, day 60" in shown.stdout and "nothing more to do" not in shown.stdout
    shown, data = told_of(campaign(), tmp_path, slow)
    assert not data["by_lab"][0]["cut_off"]
    assert "nothing more to do" in shown.stdout and "cut off" not in shown.stdout + shown.stderr


def test_where_every_cell_dies_no_recipe_is_said_to_be_recommended(campaign, tmp_path: Path):
    dead = OWN.replace("return [q] * n, [2 * q / 0.67] * n", "return [], []")
    shown, data = told_of(campaign(), tmp_path, dead)
    assert data["regret_at_end_median"] is None and data["labs_without_recommendation"] == 1
    assert "no recipe could be recommended" in shown.stdout and "no recipe could be recommended" in shown.stderr
    assert "nan" not in shown.stdout + shown.stderr


def test_a_campaign_of_failures_alone_says_that_its_trials_failed(campaign, tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN.replace("return [q] * n, [2 * q / 0.67] * n", "return [], []"))
    path = campaign("virtual-lab")
    path.write_text(path.read_text() + "prior: none\n")
    ran = CliRunner().invoke(run, [str(path), "--no-prefect", "--lab", f"{tmp_path / 'own.py'}:factory"])
    why = "No recommendation yet: no trial gave a result, and 3 of 3 failed."
    assert why in ran.stdout
    ran = CliRunner().invoke(run, [str(path), "--no-prefect", "--lab", f"{tmp_path / 'own.py'}:factory", "--json"])
    found = json.loads(ran.stdout)
    assert found["recommendation"] is None and found["why_none"] == why


def test_a_rehearsal_says_how_far_it_is(campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.py").write_text(OWN)
    own = f"{tmp_path / 'own.py'}:factory"
    silent = rehearse(campaign(), labs=1, seed=5, workers=1, lab_file=own)
    assert capsys.readouterr().err == ""
    heard = rehearse(campaign(), labs=1, seed=5, workers=1, lab_file=own, tell_every=2)
    assert "lab 5: 2 of 3 trials mixed" in capsys.readouterr().err
    assert heard[0].weeks.equals(silent[0].weeks)


@pytest.mark.parametrize("days", [0, -1, 6.9, float("nan"), float("inf")])
def test_a_horizon_before_the_first_look_is_refused(campaign, days: float):
    with pytest.raises(Refusal, match=r"--horizon-days .* from 7 on"):
        rehearse(campaign(), labs=1, horizon_days=days)


@pytest.mark.parametrize(
    ("own", "way_out"), [(False, "labs of your own (--lab) and prior: none"), (True, "or write prior: none")]
)
def test_a_space_beyond_the_physics_is_refused_with_line_range_and_way_out(
    campaign, tmp_path: Path, own: bool, way_out: str
):
    path = campaign("virtual-lab")
    path.write_text(
        path.read_text().replace("space:", "space:\n  speed_rpm: {low: 50, high: 300}") + "prior: physics\n"
    )
    (tmp_path / "own.py").write_text(OWN)
    more = {"lab_file": f"{tmp_path / 'own.py'}:factory"} if own else {}
    with pytest.raises(Refusal) as refused:
        rehearse(path, labs=1, workers=1, **more)
    said = str(refused.value)
    assert f"{path}, line 6: speed_rpm goes from 50 to 300, and the physics covers 200 to 2000 rpm (" in said
    assert way_out in said


def test_no_labs_is_refused(campaign):
    with pytest.raises(Refusal, match="at least one"):
        rehearse(campaign(), labs=0)


def test_a_virtual_lab_answers_each_proposal_once(campaign):
    session = open_session(campaign("virtual-lab"))
    choose.propose(session, 2)
    answered = evaluate_virtual(session)
    assert len(answered) == 2
    assert evaluate_virtual(session) == []
    trials = session.ledger.trials(session.name)
    assert set(trials["state"]) <= {"completed", "failed"}
    assert set(trials["evaluator"]) == {"virtual-lab"}
    results = session.reader.results(session.name)
    assert "crystallite_size" in set(results["observable"])
    cycling = session.reader.cycling(session.name)
    assert cycling["cycle"].max() >= 10


def test_a_lab_of_ones_own_answers_a_tick_and_no_other_lab_goes_on_with_it(campaign):
    path, own = campaign("virtual-lab"), f"{Path(__file__).with_name('stranger_lab.py')}:constant"
    path.write_text(path.read_text() + "prior: none\n")
    ran = CliRunner().invoke(tick, [str(path), "--lab", own])
    assert ran.exit_code == 0, ran.output
    session = open_session(path)
    assert set(session.reader.cycling(session.name)["discharge_areal_capacity_mAh_cm2"]) == {2.5}
    by_ours = CliRunner().invoke(tick, [str(path)])
    said = r"answered by --lab stranger_lab.py:constant \(sha256 \w+\), level faithful, seed 3; built-in virtual lab, level"
    assert re.search(said, str(by_ours.exception))
    path.write_text(path.read_text().replace("seed: 3", "seed: 4"))
    by_its_brother = CliRunner().invoke(tick, [str(path), "--lab", own])
    assert "go on with the lab of before" in str(by_its_brother.exception)


def test_another_lab_of_the_same_file_name_does_not_go_on_with_a_campaign(campaign, tmp_path: Path):
    path = campaign("virtual-lab")
    path.write_text(path.read_text() + "prior: none\n")
    (tmp_path / "other").mkdir()
    mine, other = tmp_path / "own.py", tmp_path / "other" / "own.py"
    mine.write_text(OWN)
    assert CliRunner().invoke(tick, [str(path), "--lab", f"{mine}:factory"]).exit_code == 0
    other.write_text(OWN.replace("5.0", "7.0"))
    told = CliRunner().invoke(tick, [str(path), "--lab", f"{other}:factory"])
    assert "go on with the lab of before" in str(told.exception)
    other.write_text(OWN)
    assert CliRunner().invoke(tick, [str(path), "--lab", f"{other}:factory"]).exit_code == 0


@pytest.mark.parametrize("content", ["", " (sha256 0123456789ab)"])
def test_a_ledger_that_names_the_lab_s_file_alone_is_gone_on_with(campaign, tmp_path: Path, content: str):
    (tmp_path / "own.py").write_text(OWN)
    path = campaign("virtual-lab")
    path.write_text(path.read_text() + "prior: none\n")
    session = open_session(path, lab_file=f"{tmp_path / 'own.py'}:factory")
    (trial, *_) = choose.propose(session, 1).index
    why = f"--lab own.py:factory{content}, level faithful, seed 3"
    session.ledger.record(key=f"virtual-lab {trial}", at=now(), by="me", complete=[trial], unplanned=True, why=why)
    told = CliRunner().invoke(tick, [str(path), "--lab", f"{tmp_path / 'own.py'}:factory"])
    assert (told.exit_code == 0) == (not content)


def test_a_lab_finds_the_modules_beside_it_and_what_it_prints_is_no_result(campaign, tmp_path: Path):
    folder = tmp_path / "my labs"
    folder.mkdir()
    (folder / "beside_mine.py").write_text("HIGHEST = 5.0\nprint('loaded')")
    printing = OWN.replace("q = 5.0", "from beside_mine import HIGHEST; print('cycling', n); q = HIGHEST")
    (folder / "own lab.py").write_text(f"import beside_mine\n{printing}")
    arguments = [
        str(campaign()),
        "--labs",
        "1",
        "--workers",
        "1",
        "--lab",
        f"{folder / 'own lab.py'}:factory",
        "--json",
    ]
    told = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert json.loads(told.stdout)["labs"] == 1
    assert "loaded" in told.stderr and "cycling 10" in told.stderr
    assert str(folder) not in sys.path


@pytest.mark.parametrize(("risk", "low", "high"), [("", 7, 8), ("risk: {time_h: 1.0}", 5, 7)])
def test_a_campaign_keeps_its_distance_from_a_cliff_where_settings_slip(campaign, risk, low, high):
    from flows.answer import answer

    path = campaign("virtual-lab")
    path.write_text(path.read_text().replace("  sse: [LPSCl, LPSBr]\n", "") + f"prior: none\n{risk}\n")
    session = open_session(path, lab_file=f"{Path(__file__).with_name('stranger_lab.py')}:cliff")
    for _ in range(3):
        choose.propose(session, 4)
        evaluate_virtual(session)
    found = answer(session, choose.chooser(session, session.reader))
    assert low <= found.recipe["time_h"] <= high
    said = "Chosen by what nine of ten mixes still reach where settings slip by 1 in net time (h) (sd)"
    assert (said in found.sentences[0]) == bool(risk)
    window = " ".join(found.sentences)
    empty = "No recipe is yet within 5 %" in window
    assert ("With 50 % or more: " in window) != empty and ("Trials that would do most to open it: " in window) == empty
    assert ("What would most reduce the doubt: " in window) != empty


def test_a_lab_of_ones_own_is_refused_where_another_answers(campaign):
    told = CliRunner().invoke(tick, [str(campaign("lab")), "--lab", "own.py:factory"])
    assert "line 3: who answers is 'lab'" in str(told.exception)


def test_other_campaigns_are_left_alone(campaign):
    session = open_session(campaign("lab"))
    assert evaluate_virtual(session) == []

"""Advice on real cells: what a lab campaign stops, starts and learns from cells that are still running."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from lab_kit import AREA, CAMPAIGN, DECISION, VARIED_LOADING, changed_lab, lab, long_lab

from campaign.errors import Refusal
from campaign.trial import Decision, read_id
from flows import choose, corrections, outlook, people, under_test
from flows.cli.run import _print_evidence
from flows.people import Act
from flows.session import Session, now, open_session
from flows.take_in import take_in
from flows.today import today

OUTCOME = "discharge_capacity_cycle_20_mAh_g_composite"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def cell(
    session: Session, folder: Path, trial: int, cycles: int, q: float, *, late_loss: float = 0.0, **facts: float
) -> None:
    """A cell on the channel of its trial's number, with a table of its first cycles; after the tenth it loses more."""
    name, act = f"T{trial:04d}-M1-C1", Act("Ada", now())
    people.mixed(session.ledger, f"T{trial}", act, done={}, weighed={}, details={})
    people.start(session.ledger, name, act, channel=str(trial), facts={"area_cm2": AREA, **facts})
    curve = [q * 0.998**n * (1 - late_loss) ** max(0, n - 10) for n in range(1, cycles + 1)]
    rows = [f"{n},{value:.5f}" for n, value in enumerate(curve, start=1)]
    path = folder / f"{name}.csv"
    path.write_text("cycle,discharge capacity (mAh/cm2)\n" + "\n".join(rows) + "\n")
    take_in(session, path, by="Ada")


def under_way(session: Session, folder: Path) -> None:
    """Two finished cells, a good one that runs, and one that is nearly dead."""
    cell(session, folder, 1, 20, 4.6)
    cell(session, folder, 2, 20, 4.2)
    cell(session, folder, 3, 8, 4.7)
    cell(session, folder, 4, 8, 0.4)


def test_the_doubt_that_orders_cells_is_not_taken_for_all_doubt(session: Session, tmp_path: Path) -> None:
    """The noise of batches and what all cells lack alike stand in `±`, not in what tells one cell from another."""
    under_way(session, tmp_path)
    for item in under_test.bring_up_to_date(session):
        found = re.search(
            r"expected (\S+) ± (\S+) after .*those to come leave ±(\d+)% against the other cells\)", item.reason
        )
        assert found is not None
        value, doubt, ordering = map(float, found.groups())
        assert doubt / value > ordering / 100


def test_today_says_which_cell_to_stop_and_which_runs_on(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    found = today(session)
    assert len(found.stop) == 1 and found.stop[0].startswith("T0004-M1-C1 on channel 4")
    assert "of the best tried: its chance of beating that is" in found.stop[0]
    assert "mixwright stop T0004-M1-C1" in found.stop[0]
    assert len(found.running) == 1 and "T0003-M1-C1" in found.running[0] and "run on" in found.running[0]
    assert "7 channels" in found.propose[0]  # eight, one cell runs on


def test_advice_goes_on_record_with_what_it_was_made_from_and_once(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    advised = {item.number: item for item in under_test.bring_up_to_date(session)}
    assert advised["T0004-M1-C1"].stop and not advised["T0003-M1-C1"].stop
    assert advised["T0004-M1-C1"].chance_best < 0.02 < advised["T0003-M1-C1"].chance_best
    rows = session.ledger.results("bench")
    kept = rows[rows["observable"].eq(under_test.CHANCE)]
    assert set(kept["subject"]) == {"T0003-M1-C1", "T0004-M1-C1"} and set(kept["provenance"]) == {"predicted"}
    assert json.loads(kept["note"].iloc[0])["cycles"] == 8
    seq = session.ledger.seq
    under_test.bring_up_to_date(session)
    assert session.ledger.seq == seq
    longer = "\n".join(f"{n},{4.7 * 0.998**n:.5f}" for n in range(1, 15))
    (tmp_path / "T0003-M1-C1.csv").write_text(f"cycle,discharge capacity (mAh/cm2)\n{longer}\n")
    take_in(session, tmp_path / "T0003-M1-C1.csv", by="Ada")
    later = {item.number: item for item in under_test.bring_up_to_date(session)}
    assert later["T0003-M1-C1"].cycles == 14


@pytest.mark.parametrize("subject", ["T0003", "T0003-M1"])
def test_advice_made_before_a_recipe_was_corrected_no_longer_stands(session: Session, tmp_path: Path, subject: str):
    under_way(session, tmp_path)
    under_test.bring_up_to_date(session)
    assert under_test.stored(session, session.reader)
    corrections.amend(session, read_id(subject), {"speed_rpm": 1200.0}, Act("Ada", now(), "read off the mixer's log"))
    assert under_test.stored(session, session.reader) == []
    assert {item.number for item in under_test.bring_up_to_date(session)} == {"T0003-M1-C1", "T0004-M1-C1"}


def test_a_cell_that_was_stopped_goes_on_teaching(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    people.stop(session.ledger, "T0004-M1-C1", Act("Ada", now(), "today said so"))
    known = choose.chooser(session, session.reader).evidence
    row = known.trials.index("T0004")
    assert known.values[OUTCOME][row] < 0.2 * known.values[OUTCOME].max()
    assert known.se[OUTCOME][row] > 0
    assert today(session).stop == ()


def test_running_cells_count_with_more_doubt_than_finished_ones(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    choice = choose.chooser(session, session.reader)
    known = choice.evidence
    assert known.trials == ["T0001", "T0002", "T0003", "T0004"]
    assert known.se[OUTCOME].isna().tolist() == [True, True, False, False]
    recipes = pd.concat([known.recipes.iloc[[2]], known.recipes.iloc[[3]]])
    good, bad = choice.optimiser.predict(recipes)["mean"]
    assert good > 2 * bad


def test_the_first_cell_of_a_campaign_teaches_before_it_ends(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell(session, tmp_path, 1, 8, 4.6)
    choice = choose.chooser(session, session.reader)
    assert choice.evidence.trials == ["T0001"] and choice.evidence.se[OUTCOME][0] > 0
    assert choice.n_pending == 4  # its own end is still to come
    _print_evidence(session)
    assert "T0001" in (said := capsys.readouterr().err) and "nothing was measured" not in said


def test_a_record_that_nothing_can_be_learned_from_is_named_with_the_way_to_mend_it(
    session: Session, tmp_path: Path
) -> None:
    for trial in (1, 2):
        cell(session, tmp_path, trial, 20, 4.6 + 0.01 * trial)
    narrow = session.loaded.path.read_text().replace("time_h: {low: 0.5, high: 12,", "time_h: {low: 0.01, high: 0.02,")
    session.loaded.path.write_text(narrow.replace("step: 0.25", "step: 0.005"))
    with pytest.raises(Refusal, match=r"^T0001, column time_h: .* mixwright amend CAMPAIGN T0001 --set"):
        again = open_session(session.loaded.path)
        choose.chooser(again, again.reader)


def test_the_decision_keeps_the_advice_that_stood_when_it_was_made(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    (trial,) = choose.propose(session, 1).index
    decisions = session.ledger.decisions("bench").set_index("trial")
    details = json.loads(decisions.loc[trial, "details"])
    assert {item["cell"] for item in details["advice"]} == {"T0003-M1-C1", "T0004-M1-C1"}
    assert {"T0003", "T0004"} <= set(details["learned_from"])


def test_powder_results_tell_how_a_running_cell_will_end(session: Session, tmp_path: Path) -> None:
    """Early curves are all alike; batches with a rich surface have held so far, the others have faded."""
    six = pd.DataFrame({"speed_rpm": [1500.0] * 6, "time_h": [3.0, 3.25, 3.5, 3.75, 4.0, 4.25]})
    decision = Decision(model_version="none", seed=3, data_seq=1, data_sha256="00", outcome=OUTCOME)
    session.ledger.propose(
        "bench", session.spec.designs(six), decision, evaluator="lab", trials_seen=4, key="more", at=now(), by="Ada"
    )
    powder = ["trial,surface_halide_to_P"]
    for trial in range(5, 11):
        rich = trial % 2 == 0
        powder.append(f"T{trial:04d},{3.0 if rich else 1.0}")
        cell(session, tmp_path, trial, 20 if trial < 9 else 6, 4.0 + 0.001 * trial, late_loss=0.02 if rich else 0.1)
    before = promised(session)
    assert before["T0009"] == pytest.approx(before["T0010"], rel=0.1)
    path = tmp_path / "eds.csv"
    path.write_text("\n".join(powder) + "\n")
    take_in(session, path, by="Ada")
    after = promised(session)
    assert after["T0010"] > 1.2 * after["T0009"]


def test_a_batch_without_a_cell_is_judged_by_its_powder(session: Session, tmp_path: Path) -> None:
    """What the powder showed, the first discharges have repeated so far."""
    more = pd.DataFrame({"speed_rpm": [1500.0] * 4, "time_h": [3.0, 3.25, 3.5, 3.75]})
    decision = Decision(model_version="none", seed=3, data_seq=1, data_sha256="00", outcome=OUTCOME)
    session.ledger.propose(
        "bench", session.spec.designs(more), decision, evaluator="lab", trials_seen=4, key="more", at=now(), by="Ada"
    )
    for trial in range(1, 7):
        cell(session, tmp_path, trial, 4, (4.6 if trial % 2 else 2.3) + 0.001 * trial)
    for trial in (7, 8):
        people.mixed(session.ledger, f"T{trial}", Act("Ada", now()), done={}, weighed={}, details={})
    known = choose.chooser(session, session.reader).evidence
    assert known.trials == [f"T{trial:04d}" for trial in range(1, 7)]
    path = tmp_path / "eds.csv"
    rows = [f"T{trial:04d},{3.0 + 0.01 * trial if trial % 2 else 1.5}" for trial in range(1, 9)]
    path.write_text("trial,surface_halide_to_P\n" + "\n".join(rows) + "\n")
    take_in(session, path, by="Ada")
    choice = choose.chooser(session, session.reader)
    rich, poor = (choice.evidence.values[OUTCOME][choice.evidence.trials.index(t)] for t in ("T0007", "T0008"))
    assert rich > 1.5 * poor
    ses = dict(zip(choice.evidence.trials, choice.evidence.se[OUTCOME] / choice.evidence.values[OUTCOME], strict=True))
    assert min(ses["T0007"], ses["T0008"]) > ses["T0001"]
    assert not {"T0007", "T0008"} & choice.evidence.settled  # the cells are still to come
    assert today(session).start  # and a channel is free for them


def promised(session: Session) -> dict[str, float]:
    known = choose.chooser(session, session.reader).evidence
    return dict(zip(known.trials, known.values[OUTCOME], strict=True))


def test_a_batch_that_waits_is_told_whose_channel_it_gets(session: Session, tmp_path: Path) -> None:
    narrow = session.loaded.path.read_text().replace("budget:", "lab: {channels: 3}\nbudget:")
    session.loaded.path.write_text(narrow)
    session = open_session(session.loaded.path)
    for trial, q in ((1, 4.6), (2, 4.5), (3, 0.3)):
        cell(session, tmp_path, trial, 8, q)
    people.mixed(session.ledger, "T4", Act("Ada", now()), done={}, weighed={}, details={})
    found = today(session)
    assert found.stop[0].startswith("T0003-M1-C1 on channel 3")
    assert "T0004-M1" in found.start[0] and "channel 3 when T0003-M1-C1 is off it" in found.start[0]


def test_a_cell_past_the_last_cycle_that_counts_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol plans 100 cycles, the objective speaks of cycle 20; the best cell too has nothing more to tell."""
    session = long_lab(tmp_path, monkeypatch, ("budget:", "lab: {channels: 3}\nbudget:"))
    for trial, cycles, q in ((1, 24, 4.7), (2, 20, 4.5), (3, 8, 4.6)):
        cell(session, tmp_path, trial, cycles, q)
    people.mixed(session.ledger, "T4", Act("Ada", now()), done={}, weighed={}, details={})
    found = today(session)
    assert [line.partition(" ")[0] for line in found.stop] == ["T0001-M1-C1", "T0002-M1-C1"]
    assert "told all that counts" in found.stop[0] and "24 are known" in found.stop[0]
    assert "20 are known" in found.stop[1]
    assert "channel 1 when T0001-M1-C1 is off it" in found.start[0]
    assert len(found.running) == 1 and "T0003-M1-C1: run on" in found.running[0] and "8 of 20" in found.running[0]
    assert not re.search(r"\b(24|20) of 20\b", str(found))
    assert [item.number for item in under_test.bring_up_to_date(session) if item.stop] == ["T0001-M1-C1", "T0002-M1-C1"]


def test_where_the_first_discharge_is_all_that_counts_one_cycle_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = long_lab(tmp_path, monkeypatch, ("capacity_cycle_20_mAh", "capacity_cycle_1_mAh"))
    cell(session, tmp_path, 1, 1, 4.7)
    assert under_test.bring_up_to_date(session)[0].stop
    found = today(session)
    assert "cycle 1 is the last that counts, and it is known" in found.stop[0] and found.running == ()


def test_a_cell_to_be_stopped_does_not_stand_under_those_that_run_on(session: Session, tmp_path: Path) -> None:
    under_way(session, tmp_path)
    assert {found.cell for found in outlook.foresee(session)} == {"T0003-M1-C1", "T0004-M1-C1"}
    found = today(session)
    assert found.stop[0].startswith("T0004-M1-C1")
    assert [line.partition(":")[0] for line in found.running] == ["T0003-M1-C1"]


def test_a_good_cell_is_not_stopped_for_one_that_breaks_a_bound(session: Session, tmp_path: Path) -> None:
    """Only T0004 was mixed for less than the bound; T0003, which gives ten times as much, was not."""
    bound = "outcome_constraints: [{outcome: mixing_time_h, at_most: 1.5}]\nbudget:"
    session.loaded.path.write_text(session.loaded.path.read_text().replace("budget:", bound))
    session = open_session(session.loaded.path)
    under_way(session, tmp_path)
    advised = {item.number: item for item in under_test.bring_up_to_date(session)}
    assert advised["T0003-M1-C1"].stop and "meets the conditions with a chance of 0%" in advised["T0003-M1-C1"].reason
    assert not advised["T0004-M1-C1"].stop
    choice = choose.chooser(session, session.reader)
    assert choice.optimiser.recommend()["time_h"].iloc[0] <= 1.5
    assert choice.optimiser.ask(2)["time_h"].max() <= 1.5


def test_a_cell_that_is_best_at_something_else_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T0004 gives a tenth of T0003 and is mixed in half the time, and a short mix is wanted too."""
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("goal: max}", "goal: max}\n  - {outcome: mixing_time_h, goal: min}"))
    session = open_session(path)
    recipes = pd.DataFrame({"speed_rpm": [1500.0, 1800.0, 1200.0, 2000.0], "time_h": [3.0, 4.0, 2.0, 1.0]})
    designs = session.spec.designs(recipes)
    session.ledger.propose("bench", designs, DECISION, evaluator="lab", trials_seen=0, key="plan", at=now(), by="Ada")
    under_way(session, tmp_path)
    advised = {item.number: item for item in under_test.bring_up_to_date(session)}
    assert not advised["T0004-M1-C1"].stop and not advised["T0003-M1-C1"].stop
    asked = choose.chooser(session, session.reader).optimiser.ask(1, explain=True)
    assert f"time_h {asked['time_h'].iloc[0]:.4g}" in asked["reason"].iloc[0]  # known, not predicted


def test_an_objective_that_the_recipe_decides_does_not_come_first(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(
        CAMPAIGN.replace("discharge_capacity_cycle_20_mAh_g_composite, goal: max", "mixing_clock_h, goal: min")
    )
    with pytest.raises(Refusal, match="mixing_clock_h follows from the recipe"):
        open_session(path)


def test_a_bound_that_no_recipe_keeps_is_refused_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    bound = "outcome_constraints:\n  - {outcome: mixing_clock_h, at_most: 0.5}\nbudget:"
    path.write_text(CAMPAIGN.replace("budget:", bound))
    with pytest.raises(Refusal, match=r"campaign\.yaml, line \d+: no recipe keeps mixing_clock_h at most 0\.5"):
        open_session(path)


def test_while_nobody_knows_how_to_meet_a_condition_the_likeliest_cell_runs_on(
    session: Session, tmp_path: Path
) -> None:
    bound = "outcome_constraints: [{outcome: retention_cycle_20_pct, at_least: 99.9}]\nbudget:"
    session.loaded.path.write_text(session.loaded.path.read_text().replace("budget:", bound))
    session = open_session(session.loaded.path)
    under_way(session, tmp_path)
    advised = under_test.bring_up_to_date(session)
    assert not all(item.stop for item in advised)
    optimiser = choose.chooser(session, session.reader).optimiser
    for item in advised:  # what is said is what is believed, however the cells are weighed against one another
        row = session.ledger.trials("bench").loc[[str(item.number)[:5]]]
        (chance,) = optimiser.chance_met(row[list(session.spec.space)])
        assert chance < 0.5 and item.chance_best == pytest.approx(chance, rel=0.01)
        assert "no recipe tried is likely to meet the conditions" in item.reason and "its chance of" not in item.reason
        likely = f"{chance:.0%}" if chance >= 0.02 else f"{chance:.1%}" if chance >= 0.001 else "under 0.1%"
        assert f"meets them with a chance of {likely}" in item.reason


def test_a_cell_is_judged_and_learned_from_at_its_own_loading_where_loading_is_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for 6 mg/cm2, loaded with 4: what it gives per gram is the same before its end and after, and so is its recipe."""
    asked = {"speed_rpm": [1500.0] * 2, "time_h": [3.0] * 2, "loading_mg_cm2": [6.0, 3.0]}
    session = changed_lab(tmp_path, monkeypatch, *VARIED_LOADING, **asked)
    told = {}
    for cycles in (12, 20):
        if cycles == 12:
            cell(session, tmp_path, 1, cycles, 4.0, active_mass_mg=4.0 * AREA)
        else:
            curve = "\n".join(f"{n},{4.0 * 0.998**n:.5f}" for n in range(1, cycles + 1))
            (tmp_path / "T0001-M1-C1.csv").write_text(f"cycle,discharge capacity (mAh/cm2)\n{curve}\n")
            take_in(session, tmp_path / "T0001-M1-C1.csv", by="Ada")
        choice = choose.chooser(session, session.reader)
        assert choice.evidence.recipes["loading_mg_cm2"].tolist() == [4.0]
        assert choice.evidence.se[OUTCOME].isna().tolist() == [cycles == 20]
        told[cycles] = choice.evidence.values[OUTCOME][0]
        asked = choice.optimiser.pending()["loading_mg_cm2"].tolist()
        assert asked == ([4.0, 3.0] if cycles == 12 else [3.0])
    assert told[12] == pytest.approx(told[20], rel=0.05)

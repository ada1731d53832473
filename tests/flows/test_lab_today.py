"""The lab's list for today: grams and hours, free channels, files that are awaited, tests that are overdue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from lab_kit import AREA, DECISION, capacity_csv, cycler_csv, lab, long_lab

from campaign import materials
from flows import people
from flows.people import Act
from flows.session import Session, now, open_session
from flows.take_in import take_in as take
from flows.today import longest_test_h, today


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def test_what_to_mix_in_grams_and_hours_on_the_clock(session: Session) -> None:
    batches = {batch.trial: batch for batch in today(session).mix}
    assert sorted(batches) == ["T0001", "T0002", "T0003", "T0004"]
    first = batches["T0001"]  # 1 g of composite, 25 wt% S, 50 wt% LPSCl, carbon the rest; 3 h net at half duty
    assert first.weigh_g == pytest.approx({"S": 0.25, "LPSCl": 0.5, "KB+C45": 0.25, "balls": 5.0})
    assert first.clock_h == pytest.approx(6.0)
    assert "H2S" in first.warnings[0] and "inert" in first.warnings[0]


def test_premilling_is_on_the_clock_too(session: Session, run: Callable[..., tuple[int, str, str]]) -> None:
    milled = session.spec.designs(pd.DataFrame({"speed_rpm": [1500.0], "time_h": [3.0]}))
    milled["premill_h"], milled["premill_speed_rpm"] = 10.0, 500.0
    session.ledger.propose("bench", milled, DECISION, evaluator="lab", trials_seen=4, key="m", at=now(), by="Ada")
    monday = datetime(2026, 11, 23, 8, 0).astimezone()
    for trial in ("T0001", "T0002", "T0003", "T0004"):
        session.ledger.abandon(trial, key=trial, at=now(), by="Ada", why="room for the other")
    (batch,) = today(session, monday).mix
    assert batch.clock_h == pytest.approx(26.0)  # 10 h and 3 h at half duty
    assert batch.slot.startswith("mixer 1: begin Mon 23 Nov 08:00, done Tue 24 Nov 10:30")
    _, said, _ = run("today", session.loaded.path)
    assert "1500 rpm for 3 h of rotation (26 h on the clock with the premilling); premill: 10 h at 500 rpm" in said


def test_a_recipe_that_may_melt_its_active_is_warned_of(session: Session) -> None:
    hot = session.spec.designs(pd.DataFrame({"speed_rpm": [2000.0, 2000.0], "time_h": [5.0, 5.0]}))
    hot["ball_ratio"], hot["active"] = 20.0, ["S", "Te"]  # more balls, more heat; Te melts at 450 degC
    session.ledger.propose("bench", hot, DECISION, evaluator="lab", trials_seen=4, key="hot", at=now(), by="Ada")
    said = {batch.trial: " ".join(batch.warnings) for batch in today(session).mix}
    assert "S melts at 115 degC: watch the temperature" in said["T0005"]
    assert "degC in the vessel" in said["T0005"]
    warned = {name for name, text in said.items() if "melts" in text}
    assert "T0006" not in warned and "T0001" not in warned  # Te melts higher; 1500 rpm stays cooler
    assert "Te dust is toxic" in said["T0006"] and "toxic" not in said["T0005"]


def test_every_sulfide_is_warned_of_whatever_its_formula_looks_like(session: Session) -> None:
    header, ours = Path(materials.__file__).with_name("electrolytes.csv").read_text(encoding="utf-8").splitlines()[:2]
    kept = header.split(",")[:-1], ours.split(",")[:-1]
    own = [",".join(kept[0])]
    for name, formula in (("tin", "Li4SnS4"), ("halide", "Li3InCl6"), ("secret", "as the supplier sent it")):
        own.append(",".join((dict(zip(*kept, strict=True)) | {"name": name, "formula": formula}).values()))
    path = session.loaded.path
    path.with_name("own.csv").write_text("\n".join(own) + "\n", encoding="utf-8")
    path.write_text(path.read_text() + "materials: {electrolytes: own.csv}\n")
    session = open_session(path)
    five = session.spec.designs(pd.DataFrame({"speed_rpm": [1500.0] * 5, "time_h": [3.0] * 5}))
    five["sse"] = ["SS7", "tin", "secret", "halide", "LIC"]
    session.ledger.propose("bench", five, DECISION, evaluator="lab", trials_seen=4, key="sse", at=now(), by="Ada")
    said = {batch.trial: batch.warnings[0] for batch in today(session).mix}
    warned = ["T0005", "T0006", "T0007"]
    assert [name for name in ("T0005", "T0006", "T0007", "T0008", "T0009") if "H2S" in said[name]] == warned
    assert "nobody says whether secret is a sulfide" in said["T0007"]
    assert "halide takes up moisture" in said["T0008"]


def test_a_setting_of_the_cell_does_not_hide_how_hot_the_vessel_gets(session: Session) -> None:
    hot = session.spec.designs(pd.DataFrame({"speed_rpm": [2000.0] * 3, "time_h": [5.0] * 3}))
    hot["ball_ratio"] = 20.0
    hot["loading_mg_cm2"], hot["temperature_C"] = (
        [5.5, 4.0, 4.0],
        [25.0, 60.0, 25.0],
    )  # the model knows 5 mg/cm2, 30 degC
    hot["sse"] = ["LPSCl", "LPSCl", "LIC"]  # and no cell with LIC
    session.ledger.propose("bench", hot, DECISION, evaluator="lab", trials_seen=4, key="cell", at=now(), by="Ada")
    said = {batch.trial: " ".join(batch.warnings) for batch in today(session).mix}
    for trial in ("T0005", "T0006", "T0007"):
        assert "S melts at 115 degC: watch the temperature" in said[trial] and "no temperature" not in said[trial]


def test_a_recipe_that_the_model_does_not_know_takes_no_warning_from_the_others(session: Session) -> None:
    two = session.spec.designs(pd.DataFrame({"speed_rpm": [2000.0, 2000.0], "time_h": [5.0, 20.0]}))
    two["ball_ratio"] = 20.0  # hot; and the model knows 12 h at most
    session.ledger.propose("bench", two, DECISION, evaluator="lab", trials_seen=4, key="two", at=now(), by="Ada")
    said = {batch.trial: " ".join(batch.warnings) for batch in today(session).mix}
    assert "S melts at 115 degC: watch the temperature" in said["T0005"]
    assert "the model knows no temperature of this vessel: time_h is 20 h" in said["T0006"]
    assert "melts" not in said["T0006"] and "no temperature" not in said["T0005"]


def test_the_list_follows_the_work(session: Session, tmp_path: Path) -> None:
    act = Act("Ada", now())
    people.mixed(session.ledger, "T1", act, done={}, weighed={}, details={})
    people.mixed(session.ledger, "T2", act, done={}, weighed={}, details={})
    found = today(session)
    assert [batch.trial for batch in found.mix] == ["T0003", "T0004"]
    assert "T0001-M1" in found.start[0] and "channel 1" in found.start[0] and "channel 2" in found.start[1]
    people.start(session.ledger, "T1-M1-C1", act, channel="1", facts={"area_cm2": AREA})
    found = today(session)
    assert len(found.start) == 1 and "channel 2" in found.start[0]
    assert found.awaited == () and found.overdue == ()
    later = now() + timedelta(days=8)
    assert "runs for 8 days and no file" in today(session, later).awaited[0]
    take(session, cycler_csv(tmp_path / "T0001-M1-C1.csv", [3.0, 2.9]), by="Ada")
    take(session, cycler_csv(tmp_path / "monday.csv", [1.0, 0.9]), by="Ada")
    found = today(session, later)
    assert "no file for 8 days" in found.awaited[0]
    assert "monday.csv" in found.unassigned[0] and "mixwright assign" in found.unassigned[0]
    # 20 cycles of twice 3.75 mAh/cm2 at 0.67 mA/cm2 are 224 h; with a fifth more they are over after 11.2 days
    assert today(session, now() + timedelta(days=11)).overdue == ()
    assert "T0001-M1-C1" in today(session, now() + timedelta(days=12)).overdue[0]


def test_a_running_cell_is_listed_before_its_file_says_anything(session: Session, tmp_path: Path) -> None:
    for number in (1, 2):
        cell = f"T000{number}-M1-C1"
        people.start(session.ledger, cell, Act("Ada", now()), channel=str(number), facts={"area_cm2": AREA})
    take(session, cycler_csv(tmp_path / "T0002-M1-C1.csv", [3.0]), by="Ada")
    assert today(session, now() + timedelta(days=3)).running == (
        "T0001-M1-C1 on channel 1: runs on, 3 days since its start; no cycle is known yet",
        "T0002-M1-C1 on channel 2: runs on, 3 days since its start; 1 cycle is known so far",
    )
    people.stop(session.ledger, "T0001-M1-C1", Act("Ada", now()))
    assert [line.partition(" ")[0] for line in today(session).running] == ["T0002-M1-C1"]


def test_the_longest_time_of_a_test_is_its_cycles_at_theory(session: Session) -> None:
    from flows.intake.cells import cell_of

    people.start(
        session.ledger, "T1-M1-C1", Act("Ada", now()), channel=None, facts={"area_cm2": 0.8, "active_mass_mg": 3.2}
    )
    hours = longest_test_h(session, cell_of(session, "T0001-M1-C1"), session.ledger.cycling("bench"))
    assert hours == pytest.approx(20 * 2 * 4 * 1.672 / 0.67)


def test_a_cell_can_be_built_from_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    """What is varied of a cell's settings is said, what is the same in all trials is not."""
    varied = "  loading_mg_cm2: {low: 2, high: 8}\n  current_mA_cm2: {low: 0.3, high: 2}\nfixed:"
    changes = ("fixed:", varied), ("loading_mg_cm2: 4, current_mA_cm2: 0.67, ", "")
    settings = {"loading_mg_cm2": [3.89, 6.863, 4.666, 7.512], "current_mA_cm2": [0.9989, 0.441, 1.957, 1.533]}
    session = long_lab(tmp_path, monkeypatch, *changes, ("budget:", "lab: {channels: 1}\nbudget:"), **settings)
    for trial in ("T1", "T4"):
        people.mixed(session.ledger, trial, Act("Ada", now()), done={}, weighed={}, details={})
    _, said, _ = run("today", session.loaded.path)
    assert "T0001-M1: build a cell (loading 3.89 mg/cm2, current 0.9989 mA/cm2), put it on channel 1; then" in said
    assert "T0004-M1: build a cell (loading 7.512 mg/cm2, current 1.533 mA/cm2); all 1 channels are taken" in said


def test_a_cell_to_be_stopped_on_a_channel_nobody_named_gives_that_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = long_lab(tmp_path, monkeypatch, ("budget:", "lab: {channels: 1}\nbudget:"))
    people.start(session.ledger, "T0001-M1-C1", Act("Ada", now()), channel=None, facts={"area_cm2": AREA})
    take(session, capacity_csv(tmp_path / "T0001-M1-C1.csv", range(1, 23)), by="Ada")
    people.mixed(session.ledger, "T2", Act("Ada", now()), done={}, weighed={}, details={})
    (line,) = today(session).start
    assert "put it on the channel of T0001-M1-C1 when that is off it" in line and "None" not in line


def test_a_test_is_overdue_by_the_cycles_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where 20 are planned; beside `12 of 20 cycles` no other count stands alone."""
    session = long_lab(tmp_path, monkeypatch)
    for trial, cycles in ((1, 12), (2, 22)):
        name = f"T000{trial}-M1-C1"
        facts = {"area_cm2": AREA, "active_mass_mg": 3.2}
        people.start(session.ledger, name, Act("Ada", now()), channel=str(trial), facts=facts)
        take(session, capacity_csv(tmp_path / f"{name}.csv", range(1, cycles + 1), q=3.75), by="Ada")
    assert today(session, now() + timedelta(days=10)).overdue == ()
    found = today(session, now() + timedelta(days=12))
    (line,) = found.overdue  # the other is to be stopped anyway
    assert line.startswith("T0001-M1-C1: runs for 12 days; of its 100 cycles the 20 that count take 9 days at most")


def test_flagged_checks_are_shown(session: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / "T0001-M1-C1.csv", [9.0, 8.0])
    take(session, file, by="Ada", area_cm2=AREA, active_mass_mg=3.2)
    assert "T0001-M1-C1" in today(session).look[0] and "theory" in today(session).look[0]


def test_a_finished_cell_without_area_is_asked_about_until_it_teaches(
    session: Session, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """A cycler counts mAh; without an area that says nothing of the recipe."""
    people.start(session.ledger, "T1-M1-C1", Act("Ada", now()), channel="1", facts={})
    take(session, cycler_csv(tmp_path / "T0001-M1-C1.csv", [3.0 * 0.99**n for n in range(20)]), by="Ada")
    assert session.ledger.trial("T0001").state == "completed"
    path = session.loaded.path
    for command in ("today", "status"):
        _, said, _ = run(command, path)
        assert "T0001-M1-C1: nobody has said its area and active mass, so nothing is learned from it" in said
    _, said, _ = run("amend", path, "T0001-M1-C1", "--set", f"area_cm2={AREA}", "--why", "measured late")
    _, said, _ = run("status", path)
    assert "best so far: trial T0001" in said and "nobody has said its active mass, so its loading counts as" in said
    run("amend", path, "T0001-M1-C1", "--set", "active_mass_mg=3.2", "--why", "weighed late")
    assert today(session).look == ()


def test_a_batch_whose_start_was_taken_back_is_on_its_way_to_a_channel(
    bench: Session, run: Callable[..., tuple[int, str, str]]
) -> None:
    path = bench.loaded.path
    path.write_text(path.read_text() + "lab: {channels: 3}\n")
    session = open_session(path)
    for trial in ("T0001", "T0002", "T0003"):
        session.ledger.abandon(trial, key=trial, at=now(), by="Ada", why="another plan")
    run("start", "T0004", "--channel", 1)
    assert "2 channels will have nothing to test; 2 more recipes" in today(session).propose[0]
    run("undo", path, "T0004-M1-C1", "--why", "not started after all")
    found = today(session)
    assert "T0004-M1" in found.start[0]
    assert "2 channels will have nothing to test; 2 more recipes" in found.propose[0]


def test_taking_back_what_never_was_is_refused(bench: Session, run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, said = run("undo", bench.loaded.path, "T0004-M1-C1", "--why", "a slip")
    assert code == 1 and said.startswith("mixwright: ") and "T0004-M1-C1" in said

"""The main job: to the budget, safe to repeat, safe to kill, the same answer for the same seed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from campaign.errors import Refusal
from flows import evaluate, evidence, project, ridge, tick
from flows.session import Session, now, open_session

Write = Callable[..., Path]


def own_trials(session: Session) -> pd.DataFrame:
    trials = session.ledger.trials(session.name)
    return trials[trials["evaluator"].eq(session.spec.evaluator)]


def mlflow_runs(data_dir: Path) -> list[dict[str, str]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{data_dir / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments() if e.name != "Default"]
    return [run.data.tags for run in client.search_runs(experiments, max_results=1000)]


def test_a_run_ends_at_its_budget_with_report_and_mlflow(data_dir: Path, finished: Any) -> None:
    session = open_session(finished.copy_to(data_dir.parent))
    own = own_trials(session)
    assert own["state"].to_list() == ["completed"] * 6
    report = (data_dir / "reports/small/report.html").read_text(encoding="utf-8")
    assert "Recommended" in report
    runs = mlflow_runs(data_dir)
    published = session.ledger.trials("small")["evaluator"].eq("published").sum()
    assert len(runs) == 6 + published + 1
    assert sum(tags.get("evaluator") == "physics" for tags in runs) == 7


def test_a_second_run_continues_and_writes_nothing_twice(write_campaign: Write, data_dir: Path, finished: Any) -> None:
    campaign = finished.copy_to(data_dir.parent)
    before = mlflow_runs(data_dir)
    again = tick.run(open_session(campaign))
    assert [result.proposed for result in again] == [()]
    assert len(mlflow_runs(data_dir)) == len(before)
    session = open_session(write_campaign(("trials: 6", "trials: 8")))
    tick.run(session)
    assert len(own_trials(session)) == 8
    known = session.ledger.spec("small")
    assert known is not None and known[0] == 2
    assert own_trials(session)["campaign_version"].to_list() == [1] * 6 + [2] * 2


def test_the_same_seed_gives_the_same_recipes(
    write_campaign: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: Any
) -> None:
    columns = ["speed_rpm", "time_h", "sse"]
    session = open_session(write_campaign())
    for _ in range(2):
        tick.tick(session, project_now=False)
    monkeypatch.setenv("MIXWRIGHT_LEDGER_URL", f"sqlite:///{finished.folder}/data/ledger.db")
    first, second = own_trials(open_session(write_campaign())), own_trials(session)
    assert len(first) == 6 and first["at"].iloc[0] != second["at"].iloc[0], "two runs, not one looked at twice"
    pd.testing.assert_frame_equal(*(table[columns].reset_index(drop=True) for table in (first, second)))


def test_a_tick_killed_before_its_evaluation_is_finished_by_the_next(
    write_campaign: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(write_campaign())
    calls = []

    def die(session: Session) -> list[str]:
        calls.append(session)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return []

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_waiting", die)
        with pytest.raises(KeyboardInterrupt):
            tick.tick(session, project_now=False)
    assert own_trials(session)["state"].to_list() == ["proposed"] * 3
    monkeypatch.setattr(project, "bring_up_to_date", lambda _session: [])  # the ledger is looked at, not its copies
    tick.run(session)
    assert own_trials(session)["state"].to_list() == ["completed"] * 6


def test_one_tick_at_a_time(write_campaign: Write) -> None:
    session = open_session(write_campaign())
    other = session.ledger.claim("tick small", by="another machine", at=now(), ttl_s=60)
    assert other is not None
    result = tick.tick(session)
    assert result.busy and not result.proposed
    session.ledger.release(other, at=now())
    assert tick.tick(session, project_now=False).proposed


def test_a_simulated_campaign_learns_from_nothing_measured(data_dir: Path, finished: Any) -> None:
    session = open_session(finished.copy_to(data_dir.parent))
    known = evidence.learnable(session.reader, session)
    evaluators = session.ledger.trials("small").loc[known.trials, "evaluator"]
    assert set(evaluators) == {"physics"}


def test_published_history_is_just_what_was_measured(write_campaign: Write) -> None:
    session = open_session(write_campaign(published=None))
    tick.tick(session, project_now=False)
    facts = pd.read_csv(Path(__file__).parents[2] / "models/paper_facts.csv")
    results = session.ledger.results("small")
    published = results[results["evaluator"].eq("published")]
    assert len(published) == len(facts)
    pd.testing.assert_series_equal(
        published["value"].sort_values(ignore_index=True),
        facts["value"].sort_values(ignore_index=True),
        check_dtype=False,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("cycle_100_mAh_g_composite", "cycle_50_mAh_g_composite"), "the objective differs"),
        (("current_mA_cm2: 0.67", "current_mA_cm2: 1.0"), "the protocol differs"),
        (("active_wt_pct: 22.75", "active_wt_pct: 30"), "a fixed condition differs"),
        (("evaluator: physics", "evaluator: lab"), "who answers differs"),
    ],
)
def test_an_edit_that_asks_another_question_is_refused(
    write_campaign: Write, change: tuple[str, str], words: str
) -> None:
    open_session(write_campaign())
    with pytest.raises(Refusal, match=words):
        open_session(write_campaign(change))


def test_wider_bounds_and_a_new_electrolyte_continue(write_campaign: Write) -> None:
    session = open_session(write_campaign())
    tick.tick(session, project_now=False)
    wider = open_session(write_campaign(("low: 1000", "low: 400"), ("[LPSCl, LGPS]", "[LPSCl, LGPS, LPSBr]")))
    assert len(evidence.learnable(wider.reader, wider).trials) == 3
    tick.tick(wider, project_now=False)
    assert len(own_trials(wider)) == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("high: 2000", "high: 2600"), r"line 5.*speed_rpm.*2000"),
        (("high: 12", "high: 20"), r"line 6.*time_h.*12"),
        (("[LPSCl, LGPS]", "[LPSCl, LIC]"), r"line 7.*LIC"),
        (("active_wt_pct: 22.75", "active_wt_pct: 60"), "active_wt_pct"),
        (("cycles: 100", "cycles: 900"), "line 9.*cycles"),
    ],
)
def test_a_space_outside_the_model_is_refused_when_loaded(
    write_campaign: Write, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        open_session(write_campaign(change))


def test_mlflow_gone_does_not_hold_up_a_run(
    write_campaign: Write, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setattr(ridge, "GRID", 9)  # a coarse map: it is not looked at here
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    session = open_session(write_campaign(("trials: 6", "trials: 3")))
    results = tick.run(session)
    assert own_trials(session)["state"].to_list() == ["completed"] * 3
    assert not session.ledger.pending_projection("small").empty
    del results
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    session = open_session(write_campaign(("trials: 6", "trials: 3")))
    tick.run(session)
    assert session.ledger.pending_projection("small").empty
    assert sum(tags.get("evaluator") == "physics" for tags in mlflow_runs(data_dir)) == 4


def test_a_killed_process_of_this_machine_holds_up_nobody(write_campaign: Write) -> None:
    """A lease of a process that is gone is taken over at once; one of another machine is waited for."""
    session = open_session(write_campaign())
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    dead = f"ada@{socket.gethostname()}:{gone.pid}"
    assert session.ledger.claim("tick small", by=dead, at=now(), ttl_s=600) is not None
    assert not tick.tick(session, project_now=False).busy
    assert session.ledger.claim("tick small", by=f"ada@elsewhere:{gone.pid}", at=now(), ttl_s=600) is not None
    assert tick.tick(session, project_now=False).busy


def test_a_virtual_lab_answers_under_its_own_label(write_campaign: Write) -> None:
    session = open_session(
        write_campaign(("evaluator: physics", "evaluator: virtual-lab\nvirtual_lab: {seed: 5, level: biased}"))
    )
    tick.tick(session, project_now=False)
    own = own_trials(session)
    assert len(own) == 3 and set(own["evaluator"]) == {"virtual-lab"}
    assert set(own["state"]) <= {"completed", "failed"}

"""The MLflow projection, against real SQLite stores: complete, written once, put right after any accident."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from projected import contents, runs_of, small
from review_example import OBJECTIVE

from review.projection import MLflowUnreachable, Projection
from review.runs import DIGEST, KEY


def test_a_trial_reads_without_training(uri: str) -> None:
    view = small()
    Projection(uri).sync(view)
    run = runs_of(uri)["T001"]
    row = view.trials.iloc[0]
    assert run.data.params["speed_rpm"] == f"{row['speed_rpm']:.6g}"
    assert run.data.params["sse"] == row["sse"]
    assert run.data.metrics[OBJECTIVE] == float(f"{row[OBJECTIVE]:.4g}")
    assert {run.data.tags[name] for name in ("evaluator", "values", "state")} == {"physics", "simulated", "completed"}
    assert run.info.run_name.startswith("simulated: ") and run.info.run_name.endswith("(T001)")
    assert "rpm" in run.info.run_name
    published = runs_of(uri)["paper-2000rpm-5h"]
    assert published.data.tags["values"] == "measured" and published.info.run_name.startswith("measured: ")
    parent = runs_of(uri, kind="campaign")["campaign"]
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_the_cycling_record_is_step_metrics_at_ledger_times(uri: str) -> None:
    view = small()
    Projection(uri).sync(view)
    record = view.cycling[view.cycling["trial_id"].eq("T002")]
    history = MlflowClient(uri).get_metric_history(
        runs_of(uri)["T002"].info.run_id, "cycling/discharge_areal_capacity_mAh_cm2"
    )
    assert [point.step for point in history] == record["cycle"].to_list()
    assert [point.value for point in history] == [float(f"{q:.4g}") for q in record["discharge_areal_capacity_mAh_cm2"]]
    finished = view.trials.loc[view.trials["trial_id"].eq("T002"), "finished_at"].iloc[0]
    assert {point.timestamp for point in history} == {int(finished.timestamp() * 1000)}


def test_the_optimum_stands_on_the_campaigns_run(uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<h1>report</h1>")
    view = small()
    done = Projection(uri).sync(view, report=report)
    parent = runs_of(uri, kind="campaign")["campaign"]
    assert parent.info.run_id == done.campaign_run_id
    assert parent.data.metrics["recommended_mean"] == 391.2
    assert parent.data.metrics["recommended_speed_rpm"] == 1950
    assert parent.data.tags["recommended_sse"] == "LPSClI"
    assert view.recommendation is not None
    assert parent.data.tags["mlflow.note.content"].splitlines()[0] == view.recommendation.sentences[0]
    best = MlflowClient(uri).get_metric_history(parent.info.run_id, "best_so_far")
    assert [point.step for point in best] == [1, 2, 3]
    assert [file.path for file in MlflowClient(uri).list_artifacts(parent.info.run_id)] == ["report.html"]


def test_logging_twice_leaves_one_run(uri: str) -> None:
    first = Projection(uri).sync(small())
    before = contents(uri)
    again = Projection(uri).sync(small())
    assert (first.written, first.kept, first.deleted) == (5, 0, 0)
    assert (again.written, again.kept, again.deleted) == (0, 5, 0)
    assert again.campaign_run_id == first.campaign_run_id
    assert contents(uri) == before
    assert not runs_of(uri, deleted=True)


@pytest.mark.parametrize("revision", [1, 2])
def test_an_amended_trial_is_a_new_run_and_the_old_one_goes(uri: str, revision: int) -> None:
    view = small()
    Projection(uri).sync(view)
    old = runs_of(uri)["T002"].info.run_id
    trials = view.trials.copy()
    trials.loc[1, [OBJECTIVE, "revision"]] = [999.4, revision]
    done = Projection(uri).sync(replace(view, trials=trials))
    new = runs_of(uri)["T002"]
    assert (done.written, done.kept, done.deleted) == (1, 4, 2)  # the campaign's best so far changed with it
    assert new.info.run_id != old
    assert new.data.metrics[OBJECTIVE] == 999.4
    history = MlflowClient(uri).get_metric_history(new.info.run_id, OBJECTIVE)
    assert [point.value for point in history] == [999.4]
    parent = runs_of(uri, kind="campaign")["campaign"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs_of(uri).values()} == {parent.info.run_id}


def test_a_growing_campaign_keeps_its_run_and_its_trials(uri: str, fresh_uri: str) -> None:
    view = small()
    few = replace(view, trials=view.trials.head(2))
    first = Projection(uri).sync(few)
    later = replace(view.provenance, made_at=view.provenance.made_at.replace(hour=12))
    second = Projection(uri).sync(replace(view, provenance=later))
    assert second.campaign_run_id == first.campaign_run_id
    assert (second.written, second.kept, second.deleted) == (1, 4, 0)
    Projection(fresh_uri).sync(replace(view, provenance=later))
    steps = [p.step for p in MlflowClient(uri).get_metric_history(first.campaign_run_id, "best_so_far")]
    assert steps == [1, 2, 3]
    assert (
        runs_of(uri, kind="campaign")["campaign"].data.metrics
        == runs_of(fresh_uri, kind="campaign")["campaign"].data.metrics
    )


def test_a_rebuild_gives_the_same_contents_as_the_store_it_replaces(uri: str) -> None:
    projection = Projection(uri)
    projection.sync(small())
    before = contents(uri)
    projection.rebuild(small())
    projection.rebuild(small())
    assert contents(uri) == before


def test_a_store_thrown_away_is_written_again_in_full(uri: str, tmp_path: Path) -> None:
    Projection(uri).sync(small())
    before = contents(uri)
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    Projection(uri).sync(small())
    assert contents(uri) == before


def test_an_experiment_deleted_by_hand_comes_back(uri: str) -> None:
    done = Projection(uri).sync(small())
    MlflowClient(uri).delete_experiment(done.experiment_id)
    assert Projection(uri).sync(small()).written == 5
    assert len(runs_of(uri)) == 5


def test_what_a_crash_left_half_written_is_put_right(uri: str, fresh_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    whole = MlflowClient.log_batch

    def dies(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        whole(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        Projection(uri).sync(small())
    monkeypatch.undo()
    half = [run for run in runs_of(uri).values() if DIGEST not in run.data.tags]
    assert len(half) == 1, "the crash came between create and log"
    done = Projection(uri).sync(small())
    assert (done.written, done.kept, done.deleted) == (4, 1, 1)
    Projection(fresh_uri).sync(small())
    assert contents(uri) == contents(fresh_uri)


def test_duplicates_of_two_writers_are_put_right(uri: str) -> None:
    done = Projection(uri).sync(small())
    client = MlflowClient(uri)
    run = runs_of(uri)["T001"]
    twin = client.create_run(done.experiment_id, tags={KEY: run.data.tags[KEY], "kind": "trial", "trial": "T001"})
    again = Projection(uri).sync(small())
    assert (again.written, again.deleted) == (0, 1)
    assert client.get_run(twin.info.run_id).info.lifecycle_stage == "deleted"


def test_two_writers_at_once_leave_one_run_a_trial_after_the_next_sync(uri: str) -> None:
    refused: list[MLflowUnreachable] = []
    together = threading.Barrier(2)

    def write() -> None:
        projection = Projection(uri)
        together.wait()
        try:
            projection.sync(small())
        except MLflowUnreachable as locked:
            refused.append(locked)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    Projection(uri).sync(small())
    assert len(runs_of(uri)) == 5
    assert len(refused) < 2


def test_runs_of_people_are_left_alone(uri: str) -> None:
    done = Projection(uri).sync(small())
    client = MlflowClient(uri)
    own = client.create_run(done.experiment_id, run_name="my own notes")
    Projection(uri).sync(small())
    assert client.get_run(own.info.run_id).info.lifecycle_stage == "active"


def test_a_withdrawn_trial_leaves_mlflow(uri: str) -> None:
    view = small()
    Projection(uri).sync(view)
    Projection(uri).sync(replace(view, trials=view.trials.head(2)))
    assert "T003" not in runs_of(uri)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("proposed", "SCHEDULED"),
        ("testing", "RUNNING"),
        ("completed", "FINISHED"),
        ("failed", "FAILED"),
        ("abandoned", "KILLED"),
    ],
)
def test_states_are_seen_as_statuses(uri: str, state: str, status: str) -> None:
    view = small()
    Projection(uri).sync(replace(view, trials=view.trials.assign(state=state)))
    run = runs_of(uri)["T001"]
    assert run.info.status == status
    assert run.data.tags["state"] == state
    assert (run.info.end_time is None) == (state in ("proposed", "testing"))


def test_hostile_and_odd_values_are_taken(uri: str) -> None:
    name = '\'; DROP TABLE runs; -- "x" <b> 好\n'
    view = small()
    trials = view.trials.rename(columns={"mixing_energy_kJ_g": "energy (kJ·g⁻¹) 100 %"}).assign(reason="x" * 20_000)
    trials.loc[0, "energy (kJ·g⁻¹) 100 %"] = np.inf
    trials.loc[1, "energy (kJ·g⁻¹) 100 %"] = np.nan
    trials["trial_id"] = [f"{name}{i}" for i in range(3)]
    odd = replace(view, name=name, trials=trials, objective=replace(view.objective, unit="%(s) ·"))
    projection = Projection(uri)
    projection.sync(odd)
    assert projection.sync(odd).kept == 5
    runs = runs_of(uri, name)
    values = [run.data.metrics.get("energy _kJ_g_1_ 100 _") for run in runs.values()]
    assert sum(value is not None for value in values) == 1
    assert all(np.isfinite(value) for run in runs.values() for value in run.data.metrics.values())


def test_a_published_cell_says_where_it_is_from(uri: str) -> None:
    view = small()
    Projection(uri).sync(replace(view, published=view.published.assign(reason=None)))
    note = runs_of(uri)["paper-2000rpm-5h"].data.tags["mlflow.note.content"]
    assert "353.2 mAh per g of composite (measured)" in note
    assert "doi 10.1126/science.adt1882" in note


def test_names_do_not_become_markdown(uri: str) -> None:
    view = small()
    assert view.recommendation is not None
    sentence = "Mix ![x](http://evil.example/y.png) in my_own_sse <b>"
    Projection(uri).sync(replace(view, recommendation=replace(view.recommendation, sentences=(sentence,), notes=())))
    note = runs_of(uri, kind="campaign")["campaign"].data.tags["mlflow.note.content"]
    assert note.replace("\\", "") == sentence
    assert "![" not in note
    assert "[x](" not in note.replace("\\[", "")


def test_long_records_are_written_whole(uri: str) -> None:
    view = small()
    row = view.cycling[view.cycling["trial_id"].eq("T001")].iloc[[0]]
    long = row.loc[row.index.repeat(900)].assign(cycle=np.arange(1, 901))
    Projection(uri).sync(replace(view, cycling=long))
    run = runs_of(uri)["T001"]
    assert len(MlflowClient(uri).get_metric_history(run.info.run_id, "cycling/coulombic_efficiency")) == 900


def test_every_cell_of_a_trial_is_written(uri: str) -> None:
    view = small()
    cells = pd.concat([view.cycling.assign(cell_id=cell) for cell in ("T-C2", "T-C1")], ignore_index=True)
    Projection(uri).sync(replace(view, cycling=cells))
    run = runs_of(uri)["T001"]
    for section in ("cycling", "cycling T-C2"):
        assert len(MlflowClient(uri).get_metric_history(run.info.run_id, f"{section}/coulombic_efficiency")) == 5

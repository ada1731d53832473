"""A small campaign, and what MLflow holds of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from review_example import example_view

from review import CampaignView


def small(**changes: Any) -> CampaignView:
    """Three trials, two published cells, five cycles."""
    view = example_view(3)
    view = replace(view, published=view.published.head(2), cycling=view.cycling[view.cycling["cycle"] <= 5])
    return replace(view, name="small", **changes)


def runs_of(uri: str, name: str = "small", *, kind: str = "trial", deleted: bool = False) -> dict[str, Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs(
        [experiment.experiment_id], f"tags.kind = '{kind}'", ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    )
    by_trial = {run.data.tags.get("trial", "campaign"): run for run in found}
    assert len(by_trial) == len(found), "one run a trial"
    return by_trial


def contents(uri: str, name: str = "small") -> dict[str, Any]:
    """Everything MLflow holds of a campaign but the ids."""
    client = MlflowClient(uri)
    told = {}
    for kind in ("trial", "campaign"):
        for trial, run in runs_of(uri, name, kind=kind).items():
            history = {
                metric: sorted(
                    (m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, metric)
                )
                for metric in run.data.metrics
            }
            tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
            told[trial] = (
                run.info.run_name,
                run.info.status,
                run.info.start_time,
                run.info.end_time,
                run.data.params,
                tags,
                history,
            )
    return told

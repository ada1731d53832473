"""Saved views of a campaign in MLflow: what a scientist sees on opening a link that we hand out.

MLflow's own first page shows one row and no recipe, and cannot be preset. But its page reads shared views from tags of
the experiment: `mlflow.sharedViewState.KEY` = JSON {name, createdAt, updatedAt, state}, where state is `deflate;` and the
base64 of the zlib-deflated JSON of the page's state. No public interface: written for MLflow 3.17.2 (pinned in
pyproject.toml), and looked at in a browser.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any
from urllib.parse import quote

from review.data import CampaignView
from review.runs import CYCLING, metric_name

PREFIX = "mlflow.sharedViewState."
TABLE, PLANES, CURVES = "mixwright-trials", "mixwright-recipes", "mixwright-cycling"
NAMES = {TABLE: "Trials, best first", PLANES: "Recipes and predictions", CURVES: "Capacity against cycle"}
"""Key of a view -> its name."""

_RUN_NAME, _CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
_TRIALS = "tags.kind = 'trial'"
_FINISHED = "tags.kind = 'trial' AND tags.state = 'completed'"


def states(view: CampaignView) -> dict[str, dict[str, Any]]:
    """Return the page's state of every view, by key."""
    objective = metric_name(view.objective.name)
    return {
        TABLE: _state(view, search=_TRIALS),
        PLANES: _state(view, search=_FINISHED, charts=[
            _chart("PARALLEL", "Recipes: each line one trial", "recipes", 0,
                   selectedParams=[metric_name(axis.name) for axis in view.space], selectedMetrics=[objective], showAllRuns=True),
            _chart("SCATTER", "Predicted before the trial against found", "recipes", 1,
                   xaxis={"key": "predicted_mean", "type": "METRIC"}, yaxis={"key": objective, "type": "METRIC"}),
        ], section="Recipes and predictions"),
        CURVES: _state(view, search=_FINISHED, charts=[
            _chart("LINE", "Discharge capacity (mAh per cm²) against cycle", "curves", 0,
                   metricKey=CYCLING + "discharge_areal_capacity_mAh_cm2",
                   selectedMetricKeys=[CYCLING + "discharge_areal_capacity_mAh_cm2"], xAxisKey="step", lineSmoothness=0,
                   useGlobalLineSmoothing=False, useGlobalXaxisKey=False, scaleType="linear", xAxisScaleType="linear"),
        ], section="Cycling, the best trials"),
    }  # fmt: skip


def tags(view: CampaignView) -> dict[str, str]:
    """Return the views as experiment tags; the same text for the same view."""
    at = int(view.provenance.made_at.timestamp() * 1000)
    found = {}
    for key, state in states(view).items():
        packed = base64.b64encode(zlib.compress(json.dumps(state, sort_keys=True).encode())).decode()
        found[PREFIX + key] = json.dumps(
            {"name": NAMES[key], "createdAt": at, "updatedAt": at, "state": "deflate;" + packed}
        )
    return found


def unpack(tag: str) -> dict[str, Any]:
    """Return the page's state that a tag of `tags` carries."""
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def links(base_url: str, experiment_id: str, campaign_run_id: str = "") -> dict[str, str]:
    """Return the pages of a campaign on a running MLflow server: the saved views, then the campaign's run and report."""
    runs = f"{base_url.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
    # Without the workflow's name MLflow opens its pages for language models.
    training = "workflowType=machine_learning"
    found = {
        name: f"{runs}?{training}&viewStateShareKey={quote(key)}{'' if key == TABLE else '&compareRunsMode=CHART'}"
        for key, name in NAMES.items()
    }
    if campaign_run_id:
        run = f"{runs}/{quote(campaign_run_id)}"
        found |= {"Recommended recipe": f"{run}?{training}", "Report": f"{run}/artifacts/report.html?{training}"}
    return found


def _state(
    view: CampaignView, *, search: str, charts: list[dict[str, Any]] | None = None, section: str = ""
) -> dict[str, Any]:
    objective = f"metrics.`{metric_name(view.objective.name)}`"
    varied = [f"params.`{metric_name(axis.name)}`" for axis in view.space]
    columns = [objective, "metrics.`predicted_mean`", *varied, "tags.`evaluator`", "tags.`state`", "tags.`reason`"]
    state: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": objective,
        "orderByAsc": view.objective.goal == "min",
        "selectedColumns": columns,
        # Widths take hold only on columns named in the order; the run's name is the recipe, so it gets room.
        "columnOrder": [_RUN_NAME, _CREATED, *columns],
        "columnWidths": {
            _RUN_NAME: 330,
            _CREATED: 125,
            **dict.fromkeys(columns, 115),
            objective: 170,
            "tags.`reason`": 420,
        },
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
        # Else our section comes last, below MLflow's own bar charts.
        "isAccordionReordered": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "lifecycleFilter": "Active",
        "startTime": "ALL",
    }
    if charts:
        uuid = charts[0]["metricSectionId"]
        state["compareRunCharts"] = charts
        wide = {"columns": len(charts), "cardHeight": 520}
        state["compareRunSections"] = [
            {
                "uuid": uuid,
                "name": section,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                **wide,
            }
        ]
    return state


def _chart(kind: str, title: str, section: str, place: int, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"mixwright-{section}-{place}",
        "type": kind,
        "displayName": title,
        "metricSectionId": f"mixwright-{section}",
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 100,
        **settings,
    }

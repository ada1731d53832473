"""What a trial and a campaign look like as MLflow runs: pure functions from a view, no MLflow needed.

MLflow's limits that shape this: metric names take letters, digits and `/ _ - . :` and blank; a metric must be finite; a
long parameter is cut with a warning; a parameter cannot change and an amended metric stays beside the old one, so a
changed trial becomes a new run. Its page shows eight digits, so metrics carry four.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from review.data import PLANNED, CampaignView, is_measured
from review.history import history
from review.words import number, short_recipe, text

STATUS = {**dict.fromkeys(PLANNED, "SCHEDULED"), "completed": "FINISHED", "failed": "FAILED",
          "abandoned": "KILLED", "excluded": "KILLED"}  # fmt: skip
"""State of a trial -> status of its run; any other state is work in progress, RUNNING."""

KEY, DIGEST, FRAME, STEPS = "mixwright.key", "mixwright.digest", "mixwright.frame", "mixwright.steps"
CYCLING = "cycling/"
"""Prefix of step metrics: MLflow puts them in a chart section of their own."""

_REFUSED = re.compile(r"[^/\w.\- :]", re.ASCII)
_LONGEST = {"name": 250, "param": 500, "tag": 4000}


@dataclass(frozen=True)
class Point:
    """One value of one metric at one step."""

    metric: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True, kw_only=True)
class RunContent:
    """All that MLflow is told of one run."""

    key: str
    """Campaign, trial and revision: what makes a run the same run."""
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hash of everything: the run is written anew when it changes."""
        points = [(p.metric, p.value, p.step, p.time_ms) for p in self.points]
        return _hash(
            [self.key, self.name, self.status, self.start_ms, self.end_ms, dict(self.params), points, dict(self.tags)]
        )


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: what it refuses becomes `_`.

    >>> metric_name("capacity (mAh·g⁻¹)")
    'capacity _mAh_g_1_'
    """
    safe = _REFUSED.sub("_", name.replace("⁻", "_").replace("¹", "1").replace("²", "2"))
    return re.sub(r"_+", "_", safe).strip("/. ")[: _LONGEST["name"]] or "unnamed"


def four_digits(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def to_ms(moment: Any, default: int) -> int:
    """Return a time of the ledger as milliseconds since 1970 UTC, `default` where there is none."""
    if moment is None or pd.isna(moment):
        return default
    stamp = pd.Timestamp(moment)
    return int((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).timestamp() * 1000)


def trial_runs(view: CampaignView) -> list[RunContent]:
    """Return the content of every trial's run, trials first, then published cells; the key is unique."""
    runs = []
    for table, cycling in ((view.trials, view.cycling), (view.published, view.published_cycling)):
        records = dict(iter(cycling.groupby("trial_id", sort=False))) if len(cycling) else {}
        runs += [_trial_run(view, table, row, records.get(row["trial_id"])) for row in table.to_dict("records")]
    return runs


def _trial_run(
    view: CampaignView, table: pd.DataFrame, row: Mapping[Any, Any], record: pd.DataFrame | None
) -> RunContent:
    made_ms = to_ms(view.provenance.made_at, 0)
    start_ms = to_ms(row.get("proposed_at"), to_ms(row.get("finished_at"), made_ms))
    end_ms = to_ms(row.get("finished_at"), start_ms)
    status = STATUS.get(str(row["state"]), "RUNNING")
    recipe = {name: row[name] for name in view.recipe_columns(table)}
    words = {name: text(row[name]) for name in ("reason", "source") if name in row and text(row[name]) != "–"}
    outcomes = {name: row[name] for name in view.outcome_columns(table)}
    predicted = {name: row[name] for name in ("predicted_mean", "predicted_p05", "predicted_p95") if name in row}
    values = "measured" if is_measured(str(row["evaluator"])) else "simulated"
    return RunContent(
        key=f"{view.name}/{row['trial_id']}/{text(row.get('revision', 1))}",
        name=_cut(
            f"{values}: {short_recipe(recipe) or 'trial'} ({row['trial_id']})", "name"
        ),  # lists cut names at their end
        status=status,
        start_ms=start_ms,
        end_ms=end_ms if status in ("FINISHED", "FAILED", "KILLED") else None,
        params=_params(recipe),
        points=(*_points({**outcomes, **predicted}, step=0, time_ms=end_ms), *_cycling_points(record, end_ms)),
        tags=_tags(
            {
                "kind": "trial",
                "campaign": view.name,
                "trial": row["trial_id"],
                "evaluator": row["evaluator"],
                "values": values,
                "state": row["state"],
                "best": "yes" if row["trial_id"] == view.best_trial_id else "no",
                **words,
                "mlflow.note.content": _trial_note(view, row, values),
            }
        ),
    )


def _trial_note(view: CampaignView, row: Mapping[Any, Any], values: str) -> str:
    value = row.get(view.objective.name)
    found = f"{row['state']}: no result yet."
    if text(value) != "–":
        found = f"{view.objective.label}: {number(value)} {view.objective.unit} ({values})."
    why = [text(row[name]) for name in ("reason", "source") if name in row and text(row[name]) != "–"]
    return "\n\n".join(_markdown(words) for words in (found, *why))


def campaign_run(view: CampaignView, *, report: str = "") -> RunContent:
    """Return the content of the campaign's own run: its settings, the best so far at each trial, the recommendation.

    Args:
        view: the campaign.
        report: hash of the report that goes with it, so that a new report is seen as a change.
    """
    made_ms = to_ms(view.provenance.made_at, 0)
    finished = {str(row["trial_id"]): to_ms(row.get("finished_at"), made_ms) for row in view.trials.to_dict("records")}
    reached = [
        Point("best_so_far", four_digits(value), int(step), finished[str(trial_id)])
        for step, trial_id, value in history(view)[["result", "trial_id", "best_so_far"]].itertuples(index=False)
        if math.isfinite(value)
    ]
    starts = [to_ms(row.get("proposed_at"), made_ms) for row in view.trials.to_dict("records")]
    busy = (
        view.trials["state"].map(lambda state: STATUS.get(str(state), "RUNNING")).isin(["RUNNING", "SCHEDULED"]).any()
    )
    return RunContent(
        key=f"{view.name}/campaign",
        name=_cut(f"{view.name}: the campaign", "name"),
        status="RUNNING" if busy else "FINISHED",
        start_ms=min(starts, default=made_ms),
        end_ms=None if busy else made_ms,
        params=_params(
            {
                "objective": view.objective.name,
                "goal": view.objective.goal,
                "evaluator": view.evaluator,
                "seed": view.provenance.seed,
                **{
                    f"space_{a.name}": " ".join(a.choices) or f"{number(a.low)} to {number(a.high)}" for a in view.space
                },
            }
        ),
        points=(*reached, *_answer_points(view, step=len(reached), time_ms=made_ms)),
        tags=_tags(
            {
                "kind": "campaign",
                "campaign": view.name,
                "evaluator": view.evaluator,
                "values": "measured" if is_measured(view.evaluator) else "simulated",
                **_answer_tags(view),
                **{f"version_{name}": version for name, version in view.provenance.versions.items()},
                "ledger": view.provenance.ledger,
                "data_hash": view.provenance.data_hash,
                "report": report,
                "mlflow.note.content": campaign_note(view),
            }
        ),
    )


def campaign_note(view: CampaignView) -> str:
    """Return the campaign's note in Markdown. MLflow folds a note to its first line, so that is the recommendation."""
    if view.recommendation is None:
        return "No recommendation yet."
    said = [_markdown(words) for words in view.recommendation.sentences or (short_recipe(view.recommendation.recipe),)]
    return "\n\n".join([*said, *(f"- {_markdown(note)}" for note in view.recommendation.notes)])


def _markdown(words: str) -> str:
    """Return words that Markdown shows as they stand: names are typed by people, and carry underscores or worse."""
    return re.sub(r"([\\`*_\[\]<>#|!~])", r"\\\1", " ".join(words.split()))


def frame(content: RunContent, steps: int) -> str:
    """Hash of what cannot be taken back in MLflow: the parameters and the first `steps` points of `best_so_far`."""
    points = [(p.step, p.value) for p in content.points if p.metric == "best_so_far" and p.step <= steps]
    return _hash([dict(content.params), points])


def _answer_points(view: CampaignView, *, step: int, time_ms: int) -> Iterable[Point]:
    values: dict[str, Any] = {"trials_with_result": step}
    answer = view.recommendation
    if answer is not None:
        values |= {"recommended_mean": answer.mean, "recommended_p05": answer.p05, "recommended_p95": answer.p95}
        values |= {} if answer.trust is None else {"trust_in_prior": answer.trust}
        values |= {f"recommended_{name}": value for name, value in answer.recipe.items() if not isinstance(value, str)}
    return _points(values, step=step, time_ms=time_ms)


def _answer_tags(view: CampaignView) -> dict[str, Any]:
    if view.recommendation is None:
        return {}
    recipe = view.recommendation.recipe
    named = {f"recommended_{name}": value for name, value in recipe.items() if isinstance(value, str)}
    return {"recommended": short_recipe(recipe), **named}


def _params(values: Mapping[str, Any]) -> dict[str, str]:
    shown = {name: number(value, 6) if isinstance(value, float) else text(value) for name, value in values.items()}
    return {metric_name(name): _cut(words, "param") for name, words in shown.items() if words != "–"}


def _points(values: Mapping[str, Any], *, step: int, time_ms: int) -> list[Point]:
    found = []
    for name, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            found.append(Point(metric_name(name), four_digits(value), step, time_ms))
    return found


def _cycling_points(record: pd.DataFrame | None, time_ms: int) -> list[Point]:
    if record is None:
        return []
    points: list[Point] = []
    observables = record.columns.drop(["trial_id", "cell_id", "cycle"], errors="ignore")
    for section, rows in _cells(record):
        steps = rows["cycle"].astype(int).to_list()
        for name in observables:
            values = pd.to_numeric(rows[name], errors="coerce").astype(float)
            points += [
                Point(metric_name(section + name), four_digits(value), step, time_ms)
                for step, value in zip(steps, values, strict=True)
                if math.isfinite(value)
            ]
    return points


def _cells(record: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the record of each cell with its chart section: the first cell's is `cycling/`, so that every trial has one."""
    if "cell_id" not in record:
        return [(CYCLING, record)]
    cells = sorted(record.groupby("cell_id", dropna=False), key=lambda cell: str(cell[0]))
    return [(CYCLING if first == 0 else f"cycling {cell}/", rows) for first, (cell, rows) in enumerate(cells)]


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    return {metric_name(name): _cut(str(value), "tag") for name, value in values.items() if str(value)}


def _cut(words: str, kind: str) -> str:
    longest = _LONGEST[kind]
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]

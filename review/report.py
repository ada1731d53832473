"""The report: one HTML file that stands alone, prints, and begins with the recommendation.

No script and no outside call (a content security policy says so in the page); every name is escaped, because campaign,
trial and material names are typed by people.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from review.data import CampaignView, is_measured
from review.plots import PLOTS
from review.words import label, number, text

ROWS_SHOWN = 200
_NAMES = ("trial_id", "sse", "active", "carbon", "mixer", "anode")
_WORDS = ("reason", "source")


@dataclass(frozen=True)
class _Column:
    label: str
    numeric: bool


@dataclass(frozen=True)
class _Cell:
    text: str
    kind: str = ""
    evaluator: bool = False


@dataclass(frozen=True)
class _Row:
    cells: tuple[_Cell, ...]
    best: bool = False


@dataclass(frozen=True)
class _Sheet:
    columns: tuple[_Column, ...] = ()
    rows: tuple[_Row, ...] = field(default=())
    left_out: int = 0


def write_report(view: CampaignView, path: Path) -> Path:
    """Write the report of a campaign as one self-contained HTML file.

    The file is replaced in one step: a reader sees the old report or the new one, never half of one.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as part:
        part.write(render(view))
    os.chmod(part.name, 0o644)
    os.replace(part.name, path)
    return path


def render(view: CampaignView) -> str:
    """Return the report as HTML text, the same for the same view."""
    page = Environment(
        loader=PackageLoader("review", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters["number"] = number
    page.tests["measured"] = is_measured
    css = (resources.files("review") / "templates" / "report.css").read_text(encoding="utf-8")
    ranked = view.ranked(view.trials)
    return page.get_template("report.html.j2").render(
        view=view,
        css=Markup(css),  # noqa: S704 (our own file, nothing typed by people)
        standing=_standing(view),
        tiles=_tiles(view),
        ranked_empty=ranked.empty,
        plots={name: plot(view) for name, plot in PLOTS.items()},
        window=_sheet(view.window, list(view.window.columns)),
        trials=_trials_sheet(view, view.trials, end=("predicted_mean", "predicted_p05", "predicted_p95", "reason")),
        published=_trials_sheet(view, view.published, end=("source",)),
        made=_made(view),
    )


def _standing(view: CampaignView) -> str:
    states = view.trials["state"].value_counts()
    counted = ", ".join(f"{count} {state}" for state, count in states.items()) or "none yet"
    aim = "as large as possible" if view.objective.goal == "max" else "as small as possible"
    kind = "measured in real cells" if is_measured(view.evaluator) else "simulated; none of them was measured"
    return (
        f"Wanted: {view.objective.label[0].lower()}{view.objective.label[1:]} ({view.objective.unit}), {aim}. "
        f"Trials: {counted}. The campaign's values are {kind}. As of {view.provenance.made_at:%Y-%m-%d %H:%M} UTC."
    )


def _tiles(view: CampaignView) -> list[dict[str, object]]:
    if view.recommendation is None:
        return []
    return [
        {"label": label(column), "text": text(value), "name": column in _NAMES}
        for column, value in view.recommendation.recipe.items()
    ]


def _trials_sheet(view: CampaignView, table: pd.DataFrame, *, end: Sequence[str]) -> _Sheet:
    if table.empty:
        return _Sheet()
    recipe = [name for name in view.recipe_columns(table) if _varies(view, table, name)]
    columns = ["trial_id", "evaluator", "state", *recipe, *view.outcome_columns(table), *end]
    ranked = view.ranked(table)
    ordered = pd.concat([ranked, table.drop(index=ranked.index)])
    return _sheet(ordered, [name for name in columns if name in ordered])


def _varies(view: CampaignView, table: pd.DataFrame, column: str) -> bool:
    return column in {axis.name for axis in view.space} or table[column].nunique(dropna=False) > 1


def _sheet(table: pd.DataFrame, columns: Sequence[str]) -> _Sheet:
    heads = tuple(_Column(label(name), is_numeric_dtype(table[name])) for name in columns)
    kinds = ["number" if head.numeric else _kind(name) for name, head in zip(columns, heads, strict=True)]
    rows = []
    for record in table.head(ROWS_SHOWN).to_dict("records"):
        cells = tuple(
            _Cell(text(record[name]), kind, evaluator=name == "evaluator") for name, kind in zip(columns, kinds, strict=True)
        )
        rows.append(_Row(cells, best=record.get("best") is True))
    return _Sheet(heads, tuple(rows), left_out=max(0, len(table) - ROWS_SHOWN))


def _kind(column: str) -> str:
    return "name" if column in _NAMES else "words" if column in _WORDS else ""


def _made(view: CampaignView) -> list[tuple[str, str]]:
    made = view.provenance
    lines = [
        ("Command", made.command),
        ("Data as of", f"{made.made_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Ledger", made.ledger),
        ("Data hash", made.data_hash),
        ("Seed", "" if made.seed is None else str(made.seed)),
        ("Search space", "; ".join(_axis(axis.name, axis.low, axis.high, axis.choices) for axis in view.space)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
    ]
    return [(term, words) for term, words in lines if words]


def _axis(name: str, low: float | None, high: float | None, choices: tuple[str, ...]) -> str:
    return f"{label(name)}: {', '.join(choices) if choices else f'{number(low)} to {number(high)}'}"

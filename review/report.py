"""The report: one HTML file that stands alone, prints, and begins with the recommendation.

No script and no outside call (a content security policy says so in the page); every name is escaped, because campaign,
trial and material names are typed by people.
"""

from __future__ import annotations

import re
import tempfile
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from review import diagnosis
from review.data import CampaignView, Objective, is_measured
from review.plots import PLOTS
from review.tables import NAME_COLUMNS, advice_sheet, outcomes_sheet, trials_sheet, window_sheet
from review.words import label, number, text


def write_report(view: CampaignView, path: Path) -> Path:
    """Write the report of a campaign as one self-contained HTML file.

    The file is replaced in one step: a reader sees the old report or the new one, never half of one.

    Returns:
        `path`.
    """
    page = render(view)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-") as scratch:
        part = Path(scratch) / path.name
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    return path


def render(view: CampaignView) -> str:
    """Return the report as HTML text, the same for the same view."""
    page = Environment(
        loader=PackageLoader("review", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = _material_names(view)
    page.filters |= {"number": number, "materials": lambda words: mark_names(words, names)}
    page.tests["measured"] = is_measured
    css = (resources.files("review") / "templates" / "report.css").read_text(encoding="utf-8")
    return page.get_template("report.html.j2").render(
        view=view,
        css=Markup(css),  # noqa: S704 (our own file, nothing typed by people)
        standing=_standing(view),
        tiles=_tiles(view),
        ranked_empty=view.ranked(view.trials).empty,
        plots={name: plot(view) for name, plot in PLOTS.items()},
        window=window_sheet(view),
        advice=advice_sheet(view),
        checked=diagnosis.summary(view.diagnosis),
        belief=diagnosis.sentences(view.diagnosis),
        evaluators=tuple(view.diagnosis.parity["evaluator"].unique()),
        trials=trials_sheet(view, view.trials),
        outcomes=outcomes_sheet(view, view.trials),
        published_outcomes=outcomes_sheet(view, view.published),
        published=trials_sheet(view, view.published, record=view.published_cycling),
        made=_made(view),
    )


def mark_names(words: str, names: tuple[str, ...]) -> Markup:
    """Escape a sentence and set the names of materials in it in a face that tells l from I.

    >>> mark_names("1 < LPSClI", ("LPSCl", "LPSClI"))
    Markup('1 &lt; <span class="name">LPSClI</span>')
    """
    if not names:
        return escape(words)
    # Longest first, so that LPSClI is not taken for LPSCl with a letter after it.
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    parts = re.split(rf"(?<!\w)({known})(?!\w)", words)
    span = Markup('<span class="name">{}</span>')
    return Markup("").join(span.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _material_names(view: CampaignView) -> tuple[str, ...]:
    listed = {str(name) for axis in view.space for name in axis.choices}
    used = {str(name) for table in (view.trials, view.published) if "sse" in table for name in table["sse"].dropna()}
    # One-letter names (S, the element) read well as they are, and are words in any sentence.
    return tuple(sorted(name for name in listed | used if len(name) > 1))


def _standing(view: CampaignView) -> str:
    states = view.trials["state"].value_counts()
    counted = ", ".join(f"{count} {state}" for state, count in states.items()) or "none yet"
    kind = "measured in real cells" if is_measured(view.evaluator) else "simulated; none of them was measured"
    wanted = "; ".join(map(_wanted, (view.objective, *view.also)))
    return (
        f"Wanted: {wanted}. Trials: {counted}. "
        f"The campaign's values are {kind}. As of {view.provenance.made_at:%Y-%m-%d %H:%M} UTC."
    )


def _wanted(objective: Objective) -> str:
    aim = "as large as possible" if objective.goal == "max" else "as small as possible"
    return f"{objective.label[:1].lower()}{objective.label[1:]} ({objective.unit}), {aim}"


def _tiles(view: CampaignView) -> list[dict[str, object]]:
    if view.recommendation is None:
        return []
    return [
        {"label": label(column), "text": text(value), "name": column in NAME_COLUMNS}
        for column, value in view.recommendation.recipe.items()
    ]


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

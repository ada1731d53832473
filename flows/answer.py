"""The answer of a campaign: recommended recipe, its process window and ridge, and plain words about what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from campaign.spec import CampaignSpec, OutcomeBound, Range, Stopping
from flows import ceiling, goals
from flows.answer_words import beside, process_window, recommendation
from flows.choose import Chooser, data_hash
from flows.ridge import LIKELY, on_plane, ridge_of, settable, speed_time_surface
from flows.session import Session
from review.words import label

if TYPE_CHECKING:
    from surrogate import Optimiser

_UNIDENTIFIED = 0.25
"""An axis is called unidentified where moving along all of it changes the expected outcome by less than this share of the
90 % interval: the evidence cannot tell where on it the best lies."""


@dataclass(frozen=True)
class Answer:
    """What a campaign has found so far.

    Attributes:
        recipe: recommended value of each varied column.
        mean, p05, p95: expected objective there, with its 90 % interval.
        trust: share of the prior in it, None without prior.
        others: of each further objective `outcome`, and `mean`, `p05`, `p95` of it there (the same where the recipe decides it).
        chance_met: chance that it meets the conditions on outcomes, None where there are none but of what the recipe decides.
        sentences: the recommendation in words.
        notes: what stands on a bound or is not identified.
        surface: speed x time grid at the recommended other axes: `speed_rpm`, `time_h`, `mean`, `sd`.
        ridge: for each speed the best time, where it is within the tolerance of the best, and the recommended point, settable.
        electrolytes: per SSE its best expected recipe.
    """

    recipe: dict[str, Any]
    mean: float
    p05: float
    p95: float
    trust: float | None
    others: tuple[dict[str, Any], ...]
    chance_met: float | None
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    surface: pd.DataFrame
    ridge: pd.DataFrame
    electrolytes: pd.DataFrame


_last: dict[tuple[str, str, str], Answer] = {}
"""The newest answer of this process: report, MLflow and the printed end of a run ask for the same one."""


def answer(session: Session, choice: Chooser) -> Answer | None:
    """Say what the chooser would recommend now; None while there is no result. The same evidence gives the same answer."""
    asked = (session.settings.ledger_url, session.spec.canonical(), data_hash(choice.evidence))
    if asked not in _last:
        found = _ask(session, choice)
        if found is None:
            return None
        _last.clear()
        _last[asked] = found
    return _last[asked]


def _ask(session: Session, choice: Chooser) -> Answer | None:
    spec = session.spec
    known = (
        choice.evidence.values[spec.objective.outcome].dropna()
        if len(choice.evidence.trials)
        else pd.Series(dtype=float)
    )
    if known.empty:
        return None
    optimiser = choice.optimiser
    row = _recommended(session, optimiser)
    recipe = {name: row[name] for name in spec.space}
    others = _other_objectives(session, optimiser, recipe)
    bounds = _open_bounds(spec)
    met = float(optimiser.chance_met(pd.DataFrame([recipe])).iloc[0]) if bounds else None
    surface = speed_time_surface(spec, optimiser)
    window = optimiser.window(spec.tolerance_pct / 100.0)
    ridge = ridge_of(settable(spec, optimiser, surface, recipe), on_plane(spec, optimiser, window, row), row, spec)
    notes = (*_bound_notes(spec, recipe), *_flat_notes(spec, optimiser, recipe), *_model_notes(session, recipe))
    gain = abs(float(row["mean"])) * (spec.stopping or Stopping()).smallest_worthwhile_gain_pct / 100.0
    stopping = optimiser.stopping(gain, bound=(spec.stopping or Stopping()).chance_below)
    return Answer(
        recipe=recipe,
        mean=float(row["mean"]),
        p05=float(row["p05"]),
        p95=float(row["p95"]),
        trust=float(row["trust"]) if spec.prior != "none" else None,
        others=others,
        chance_met=met,
        sentences=(
            *recommendation(spec, recipe, row, ridge, beside(bounds, others, met), _learned_from(spec, choice)),
            *process_window(window),
            stopping.sentence,
        ),
        notes=notes,
        surface=surface,
        ridge=ridge,
        electrolytes=electrolytes(session, choice),
    )


def _recommended(session: Session, optimiser: Optimiser) -> pd.Series:
    """The recommendation; its expected value and interval end at what a cell can hold."""
    row = optimiser.recommend()
    told = ["mean", "p05", "p95"]
    most = ceiling.of(row, session.spec.objective.outcome, session.spec, session.materials)
    return row.assign(**ceiling.under(row[told], most)).iloc[0]


def _other_objectives(session: Session, optimiser: Optimiser, recipe: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What a recipe promises in each objective but the first."""
    spec, one = session.spec, pd.DataFrame([recipe])
    said = []
    for wanted in spec.objectives[1:]:
        name, told = wanted.outcome, ["mean", "p05", "p95"]
        decided = goals.setting_of(name, list(spec.space), spec.conditions())
        if decided is not None:
            setting, factor, offset = decided
            values = dict.fromkeys(told, factor * float(recipe[setting]) + offset)
        else:
            most = ceiling.of(one, name, spec, session.materials)
            found = ceiling.under(optimiser.predict(one, outcome=name)[told], most).iloc[0]
            values = {end: float(found[end]) for end in told}
        said.append({"outcome": name, **values})
    return tuple(said)


def _open_bounds(spec: CampaignSpec) -> list[OutcomeBound]:
    """The conditions on outcomes that the recipe alone does not decide: of those nobody is sure."""
    known = list(spec.space), spec.conditions()
    return [bound for bound in spec.outcome_constraints if goals.setting_of(bound.outcome, *known) is None]


def electrolytes(session: Session, choice: Chooser) -> pd.DataFrame:
    """Per SSE: the best expected recipe with its interval, and the best one tried."""
    spec = session.spec
    columns = ["sse", "mean", "p05", "p95", "best_tried"]
    if "sse" not in spec.space:
        return pd.DataFrame(columns=columns)
    sign = 1.0 if spec.objective.goal == "max" else -1.0
    foreseen = choice.evidence.se[spec.objective.outcome].notna()
    values = choice.evidence.values[spec.objective.outcome].mask(foreseen)
    tried = (sign * values).groupby(choice.evidence.recipes["sse"]).max() * sign
    rows = []
    for sse in _choices(spec, "sse"):
        # Drawn anew for each: what is forbidden with one is allowed with another.
        recipes = choice.optimiser.space.narrowed({"sse": sse}).find(2048, seed=spec.seed)
        if recipes.empty:
            continue
        predicted, met = choice.optimiser.predict(recipes), choice.optimiser.chance_met(recipes)
        predicted = predicted[met >= min(LIKELY, met.max())][["mean", "p05", "p95"]]
        most = ceiling.of(recipes.loc[predicted.index], spec.objective.outcome, spec, session.materials)
        predicted = ceiling.under(predicted, most)
        top = predicted.iloc[int(np.argmax(sign * predicted["mean"].to_numpy()))]
        rows.append((sse, top["mean"], top["p05"], top["p95"], tried.get(sse, np.nan)))
    return pd.DataFrame(rows, columns=columns)


def _choices(spec: CampaignSpec, name: str) -> tuple[str, ...]:
    item = spec.space[name]
    return () if isinstance(item, Range) else item


def _learned_from(spec: CampaignSpec, choice: Chooser) -> str:
    """Say how many results the answer rests on, and how many cells that have not come to their end."""
    known = choice.evidence
    told = known.values[spec.objective.outcome].notna()
    ahead = int((told & known.se[spec.objective.outcome].notna()).sum())
    kind = "measured" if spec.evaluator == "lab" else "simulated"
    ended = int(told.sum()) - ahead
    results = f"{ended} {kind} result{'s' * (ended != 1)}"
    return results + (f" and the early cycles of {ahead} cell{'s' * (ahead != 1)}" if ahead else "")


def _bound_notes(spec: CampaignSpec, recipe: dict[str, Any]) -> list[str]:
    notes = []
    for name, item in spec.space.items():
        if not isinstance(item, Range):
            continue
        margin = max(item.step or 0.0, 0.01 * (item.high - item.low))
        for end, word in ((item.low, "lowest"), (item.high, "highest")):
            if abs(recipe[name] - end) <= margin:
                notes.append(
                    f"{label(name)}: {recipe[name]:g} stands on the {word} value allowed: a bound, not an optimum found inside."
                )
    return notes


def _model_notes(session: Session, recipe: dict[str, Any]) -> list[str]:
    """Where the physics has a part in the answer, say in what the recipe leaves what the physics was calibrated on."""
    if session.spec.evaluator != "physics" and session.spec.prior != "physics":
        return []
    from models import limits

    designs = session.spec.designs(pd.DataFrame([recipe]))
    return [f"The model there: {sentence}." for sentence in limits.warnings(designs, materials=session.materials)[0]]


def _flat_notes(spec: CampaignSpec, optimiser: Optimiser, recipe: dict[str, Any]) -> list[str]:
    """Name the axes along which the expected outcome changes less than its own doubt can tell."""
    notes = []
    for name, item in spec.space.items():
        values = np.linspace(item.low, item.high, 33) if isinstance(item, Range) else np.array(item, dtype=object)
        line = pd.DataFrame([recipe] * len(values)).assign(**{name: values})
        predicted = optimiser.predict(line)
        spread = predicted["mean"].max() - predicted["mean"].min()
        doubt = float((predicted["p95"] - predicted["p05"]).mean())
        if len(values) > 1 and spread < _UNIDENTIFIED * doubt:
            notes.append(
                f"{label(name)} is not identified: over its whole range the expected outcome changes by {spread:.3g}, its 90 % "
                f"interval is {doubt:.3g} wide."
            )
    return notes

"""The answer of a campaign: recommended recipe, its process window and ridge, and plain words about what is not known."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome
from campaign.parameter import Numeric
from campaign.spec import CampaignSpec, OutcomeBound, Range, Stopping
from flows import ceiling, goals
from flows.choose import Chooser, data_hash
from flows.session import Session
from review.words import label, plain_name, unit_of

if TYPE_CHECKING:
    from surrogate import Optimiser
    from surrogate.answer import Window

LIKELY = 0.5
"""Chance of meeting the conditions on outcomes above which a recipe may be named."""
_GRID = 31
"""Points along each axis of the speed x time surface."""
_PARTS = {"active": "active", "sse": "SSE", "carbon": "carbon"}
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
    ridge = ridge_of(_settable(spec, optimiser, surface, recipe), _on_plane(spec, optimiser, window, row), row, spec)
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
            *_sentences(spec, recipe, row, ridge, _beside(bounds, others, met), _learned_from(spec, choice)),
            *_window_sentences(window),
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


def _beside(bounds: list[OutcomeBound], others: tuple[dict[str, Any], ...], met: float | None) -> str:
    """What else is expected of the recommended recipe: the other objectives, and that it meets the conditions."""
    said = []
    for other in others:
        between = f" (90 %: {other['p05']:.4g} to {other['p95']:.4g})" if other["p05"] < other["p95"] else ""
        said.append(f", {_quantity(other['outcome'], other['mean'])}{between}")
    if met is not None:
        said.append(f", {' and '.join(bound.sentence for bound in bounds)} with a chance of {_percent(met)}")
    return "".join(said)


def _percent(chance: float) -> str:
    return "under 0.1 %" if chance < 0.001 else f"{100 * chance:.1f} %" if chance < 0.02 else f"{100 * chance:.0f} %"


def _quantity(name: str, value: float) -> str:
    defined = outcome.define(name)
    return f"{defined.label[0].lower()}{defined.label[1:]} {value:.4g} {defined.unit}"


def speed_time_surface(spec: CampaignSpec, optimiser: Optimiser) -> pd.DataFrame:
    """Predict the objective over speed x time, the other axes held at the recommendation; empty where one is not varied.

    Returns:
        `speed_rpm`, `time_h`, `mean`, `sd`, `probability` of being within the tolerance of the best, and whether it is `allowed`.
    """
    columns = ["speed_rpm", "time_h", "mean", "sd", "probability", "allowed"]
    if not all(isinstance(spec.space.get(name), Range) for name in columns[:2]):
        return pd.DataFrame(columns=columns)
    grid = optimiser.ridge("speed_rpm", "time_h", tolerance=spec.tolerance_pct / 100.0, n=_GRID)
    if spec.outcome_constraints:
        best = optimiser.recommend().iloc[0]
        recipes = grid.assign(**{name: best[name] for name in spec.space if name not in grid})
        grid["allowed"] &= optimiser.chance_met(recipes) > LIKELY
    return grid[columns]


def _settable(spec: CampaignSpec, optimiser: Optimiser, surface: pd.DataFrame, best: Mapping[str, Any]) -> pd.DataFrame:
    """The surface at speeds and times that the mixer can be set to, the recommended ones among them.

    Its own points are evenly spaced for drawing. The mean is asked anew; the chance, which is smooth, is interpolated between
    points that are allowed.
    """
    axes = [optimiser.space[name] for name in ("speed_rpm", "time_h")] if len(surface) else []
    speed, time = (axis for axis in axes if isinstance(axis, Numeric)) if axes else (None, None)
    if speed is None or time is None or not (speed.step or time.step):
        return surface
    settings = [
        np.unique(np.append(axis.snap(surface[axis.name].unique()), axis.snap(np.array([float(best[axis.name])]))))
        for axis in (speed, time)
    ]
    points = pd.MultiIndex.from_product(settings, names=["speed_rpm", "time_h"]).to_frame(index=False)
    recipes = points.assign(**{name: best[name] for name in spec.space if name not in points})[list(spec.space)]
    drawn = surface.assign(counted=surface["allowed"].astype(float))
    drawn["probability"] *= drawn["counted"]
    share, chance = (_between(drawn, name, points) for name in ("counted", "probability"))
    allowed = optimiser.space.feasible(recipes) & (share > 0)
    if spec.outcome_constraints:
        allowed &= (optimiser.chance_met(recipes) > LIKELY).to_numpy()
    points = points.assign(mean=optimiser.predict(recipes)["mean"], allowed=allowed)
    return points.assign(probability=np.divide(chance, share, out=np.zeros(len(points)), where=share > 0))


def _between(surface: pd.DataFrame, column: str, points: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Interpolate a column of the speed x time grid linearly."""
    from scipy.interpolate import RegularGridInterpolator

    grid = surface.pivot(index="speed_rpm", columns="time_h", values=column)
    inside = RegularGridInterpolator(
        (grid.index.to_numpy(), grid.columns.to_numpy()), grid.to_numpy(), bounds_error=False, fill_value=None
    )
    return np.asarray(inside(points[["speed_rpm", "time_h"]].to_numpy()), dtype=float)


def _threshold(spec: CampaignSpec, best: float) -> float:
    """The value that counts as equivalent to the best: within the campaign's tolerance of it."""
    sign = 1.0 if spec.objective.goal == "max" else -1.0
    return best - sign * abs(best) * spec.tolerance_pct / 100.0


def ridge_of(surface: pd.DataFrame, looked_at: pd.DataFrame, best: pd.Series, spec: CampaignSpec) -> pd.DataFrame:
    """For each speed the best time there, where it counts as equivalent to the recommended recipe, which belongs to it.

    Equivalent is what is expected within the tolerance of it; with several objectives what is likely to be so in each of them,
    as in the process window.

    Args:
        surface: speed x time grid, at values that can be set (`_settable`).
        looked_at: further recipes on that plane, the recommended one among them (`_on_plane`).
        best: the recommended recipe, with its `mean`.
        spec: the campaign.

    Returns:
        `speed_rpm`, `time_h`, `mean`, and the shortest and longest time that are equivalent (`time_low_h`, `time_high_h`).
    """
    columns = ["speed_rpm", "time_h", "mean", "probability", "time_low_h", "time_high_h"]
    if surface.empty:
        return pd.DataFrame(columns=columns)
    sign, several = 1.0 if spec.objective.goal == "max" else -1.0, len(spec.objectives) > 1
    points = pd.concat([surface[surface["allowed"]], looked_at], ignore_index=True)
    equal = points["probability"] >= LIKELY
    if not several:
        equal = sign * points["mean"] >= sign * _threshold(spec, float(best["mean"]))
    rows = []
    for speed, group in points[equal | points["recommended"].eq(True)].groupby("speed_rpm"):
        by = group["probability"] if several else sign * group["mean"]
        top = group.iloc[int(np.argmax(by.to_numpy()))]
        time = group["time_h"]
        rows.append((speed, top["time_h"], top["mean"], top["probability"], time.min(), time.max()))
    return pd.DataFrame(rows, columns=columns)


def _on_plane(spec: CampaignSpec, optimiser: Optimiser, window: Window, best: pd.Series) -> pd.DataFrame:
    """The recommended recipe, and with several objectives those of the window that differ from it in speed and time alone.

    A grid over the plane passes by some times that a mixer can be set to.
    """
    names = list(spec.space)
    same = window.table[names].eq(best[names])
    own = same.all(axis=1)
    beside = same.drop(columns=["speed_rpm", "time_h"], errors="ignore").all(axis=1)
    kept = window.table[own | (beside & (len(spec.objectives) > 1))]
    return kept.assign(mean=optimiser.predict(kept[names])["mean"], recommended=own)


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


def describe(recipe: dict[str, Any]) -> str:
    """Say a recipe in one line.

    >>> describe({"speed_rpm": 1500.0, "time_h": 4.0, "active_wt_pct": 25.0, "sse": "LPSCl", "loading_mg_cm2": 3.0})
    '1500 rpm, 4 h, 25 wt% active, LPSCl, loading 3 mg cm⁻²'
    """
    return ", ".join(_setting(name, _plain(value)) for name, value in recipe.items())


def _setting(name: str, value: str) -> str:
    """One setting, or a span of it, in words and with its unit."""
    words = {"speed_rpm": "{} rpm", "time_h": "{} h", "sse": "{}", "active": "{}"}
    words |= {f"{part}_wt_pct": f"{{}} wt% {word}" for part, word in _PARTS.items()}
    unit = unit_of(name)
    return words.get(name, f"{plain_name(name)} {{}}" + (f" {unit}" if unit else "")).format(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _learned_from(spec: CampaignSpec, choice: Chooser) -> str:
    """Say how many results the answer rests on, and how many cells that have not come to their end."""
    known = choice.evidence
    told = known.values[spec.objective.outcome].notna()
    ahead = int((told & known.se[spec.objective.outcome].notna()).sum())
    kind = "measured" if spec.evaluator == "lab" else "simulated"
    ended = int(told.sum()) - ahead
    results = f"{ended} {kind} result{'s' * (ended != 1)}"
    return results + (f" and the early cycles of {ahead} cell{'s' * (ahead != 1)}" if ahead else "")


def _sentences(
    spec: CampaignSpec, recipe: dict[str, Any], row: pd.Series, ridge: pd.DataFrame, beside: str, learned_from: str
) -> tuple[str, ...]:
    first = (
        f"Recommended: {describe(recipe)}; expected {_quantity(spec.objective.outcome, row['mean'])} "
        f"(90 %: {row['p05']:.4g} to {row['p95']:.4g}){beside}, from {learned_from}."
    )
    if spec.risk:
        first += (
            f" Chosen by what nine of ten mixes still reach where settings slip by {_slips(spec)} (sd); expected is said of the "
            "recipe itself."
        )
    if ridge.empty:
        return (first,)  # speed and time are not both varied
    each = " in every objective" if len(spec.objectives) > 1 else ""
    if len(ridge) == 1 and ridge["time_low_h"].iloc[0] == ridge["time_high_h"].iloc[0]:
        alone = f"No other recipe on the speed × time plane is expected within {spec.tolerance_pct:g} % of it{each}."
        return first, alone
    slow, fast = (_settable_end(spec, ridge.iloc[end]) for end in (0, -1))
    return first, f"Ridge of equivalents within {spec.tolerance_pct:g} %{each}: from {slow} to {fast}."


def _settable_end(spec: CampaignSpec, row: pd.Series) -> str:
    """One end of the ridge, in settings that the mixer has."""
    speed, time, low, high = (
        _nearest(spec.space[column], float(row[name]))
        for name, column in (
            ("speed_rpm", "speed_rpm"),
            ("time_h", "time_h"),
            ("time_low_h", "time_h"),
            ("time_high_h", "time_h"),
        )
    )
    return f"{speed} rpm × {time} h" + (f" ({low}–{high} h)" if low != high else "")


def _nearest(item: Any, value: float) -> str:
    """The settable value nearest to one on a drawn grid."""
    if isinstance(item, Range) and item.step:
        return f"{min(item.low + round((value - item.low) / item.step) * item.step, item.high):g}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _window_sentences(window: Window) -> tuple[str, ...]:
    """Say the process window: where its recipes lie, or, while it is empty, which trials would do most to open it."""
    said = [window.sentence]
    for chance in sorted(set(window.ranges["chance"])):
        inside = window.at_least(chance)
        if len(inside):
            where = ", ".join(map(_where, window.ranges[window.ranges["chance"].eq(chance)].to_dict("records")))
            others = "; others between them may fall short" if len(inside) > 1 else ""
            said.append(f"With {100 * chance:g} % or more: {where}{others}.")
    if len(window.openers):
        recipes = window.openers.drop(columns=["probability", "sd"]).to_dict("records")
        chances = window.openers["probability"]
        trials = "; ".join(
            f"{describe({str(name): value for name, value in recipe.items()})} ({100 * chance:.0f} % now)"
            for recipe, chance in zip(recipes, chances, strict=True)
        )
        empty = window.at_least(window.ranges["chance"].min()).empty
        said.append(
            f"{'Trials that would do most to open it' if empty else 'What would most reduce the doubt'}: {trials}."
        )
    return tuple(said)


def _where(row: Mapping[Hashable, Any]) -> str:
    """One parameter's part of a window, such as `1400 to 1800 rpm` or `LPSCl or LPSBr`."""
    if row["names"]:
        return " or ".join(str(row["names"]).split(", "))
    low, high = (_plain(row[end]) for end in ("low", "high"))
    return _setting(str(row["parameter"]), high if low == high else f"{low} to {high}")


def _slips(spec: CampaignSpec) -> str:
    sizes = {name: size if isinstance(size, str) else f"{size:g}" for name, size in spec.risk.items()}
    return ", ".join(f"{size.replace('%', ' %')} in {label(name)}" for name, size in sizes.items())


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

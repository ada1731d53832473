"""The answer of a campaign in sentences: recipe, doubt, ridge and process window, each value with its unit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from campaign import outcome
from campaign.spec import CampaignSpec, OutcomeBound, Range
from review.words import label, plain_name, unit_of

if TYPE_CHECKING:
    from surrogate.answer import Window

_PARTS = {"active": "active", "sse": "SSE", "carbon": "carbon"}


def describe(recipe: dict[str, Any]) -> str:
    """Say a recipe in one line.

    >>> describe({"speed_rpm": 1500.0, "time_h": 4.0, "active_wt_pct": 25.0, "sse": "LPSCl", "loading_mg_cm2": 3.0})
    '1500 rpm, 4 h, 25 wt% active, LPSCl, loading 3 mg cm⁻²'
    """
    return ", ".join(_setting(name, _plain(value)) for name, value in recipe.items())


def recommendation(
    spec: CampaignSpec, recipe: dict[str, Any], row: pd.Series, ridge: pd.DataFrame, also: str, learned_from: str
) -> tuple[str, ...]:
    """Say what is recommended, what is expected of it, and what on the speed x time plane is as good.

    Args:
        spec: the campaign.
        recipe: recommended value of each varied column.
        row: `mean`, `p05`, `p95` of the first objective there.
        ridge: as `flows.ridge.ridge_of` gives it.
        also: what else is expected of it (`beside`).
        learned_from: what the answer rests on.
    """
    first = (
        f"Recommended: {describe(recipe)}; expected {_quantity(spec.objective.outcome, row['mean'])} "
        f"(90 %: {row['p05']:.4g} to {row['p95']:.4g}){also}, from {learned_from}."
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


def beside(bounds: list[OutcomeBound], others: tuple[dict[str, Any], ...], met: float | None) -> str:
    """What else is expected of the recommended recipe: the other objectives, and that it meets the conditions."""
    said = []
    for other in others:
        between = f" (90 %: {other['p05']:.4g} to {other['p95']:.4g})" if other["p05"] < other["p95"] else ""
        said.append(f", {_quantity(other['outcome'], other['mean'])}{between}")
    if met is not None:
        said.append(f", {' and '.join(bound.sentence for bound in bounds)} with a chance of {_percent(met)}")
    return "".join(said)


def process_window(window: Window) -> tuple[str, ...]:
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


def _setting(name: str, value: str) -> str:
    """One setting, or a span of it, in words and with its unit."""
    words = {"speed_rpm": "{} rpm", "time_h": "{} h", "sse": "{}", "active": "{}"}
    words |= {f"{part}_wt_pct": f"{{}} wt% {word}" for part, word in _PARTS.items()}
    unit = unit_of(name)
    return words.get(name, f"{plain_name(name)} {{}}" + (f" {unit}" if unit else "")).format(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


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


def _where(row: Mapping[Hashable, Any]) -> str:
    """One parameter's part of a window, such as `1400 to 1800 rpm` or `LPSCl or LPSBr`."""
    if row["names"]:
        return " or ".join(str(row["names"]).split(", "))
    low, high = (_plain(row[end]) for end in ("low", "high"))
    return _setting(str(row["parameter"]), high if low == high else f"{low} to {high}")


def _slips(spec: CampaignSpec) -> str:
    sizes = {name: size if isinstance(size, str) else f"{size:g}" for name, size in spec.risk.items()}
    return ", ".join(f"{size.replace('%', ' %')} in {label(name)}" for name, size in sizes.items())


def _quantity(name: str, value: float) -> str:
    defined = outcome.define(name)
    return f"{defined.label[0].lower()}{defined.label[1:]} {value:.4g} {defined.unit}"


def _percent(chance: float) -> str:
    return "under 0.1 %" if chance < 0.001 else f"{100 * chance:.1f} %" if chance < 0.02 else f"{100 * chance:.0f} %"

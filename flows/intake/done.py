"""What was really done, checked at the door by the rule that the chooser applies to it later, wherever it is said.

A slip of the unit that was let in would end every later proposal, long after anybody remembers that batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.parameter import Numeric, Parameter, parse_parameter
from campaign.trial import Trial
from ingest.sheet_columns import ASKED_COLUMNS, DONE_COLUMNS

_UNITS = {column.key: column.unit for column in ASKED_COLUMNS}
_POSSIBLE = {column.key: column for column in DONE_COLUMNS if column.kind == "number"}
_PARTS = ("weighed_active_g", "weighed_sse_g", "weighed_carbon_g")
MANY_BATCHES = 10.0
"""A batch of more than this many times the campaign's is asked about: milligrams in a column of grams are a thousand [est]."""


def numbers_of(spec: Mapping[str, Any]) -> list[Parameter]:
    """The numeric parameters of a campaign as the ledger holds it, for commands that name no campaign file."""
    read = [parse_parameter(name, given) for name, given in spec["space"].items()]
    return [parameter for parameter in read if isinstance(parameter, Numeric)]


def check(trial: Trial, done: Mapping[str, Any], space: Iterable[Parameter], *, place: str = "") -> list[str]:
    """Check recipe columns (and balance readings) that are told as done.

    Args:
        trial: the trial that they are of.
        done: column -> value; other names are left to others.
        space: what the campaign varies.
        place: the subject that is named in a refusal; by default the trial.

    Returns:
        Sentences about values outside of the space: plausible, so they count as they were done.

    Raises:
        Refusal: a value that nothing could be learned from, or that no mixer and no balance shows.
    """
    place = place or trial.id
    said = []
    for parameter in space:
        if parameter.name not in done:
            continue
        value = done[parameter.name]
        try:
            parameter.read(pd.Series([value], index=[place]))
        except Refusal as refusal:
            raise Refusal(_sentence(str(refusal), trial, parameter.name)) from None
        if isinstance(parameter, Numeric) and not parameter.low <= float(value) <= parameter.high:
            bounds = f"{parameter.low:g} to {parameter.high:g}"
            said.append(f"{parameter.name} {value:g} lies outside {bounds}; it counts as it was done")
    for name, column in _POSSIBLE.items():
        if name in done and not column.low <= done[name] <= column.high:
            raise Refusal(
                f"{place}, column {name}: {done[name]:g} is not possible; expected {column.low:g} to {column.high:g} "
                f"{column.unit}; is the unit right?"
            )
    return said


def _sentence(text: str, trial: Trial, name: str) -> str:
    """The chooser's refusal, with what would be right for this trial."""
    text, unit, asked = text.removeprefix("row "), _UNITS.get(name), trial.recipe_asked.get(name)
    if not text.endswith("in another unit?") or not unit or asked is None:
        return text
    return f"{text.removesuffix('?')} than {unit} ({float(asked):g} {unit} was asked)?"


def batch_doubts(mix: str, details: Mapping[str, Any], batch_mass_g: float | None) -> list[str]:
    """Say where the weighed masses make a batch many times the campaign's: their shares fit in any unit."""
    total = sum(float(details.get(name) or 0.0) for name in _PARTS)
    if batch_mass_g is None or total <= MANY_BATCHES * batch_mass_g:
        return []
    return [
        f"{mix}: {total:g} g were weighed, {total / batch_mass_g:.4g} times the campaign's batch of {batch_mass_g:g} g; are "
        "the masses in g?"
    ]

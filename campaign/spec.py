"""A campaign as its YAML file states it: frozen, validated objects, and the file that they came from.

Every unknown key is refused; every fault names the file, the line and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from campaign import materials, outcome, recipe, yaml_lines
from campaign.errors import Refusal
from campaign.names import nearest
from campaign.slip import read_slip

Evaluator = Literal["physics", "lab", "virtual-lab"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _slip(given: float | str) -> float | str:
    try:
        read_slip(given)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None  # pydantic adds the place
    return given


Slip = Annotated[StrictFloat | str, AfterValidator(_slip)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def _defined(name: str) -> str:
    try:
        outcome.define(name)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None  # pydantic adds the place
    return name


class Range(_Frozen):
    """Bounds of a continuous axis, both ends allowed; `step` is what the mixer or the balance can set."""

    low: NotNegative
    high: NotNegative
    step: Positive | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must lie below high {self.high:g}; are the bounds reversed?")
        return self


class Objective(_Frozen):
    """What is wanted: an outcome by its name, and in which direction."""

    outcome: str
    goal: Literal["max", "min"] = "max"

    @field_validator("outcome")
    @classmethod
    def _known(cls, name: str) -> str:
        return _defined(name)


class OutcomeBound(_Frozen):
    """A constraint on an outcome: at least, at most, or both."""

    outcome: str
    at_least: float | None = None
    at_most: float | None = None

    @field_validator("outcome")
    @classmethod
    def _known(cls, name: str) -> str:
        return _defined(name)

    @model_validator(mode="after")
    def _bounded(self) -> OutcomeBound:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least or at_most")
        return self

    @property
    def sentence(self) -> str:
        """For people: `mixing_time_h at most 5`."""
        ends = (("at least", self.at_least), ("at most", self.at_most))
        return f"{self.outcome} {' and '.join(f'{word} {limit:g}' for word, limit in ends if limit is not None)}"

    def met(self, values: pd.Series) -> pd.Series:
        """Say of each of n values whether it lies within the bound; one that is not known (NaN) does not."""
        low = -math.inf if self.at_least is None else self.at_least - self._slack(self.at_least)
        high = math.inf if self.at_most is None else self.at_most + self._slack(self.at_most)
        return values.astype(float).between(low, high)

    def _slack(self, limit: float) -> float:
        return outcome.SLACK_H if self.outcome in outcome.RECIPE_OUTCOMES else 1e-9 * abs(limit)


class Budget(_Frozen):
    """How many trials in all, and how many are proposed at once."""

    trials: Annotated[int, Field(ge=1, le=10_000)] = 24
    batch: Annotated[int, Field(ge=1, le=64)] = 4


class Stopping(_Frozen):
    """Stop when the chance of gaining more than the smallest worthwhile gain falls under the bound."""

    smallest_worthwhile_gain_pct: Positive = 2.0
    chance_below: Annotated[float, Field(gt=0, lt=1)] = 0.05


class Lab(_Frozen):
    """What the lab has: channels, mixers, hours, stock and prices."""

    channels: Annotated[int, Field(ge=1, le=10_000)] = 8
    mixers: Annotated[int, Field(ge=1, le=100)] = 1
    working_days: Annotated[
        tuple[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], ...], Field(min_length=1)
    ] = ("Mon", "Tue", "Wed", "Thu", "Fri")
    working_hours_per_day: Annotated[float, Field(gt=0, le=24)] = 9.0
    max_speed_rpm: Positive | None = None
    max_run_time_h: Positive | None = None
    smallest_batch_g: Positive = 0.5
    batch_mass_g: Positive = 1.0
    cell_area_cm2: Positive = 0.785
    stock_g: Mapping[str, NotNegative] = {}
    price_per_g: Mapping[str, NotNegative] = {}


class VirtualLab(_Frozen):
    """Which virtual lab answers, for rehearsals."""

    seed: Annotated[int, Field(ge=0)] = 0
    level: Literal["faithful", "biased", "wrong"] = "biased"


class CampaignSpec(_Frozen):
    """Everything that a campaign file says."""

    campaign: Name
    title: Annotated[str, Field(max_length=200)] = ""
    evaluator: Evaluator
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    space: Mapping[str, Range | tuple[str, ...]]
    constraints: tuple[str, ...] = ()
    forbidden: tuple[Mapping[str, Any], ...] = ()
    fixed: Mapping[str, Any] = {}
    protocol: Mapping[str, Any] = {}
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=3)]
    outcome_constraints: tuple[OutcomeBound, ...] = ()
    budget: Budget = Budget()
    prior: Literal["none", "physics"] = "none"
    history: str | None = None
    learn_from: tuple[Literal["published", "earlier"], ...] = ()
    tolerance_pct: Annotated[float, Field(gt=0, le=50)] = 5.0
    stopping: Stopping | None = None
    risk: Mapping[str, Slip] = {}
    """How far off each parameter may be mixed (sd, absolute or as `2%`): what nine of ten mixes still reach is then sought."""
    lab: Lab = Lab()
    virtual_lab: VirtualLab = VirtualLab()
    materials: Mapping[str, str] = {}
    schedule: str | None = None

    @model_validator(mode="after")
    def _prior_fits_evaluator(self) -> CampaignSpec:
        if self.evaluator == "physics" and self.prior == "physics":
            raise ValueError(
                "prior: physics cannot stand beside evaluator: physics: the simulator would be told its own answer; "
                "write prior: none"
            )
        if self.evaluator == "physics" and self.learn_from:
            raise ValueError(
                "learn_from mixes measured results into a simulated campaign; with evaluator: physics leave it out"
            )
        return self

    @model_validator(mode="after")
    def _first_is_measured(self) -> CampaignSpec:
        known = [item.outcome for item in self.objectives if item.outcome in outcome.RECIPE_OUTCOMES]
        if len(known) > 1:
            raise ValueError(f"objectives: {' and '.join(known)} say the same of the mixing; keep one")
        first = self.objective.outcome
        if first in outcome.RECIPE_OUTCOMES:
            raise ValueError(
                f"objectives: {first} follows from the recipe, so no trial can teach it; put an outcome that is measured first"
            )
        return self

    @property
    def objective(self) -> Objective:
        """The first objective: the one that plots and the recommendation speak of."""
        return self.objectives[0]

    def conditions(self) -> dict[str, Any]:
        """Recipe and protocol values that every trial shares, published values filled in, varied ones left out."""
        shared = {**recipe.PUBLISHED_RECIPE, **recipe.PUBLISHED_PROTOCOL, **self.fixed, **self.protocol}
        return {name: value for name, value in shared.items() if name not in self.space}

    def designs(self, recipes: pd.DataFrame) -> pd.DataFrame:
        """Complete recipes of this space (n x varied columns) to a design table, carbon as the balance."""
        given = {name: value for name, value in {**self.fixed, **self.protocol}.items() if name not in recipes}
        return recipe.complete(recipes.assign(**given))

    def canonical(self) -> str:
        """The spec as one line of JSON, the same for the same meaning; what the ledger stores."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def sha256(self) -> str:
        """Hash of `canonical()`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


class LoadedCampaign(_Frozen):
    """A spec and where it was read, so that relative file names and faults can be placed."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    spec: CampaignSpec
    path: Path
    lines: Mapping[tuple[str | int, ...], int]

    def place(self, *keys: str | int) -> str:
        """Return `file, line n` of a key, or of the nearest key above it."""
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.lines:
                return f"{self.path}, line {self.lines[keys[:length]]}"
        return str(self.path)

    def file(self, name: str) -> Path:
        """Resolve a file that the campaign names, relative to the campaign file."""
        return (self.path.parent / name).resolve()

    def materials(self) -> materials.Materials:
        """Our materials and the campaign's own rows."""
        return materials.load({kind: self.file(name) for kind, name in self.spec.materials.items()})


def load_spec(path: str | Path) -> LoadedCampaign:
    """Read and validate a campaign file.

    Raises:
        Refusal: one sentence with file and line for the first fault found.
    """
    path = Path(path)
    data, lines = yaml_lines.read(path)
    _check_space(data.get("space"), path, lines)
    try:
        spec = CampaignSpec.model_validate(data)
    except ValidationError as error:
        raise Refusal(_sentence(error, data, path, lines)) from None
    loaded = LoadedCampaign(spec=spec, path=path, lines=lines)
    _check_names(loaded)
    _check_conditions(loaded)
    _check_risk(loaded)
    return loaded


def _sentence(
    error: ValidationError, data: Mapping[str, Any], path: Path, lines: Mapping[tuple[str | int, ...], int]
) -> str:
    """Turn the first fault that pydantic found into one sentence with the line."""
    faults = error.errors()
    # A fault inside a list makes pydantic also say that the list is too short: the inner one is the cause.
    inner = [a for a in faults if not any(b["loc"][: len(a["loc"])] == a["loc"] != b["loc"] for b in faults)]
    fault = min(inner, key=lambda item: (item["type"] == "missing", _line(item["loc"], lines)))
    keys = _keys_in_file(fault["loc"], data)
    where = f"{path}, line {_line(keys, lines)}"
    name = ".".join(str(key) for key in keys) or "the file"
    kind, given = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        known = _fields_at(fault["loc"][:-1])
        return f"{where}: the key {fault['loc'][-1]!r} is unknown here: {nearest(str(fault['loc'][-1]), known)}"
    if kind == "missing":
        return f"{where}: the key {fault['loc'][-1]!r} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(given, dict | list) or kind == "value_error" else f" (given: {given!r})"
    return f"{where}: {name}: {message[0].lower() + message[1:]}{shown}"


def _keys_in_file(loc: tuple[int | str, ...], found: Any) -> tuple[int | str, ...]:
    """Keep the part of pydantic's place that exists in the file (it also names union branches)."""
    keys: list[int | str] = []
    for key in loc:
        inside = found if isinstance(found, dict) else dict(enumerate(found)) if isinstance(found, list) else {}
        if key in inside:
            keys.append(key)
            found = inside[key]
    return tuple(keys)


def _line(loc: tuple[int | str, ...], lines: Mapping[tuple[str | int, ...], int]) -> int:
    for length in range(len(loc), 0, -1):
        if loc[:length] in lines:
            return lines[loc[:length]]
    return lines.get((), 1)


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    kinds: dict[str, type[BaseModel]] = {
        "budget": Budget,
        "stopping": Stopping,
        "lab": Lab,
        "virtual_lab": VirtualLab,
        "objectives": Objective,
        "outcome_constraints": OutcomeBound,
        "space": Range,
    }
    model = kinds.get(str(loc[0]), CampaignSpec) if loc else CampaignSpec
    return list(model.model_fields)


def _check_space(space: Any, path: Path, lines: Mapping[tuple[str | int, ...], int]) -> None:
    """Refuse what cannot be varied before pydantic sees it: its words for a choice of two shapes help nobody."""
    if space is None:
        return  # pydantic says that the key is missing
    where = f"{path}, line {_line(('space',), lines)}"
    if not isinstance(space, dict) or not space:
        raise Refusal(f"{where}: space must list what to vary, such as `speed_rpm: {{low: 400, high: 1600}}`")
    for name, item in space.items():
        where = f"{path}, line {_line(('space', name), lines)}"
        if name not in recipe.DESIGN_COLUMNS:
            raise Refusal(f"{where}: {name!r} cannot be varied: {nearest(name, recipe.DESIGN_COLUMNS)}")
        if name in recipe.TEXT_COLUMNS:
            if not isinstance(item, list) or not item or not all(isinstance(choice, str) for choice in item):
                raise Refusal(f"{where}: {name} takes a list of names, such as [A, B]")
            if len(set(item)) != len(item):
                raise Refusal(f"{where}: {name} lists a name twice")
        elif not isinstance(item, dict):
            raise Refusal(f"{where}: {name} takes bounds, such as {{low: 1, high: 2}}")


def _check_names(loaded: LoadedCampaign) -> None:
    """Refuse materials that nobody defined, and keys of `fixed` and `protocol` that are no part of a design."""
    spec = loaded.spec
    known = loaded.materials()
    tables: dict[str, Mapping[str, Any]] = {
        "sse": known.electrolytes,
        "active": known.actives,
        "carbon": known.carbons,
        "mixer": known.mixers,
        "anode": known.anodes,
    }
    for block, columns in (("fixed", recipe.RECIPE_COLUMNS), ("protocol", recipe.PROTOCOL_COLUMNS)):
        for name in getattr(spec, block):
            if name not in columns:
                raise Refusal(f"{loaded.place(block, name)}: {name!r} is unknown in {block}: {nearest(name, columns)}")
            if name in spec.space:
                raise Refusal(f"{loaded.place(block, name)}: {name} is varied in space and given in {block}; keep one")
    for block in ("space", "fixed", "protocol"):
        for name, value in getattr(spec, block).items():
            if name not in tables:
                continue
            for number, item in enumerate(value if isinstance(value, tuple) else (value,)):
                if item not in tables[name]:
                    raise Refusal(
                        f"{loaded.place(block, name, number)}: nobody defined the {name} {item!r}: "
                        f"{nearest(str(item), tables[name])}"
                    )


def _check_conditions(loaded: LoadedCampaign) -> None:
    """Refuse fixed values that no recipe can have, with their line."""
    for block in ("fixed", "protocol"):
        for name, value in getattr(loaded.spec, block).items():
            if name in recipe.TEXT_COLUMNS:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise Refusal(f"{loaded.place(block, name)}: {name} must be a number of 0 or more, not {value!r}")


def _check_risk(loaded: LoadedCampaign) -> None:
    """Refuse slips of what is not varied, or is a name."""
    numbers = [name for name, item in loaded.spec.space.items() if isinstance(item, Range)]
    for name in loaded.spec.risk:
        if name not in numbers:
            why = "is a choice among names" if name in loaded.spec.space else "is not varied in space"
            raise Refusal(f"{loaded.place('risk', name)}: {name} {why}; what may slip is one of: {', '.join(numbers)}")

"""What is wanted: objectives to raise or lower, and conditions on recipe and outcome."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.constraint import Constraint
from campaign.errors import Refusal
from campaign.given import listed
from campaign.names import nearest
from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
VALUE = "value"
"""Name of the objective where there is one without a name."""
ANSWER_COLUMNS = frozenset({"mean", "sd", "p05", "p95", "trust", "predicted", "reason", "probability", "allowed"})
"""What `ask`, `predict`, `recommend`, `window` and `ridge` put beside the recipe's columns."""
TYPO = 0.8
"""Likeness above which an unknown name in a constraint is taken for a mistyped parameter."""


@dataclass(frozen=True)
class Objective:
    """One thing wanted."""

    name: str
    sign: float
    """+1 to raise it, -1 to lower it."""
    known: bool
    """Whether it is a parameter of the recipe (mixing time, say): known without a trial."""


@dataclass(frozen=True)
class Goals:
    """All that is wanted and demanded."""

    objectives: tuple[Objective, ...]
    recipe_constraints: tuple[str, ...]
    outcome_constraints: tuple[Constraint, ...]

    @classmethod
    def of(cls, goal: str | Mapping[str, str], constraints: Iterable[str] | None, parameters: tuple[str, ...]) -> Goals:
        """Read goals and constraints.

        Args:
            goal: "max", "min", or a mapping of objective to one of these; an objective may be a parameter.
            constraints: conditions as text; those that name something that is neither a parameter nor an objective
                are conditions on further outcomes, which are then told and modelled.
            parameters: names of the recipe's parameters.

        Raises:
            Refusal: an unknown direction, no objective, a mistyped parameter.
        """
        if not isinstance(goal, str | Mapping):
            raise Refusal(f'goal {goal!r} must be "max", "min" or e.g. {{"capacity": "max"}}')
        if isinstance(goal, str) and VALUE in parameters:
            raise Refusal(f'a parameter is called {VALUE}; give the goal a name, e.g. {{"capacity": "{goal}"}}')
        named = {VALUE: goal} if isinstance(goal, str) else dict(goal)
        if not named:
            raise Refusal('there is no goal; give "max", "min" or e.g. {"capacity": "max"}')
        for name, direction in named.items():
            if direction not in ("max", "min"):
                raise Refusal(f"goal of {name}: {direction!r} is neither 'max' nor 'min'")
        objectives = tuple(
            Objective(name, 1.0 if direction == "max" else -1.0, name in parameters)
            for name, direction in named.items()
        )
        if all(objective.known for objective in objectives):
            raise Refusal(
                f"goal {next(iter(named))} is a parameter of the recipe: there is nothing to learn from trials"
            )
        if isinstance(constraints, str):
            constraints = (constraints,)
        on_recipe, on_outcome = [], []
        for text in listed(constraints, "constraints", '["active_wt_pct <= 40"]'):
            constraint = Constraint(str(text))
            others = [name for name in constraint.names if name not in parameters]
            for name in others:
                if name not in named:
                    _refuse_typo(name, str(text), parameters)
            if others:
                on_outcome.append(constraint)
            else:
                on_recipe.append(str(text))
        return cls(objectives, tuple(on_recipe), tuple(on_outcome))

    def modelled(self, parameters: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the outcomes that trials measure: the unknown objectives first, then what constraints need."""
        names = [objective.name for objective in self.objectives if not objective.known]
        for constraint in self.outcome_constraints:
            names += [name for name in constraint.names if name not in parameters]
        return tuple(dict.fromkeys(names))

    def refuse_names(self, space: SearchSpace) -> None:
        """Refuse names that stand for two things in a table that is told or answered, and what cannot be high or low.

        Raises:
            Refusal: a parameter is called like a column of answers, or it or an outcome like an outcome's standard error;
                a choice among names is to be raised or lowered; a condition asks for a name that nobody defined.
        """
        parameters = space.names
        for objective in self.objectives:
            if objective.known and isinstance(space[objective.name], Category):
                raise Refusal(f"goal of {objective.name}: it is a choice among names, which is neither high nor low")
        for constraint in self.outcome_constraints:
            space.check_names(constraint)
        outcomes = self.modelled(parameters)
        errors = {f"{name}_se" for name in outcomes}
        for name in outcomes:
            if name in errors:
                raise Refusal(
                    f"an outcome is called {name}, as the standard error of {name.removesuffix('_se')} is; rename one of them"
                )
        for name in parameters:
            if name in ANSWER_COLUMNS or name in errors:
                raise Refusal(
                    f"a parameter is called {name}, as a column of the answers is; rename it, e.g. to set_{name}"
                )

    def sign(self, name: str) -> float:
        """+1 for an outcome to raise or only to be watched, -1 for one to lower."""
        return next((objective.sign for objective in self.objectives if objective.name == name), 1.0)

    def met(self, outcomes: Mapping[str, Sequence[Floats]], recipes: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return for m recipes whether all conditions on outcomes hold.

        Args:
            outcomes: s x m values of each, or the s x m ends between which it may lie: conditions hold at all of them.
            recipes: m rows.
        """
        shape = next(iter(outcomes.values()))[0].shape
        met = np.ones(shape, dtype=bool)
        for constraint in self.outcome_constraints:
            settings = {
                name: np.tile(recipes[name].to_numpy(), shape[0]) for name in constraint.names if name not in outcomes
            }
            uncertain = [name for name in constraint.names if name in outcomes]
            for ends in itertools.product(*(outcomes[name] for name in uncertain)):
                columns = settings | {name: values.ravel() for name, values in zip(uncertain, ends, strict=True)}
                met &= constraint.holds(pd.DataFrame(columns)).reshape(shape)
        return met


def _refuse_typo(name: str, text: str, parameters: tuple[str, ...]) -> None:
    alike = [known for known in parameters if normalize("NFKC", known) == normalize("NFKC", name)]
    if alike:  # the micro sign and the Greek letter, an umlaut as one sign or two
        raise Refusal(f"constraint {text!r}: {name} is written with another sign than the parameter {alike[0]}")
    if any(SequenceMatcher(None, name.lower(), known.lower()).ratio() > TYPO for known in parameters):
        raise Refusal(f"constraint {text!r}: {name} is neither a parameter nor a goal; {nearest(name, parameters)}")

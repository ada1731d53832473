"""What is left of each material, and which recipes that allows.

`stock_g` of the `lab:` block is what there was when the campaign began; every trial of the lab that was asked for takes its
batches out of it, from the moment it is proposed until it is abandoned unmixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pandas as pd

from campaign.constraint import Constraint
from campaign.errors import Refusal
from campaign.parameter import Numeric
from campaign.recipe import DESIGN_COLUMNS, complete
from campaign.space import SearchSpace
from flows.lab_cost import PARTS, designs_of, material_g
from flows.session import Session
from store import Reader

if TYPE_CHECKING:
    from surrogate import Optimiser


TRIED = 64
"""Recipes of the space that are weighed against what is left to say which material is lacking."""
WAY_OUT = "raise stock_g when new material has come, or lower batch_mass_g"


class OutOfStock(Refusal):
    """No recipe of the space can be mixed from what is left."""


@dataclass(frozen=True)
class Stock:
    """Grams left of the materials whose stock is known; `where` names the place in the campaign's file."""

    left_g: Mapping[str, float]
    batch_mass_g: float
    where: str = "stock_g"

    def lacking(self, recipe: pd.DataFrame, conditions: Mapping[str, Any]) -> str | None:
        """Name the material that one batch of a recipe (one row) needs more of than is left."""
        (needed,) = material_g(designs_of(recipe, conditions), self.batch_mass_g)
        return next((name for name, mass in needed.items() if mass > self.left_g.get(name, mass) + 1e-9), None)

    def after(self, recipe: pd.DataFrame, conditions: Mapping[str, Any]) -> Stock:
        """What is left after one batch of each recipe (n rows)."""
        left = dict(self.left_g)
        for needed in material_g(designs_of(recipe, conditions), self.batch_mass_g):
            left = {name: mass - needed.get(name, 0.0) for name, mass in left.items()}
        return replace(self, left_g=left)

    def limited(self, space: SearchSpace, conditions: Mapping[str, Any]) -> SearchSpace:
        """A campaign's space without what the stock does not allow.

        Raises:
            OutOfStock: nothing is left that could be mixed.
        """
        forbidden, limits = list(space.forbidden), list(space.constraints)
        varied = {parameter.name: parameter for parameter in space.parameters}
        for part, share in PARTS:
            axis, named = varied.get(share), varied.get(part)
            if isinstance(named, Numeric) or (share == "carbon_wt_pct" and axis is None):
                continue  # carbon as the balance: `lacking` looks at each recipe
            choices = named.choices if named is not None else (str(conditions.get(part, "none")),)
            least = axis.low if isinstance(axis, Numeric) else float(conditions.get(share, 0.0))
            balance = axis is None and share not in conditions  # of which every recipe takes some
            enough = [
                name
                for name in choices
                if self._most_pct(name) >= least - 1e-9
                and not (balance and name != "none" and not self._most_pct(name))
            ]
            if not enough:
                raise OutOfStock(self._sentence(choices, least))
            forbidden += [{part: name} for name in choices if name not in enough and named is not None]
            most = max(self._most_pct(name) for name in enough)
            if isinstance(axis, Numeric) and most < axis.high:
                limits.append(Constraint(f"{share} <= {most!r}"))
        return replace(space, forbidden=tuple(forbidden), constraints=tuple(limits))

    def shortage(self, space: SearchSpace, conditions: Mapping[str, Any]) -> str:
        """Say what is lacking where no further recipe of a space can be mixed, or none of those that are wanted."""
        try:
            recipes = self.limited(space, conditions).sample(TRIED, seed=0)
        except Refusal as refusal:
            return str(refusal)
        lacking = [self.lacking(recipes.iloc[[row]], conditions) for row in range(len(recipes))]
        named = [name for name in lacking if name is not None]
        return (
            self.spent(max(named, key=named.count))
            if named
            else f"{self.where}: {self._left(self.left_g)} is too little"
        )

    def spent(self, name: str) -> str:
        """Say that a material does not do for one more batch, and the way out."""
        return f"{self.where}: what is left of {name} ({self.left_g[name]:.3g} g) does not do for one more batch; {WAY_OUT}"

    def without(self, names: Iterable[str]) -> Stock:
        """The same with nothing left of some materials: where what is left does not do for what was chosen."""
        return replace(self, left_g={**self.left_g, **dict.fromkeys(names, 0.0)})

    def _most_pct(self, name: str) -> float:
        """Largest share of a batch that what is left of a material allows."""
        return min(100.0, 100.0 * self.left_g.get(name, self.batch_mass_g) / self.batch_mass_g)

    def _sentence(self, names: tuple[str, ...], share_pct: float) -> str:
        needs = share_pct / 100 * self.batch_mass_g
        return f"{self.where}: {self._left(names)} does not do for one more batch, which needs {needs:.3g} g; {WAY_OUT}"

    def _left(self, names: Iterable[str]) -> str:
        return f"what is left ({', '.join(f'{name} {self.left_g.get(name, 0.0):.3g} g' for name in names)})"


class HasOptimiser(Protocol):
    """What chooses."""

    @property
    def optimiser(self) -> Optimiser:
        """Told all that is known."""


Choice = TypeVar("Choice", bound=HasOptimiser)


def ask_within(
    left: Stock, q: int, space: SearchSpace, conditions: Mapping[str, Any], make: Callable[[SearchSpace], Choice]
) -> tuple[Choice, pd.DataFrame]:
    """Ask for q recipes, or for as many as the stock allows.

    Args:
        left: what there is before the first of them.
        q: how many are wanted.
        space: the campaign's.
        conditions: what is held.
        make: gives the chooser over a space; called again when the stock narrows it.

    Returns:
        The last chooser, and the recipes with predictions and reasons.

    Raises:
        OutOfStock: not even one batch can be mixed.
    """
    rows: list[pd.DataFrame] = []
    choice: Choice | None = None
    allowed: tuple[Any, Any] = ((), ())
    barred: set[str] = set()
    names = list(space.names)
    while len(rows) < q:
        try:
            narrowed = left.without(barred).limited(space, conditions)
        except OutOfStock:
            if choice is None or not rows:
                raise
            break
        if choice is None or (narrowed.forbidden, narrowed.constraints) != allowed:
            choice, allowed = make(narrowed), (narrowed.forbidden, narrowed.constraints)
            if rows:
                choice.optimiser.pending(pd.concat(rows)[names])
        row = choice.optimiser.ask(1, explain=True)
        lacking = left.lacking(row[names], conditions)
        if lacking in barred:  # chosen again, as no recipe of the space does without it
            if rows:
                break
            raise OutOfStock(left.spent(lacking))
        if lacking is not None:
            barred.add(lacking)
            choice.optimiser.withdraw(row[names])
            continue
        left = left.after(row[names], conditions)
        rows.append(row)
    assert choice is not None
    return choice, pd.concat(rows, ignore_index=True)


def short_of(session: Session, given: int, asked: int) -> str | None:
    """Say why fewer trials were given than were asked for, where the stock is known and there are fewer."""
    left = stock_of(session, session.reader)
    if left is None or given >= asked:
        return None
    why = left.shortage(session.space, session.spec.conditions())
    return f"stock allows {given} of the {asked} asked for: {why}"


def stock_of(session: Session, reader: Reader) -> Stock | None:
    """What is left now; None where the campaign names no stock."""
    lab = session.spec.lab
    if session.spec.evaluator != "lab" or not lab.stock_g:
        return None
    trials = reader.trials(session.name)
    mixes = reader.mixes(session.name)
    made = mixes[mixes["state"].ne("planned")].groupby("trial").size()
    own = trials[trials["evaluator"].eq("lab") & trials["planned"].astype(bool)]
    left = {name: float(mass) for name, mass in lab.stock_g.items()}
    where = session.loaded.place("lab", "stock_g")
    if own.empty:
        return Stock(left, lab.batch_mass_g, where)
    needed = material_g(complete(own[list(DESIGN_COLUMNS)]), lab.batch_mass_g)
    for (trial, row), masses in zip(own.iterrows(), needed, strict=True):
        batches = int(made.get(trial, 0)) or int(row["state"] not in ("abandoned", "excluded"))
        for name, mass in masses.items():
            if name in left:
                left[name] -= batches * mass
    return Stock({name: max(0.0, mass) for name, mass in left.items()}, lab.batch_mass_g, where)

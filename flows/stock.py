"""What is left of each material, and which recipes that allows.

`stock_g` of the `lab:` block is what there was when the campaign began; every trial of the lab that was asked for takes its
batches out of it, from the moment it is proposed until it is abandoned unmixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from campaign.constraint import Constraint
from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS, complete
from campaign.space import SearchSpace
from campaign.spec import Range
from flows.lab_cost import PARTS, designs_of, material_g
from flows.session import Session
from store import Reader


class OutOfStock(Refusal):
    """No recipe of the space can be mixed from what is left."""


@dataclass(frozen=True)
class Stock:
    """Grams left of the materials whose stock is known."""

    left_g: Mapping[str, float]
    batch_mass_g: float

    def lacking(self, recipe: pd.DataFrame, session: Session) -> str | None:
        """Name the material that one batch of a recipe (one row) needs more of than is left."""
        (needed,) = material_g(designs_of(recipe, session.spec.conditions()), self.batch_mass_g)
        return next((name for name, mass in needed.items() if mass > self.left_g.get(name, mass) + 1e-9), None)

    def after(self, recipe: pd.DataFrame, session: Session) -> Stock:
        """What is left after one batch of a recipe."""
        (needed,) = material_g(designs_of(recipe, session.spec.conditions()), self.batch_mass_g)
        return replace(self, left_g={name: mass - needed.get(name, 0.0) for name, mass in self.left_g.items()})

    def limited(self, session: Session) -> SearchSpace:
        """The campaign's space without what the stock does not allow.

        Raises:
            OutOfStock: nothing is left that could be mixed.
        """
        spec, space = session.spec, session.space
        held = spec.conditions()
        forbidden, limits = list(space.forbidden), list(space.constraints)
        for part, share in PARTS:
            axis, choices = spec.space.get(share), spec.space.get(part, (str(held.get(part, "none")),))
            if isinstance(choices, Range) or (share == "carbon_wt_pct" and axis is None):
                continue  # carbon as the balance: `lacking` looks at each recipe
            least = axis.low if isinstance(axis, Range) else float(held.get(share, 0.0))
            enough = [name for name in choices if self._most_pct(name) >= least - 1e-9]
            if not enough:
                raise OutOfStock(self._sentence(session, choices, least))
            forbidden += [{part: name} for name in choices if name not in enough and part in spec.space]
            most = max(self._most_pct(name) for name in enough)
            if isinstance(axis, Range) and most < axis.high:
                limits.append(Constraint(f"{share} <= {most!r}"))
        return replace(space, forbidden=tuple(forbidden), constraints=tuple(limits))

    def without(self, name: str) -> Stock:
        """The same with nothing left of a material: where what is left of it does not do for what was chosen."""
        return replace(self, left_g={**self.left_g, name: 0.0})

    def _most_pct(self, name: str) -> float:
        """Largest share of a batch that what is left of a material allows."""
        return min(100.0, 100.0 * self.left_g.get(name, self.batch_mass_g) / self.batch_mass_g)

    def _sentence(self, session: Session, names: tuple[str, ...], share_pct: float) -> str:
        left = ", ".join(f"{name} {self.left_g.get(name, 0.0):.3g} g" for name in names)
        needs = share_pct / 100 * self.batch_mass_g
        return (
            f"{session.loaded.place('lab', 'stock_g')}: what is left ({left}) does not do for one more batch, which needs "
            f"{needs:.3g} g; raise stock_g when new material has come, or lower batch_mass_g"
        )


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
    if own.empty:
        return Stock(left, lab.batch_mass_g)
    needed = material_g(complete(own[list(DESIGN_COLUMNS)]), lab.batch_mass_g)
    for (trial, row), masses in zip(own.iterrows(), needed, strict=True):
        batches = int(made.get(trial, 0)) or int(row["state"] not in ("abandoned", "excluded"))
        for name, mass in masses.items():
            if name in left:
                left[name] -= batches * mass
    return Stock({name: max(0.0, mass) for name, mass in left.items()}, lab.batch_mass_g)

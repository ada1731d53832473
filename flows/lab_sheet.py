"""The lab sheet out: open trials with what is known of them, ready to be filled."""

from __future__ import annotations

import math
from pathlib import Path

from campaign import outcome
from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS
from campaign.spec import Range
from campaign.trial import OPEN
from flows.session import Session, now, who


def write(session: Session, path: Path, trials: list[str] | None = None) -> list[str]:
    """Write a sheet of the given trials (by default of all open ones) and mark them as issued.

    Returns:
        The trials on it.

    Raises:
        Refusal: nothing is open, or the file exists already.
    """
    from ingest import write_sheet

    table = session.ledger.trials(session.name, recipe="asked")
    own = table[table["evaluator"].eq("lab") & table["state"].isin(OPEN)]
    chosen = own.loc[[name for name in trials if name in own.index]] if trials is not None else own
    if chosen.empty:
        raise Refusal(
            f"campaign {session.name!r} has no open lab trial to write on a sheet"
            + ("" if session.spec.evaluator == "lab" else f": its evaluator is {session.spec.evaluator}, not lab")
        )
    bounds = {name: (item.low, item.high) for name, item in session.spec.space.items() if isinstance(item, Range)}
    write_sheet(
        path,
        chosen[[*DESIGN_COLUMNS, "state"]].replace({"state": {"proposed": "issued"}}),
        space_bounds=bounds,
        batch_mass_g=session.spec.lab.batch_mass_g,
        outcomes=[f"discharge_areal_capacity_cycle_{n}_mAh_cm2" for n in typed_cycles(session)],
        campaign_name=session.name,
    )
    names = [str(name) for name in chosen.index]
    session.ledger.issue(names, key=f"issue {' '.join(names)} {now().isoformat()}", at=now(), by=who())
    return names


def typed_cycles(session: Session) -> list[int]:
    """Cycles whose capacity may be typed into the sheet where there is no cycler file: 1, 2, and those of the objectives."""
    wanted = {outcome.cycle_of(objective.outcome) for objective in session.spec.objectives}
    return sorted({1, 2} | {cycle for cycle in wanted if cycle is not None and math.isfinite(cycle)})

"""The cells of a lab campaign as they look now, what they say so far, and what is advised about those that run.

What a cell says (flows.early_evidence) is told to the chooser with its own doubt; the advice (flows.advice) is made from the
same table. Both are those of the virtual clock. Advice is stored as a result of its cell, provenance `predicted`: what was
said when, and from which cycles, stays on record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome, quantity
from campaign.recipe import RECIPE_COLUMNS
from flows import batches, evidence, goals
from flows.session import Session, now, who
from store import Reader

if TYPE_CHECKING:
    from flows.advice import Advice
    from flows.choose import Chooser
    from flows.early_evidence import EarlyEvidence, Floats, Seen

CHANCE = "chance_of_being_best"
CURVES = 64
"""Recipes whose simulated curves start the laws."""
RULES = "4"
"""Another number whenever the rules of advice change, so that what was advised by the older ones no longer stands."""
LOOKS_LIKE = {"planned": "mixing", "running": "running", "stopped": "stopped", "completed": "ended", "failed": "died"}


def cells(session: Session, reader: Reader) -> list[Seen]:
    """Every cell of the campaign's own lab trials, with its unbroken curve from cycle 1 on and its batch's powder results.

    A batch that has powder results and no cell yet stands for the cell to come, under the batch's name.
    """
    from flows.early_evidence import Seen

    trials = reader.trials(session.name)
    table = reader.cells(session.name)
    record = reader.cycling(session.name)
    record = record[record["evaluator"].eq("lab")]
    powder = powder_results(reader, session.name)
    owners = reader.mixes(session.name)["trial"]
    mixed = batches.as_mixed(reader, session.name, trials, pd.concat([table["trial"], owners]))
    loading = evidence.own_loading(table, mixed)
    seen = []
    for row, cell in table.iterrows():
        name = str(row)
        trial = trials.loc[cell["trial"]] if cell["trial"] in trials.index else None
        if trial is None or trial["evaluator"] != "lab" or "excluded" in (trial["state"], cell["state"]):
            continue
        mine = record[record["subject"].eq(name)].set_index("cycle")["discharge_areal_capacity_mAh_cm2"]
        recipe = {varied: mixed.loc[name, varied] for varied in session.spec.space}
        own = {"loading_mg_cm2": float(loading[name])}
        recipe |= {column: value for column, value in own.items() if column in recipe}
        readings = {**powder.get(cell["trial"], {}), **powder.get(cell["mix"], {}), **powder.get(name, {})}
        seen.append(Seen(name, recipe, readings, unbroken(mine), LOOKS_LIKE[cell["state"]], own))
    for name in waiting_mixes(reader, session.name):
        trial = trials.loc[owners[name]]
        readings = {**powder.get(owners[name], {}), **powder.get(name, {})}
        if readings and trial["evaluator"] == "lab":
            recipe = {varied: mixed.loc[name, varied] for varied in session.spec.space}
            seen.append(Seen(name, recipe, readings, np.zeros(0), "mixing"))
    return _powder_once(seen, table["mix"]) if "loading_mg_cm2" in session.spec.space else seen


def _powder_once(seen: list[Seen], mix_of: pd.Series) -> list[Seen]:
    """Take the powder from cells yet to cycle whose batch another speaks for: their own loadings make them look like others."""
    spoken = {mix_of.get(cell.number) for cell in seen if len(cell.discharge)}
    once = []
    for cell in seen:
        mix = mix_of.get(cell.number, cell.number)
        waits = not len(cell.discharge) and cell.state != "died"
        once.append(replace(cell, powder={}) if waits and mix in spoken else cell)
        spoken.add(mix)
    return once


def unbroken(discharge: pd.Series) -> Any:
    """Capacities from cycle 1 to the first gap."""
    known = discharge.dropna().sort_index()
    whole = int((known.index == np.arange(1, len(known) + 1)).cumprod().sum())
    return known.to_numpy(dtype=float)[:whole]


def powder_results(reader: Reader, campaign: str) -> dict[Any, dict[str, float]]:
    """Measured scalar results that no cycle goes with, by what they hang on (trial, mix or cell)."""
    rows = reader.results(campaign)
    rows = rows[rows["evaluator"].eq("lab") & rows["cycle"].isna() & rows["relation"].eq("=")]
    rows = rows[~rows["provenance"].eq(evidence.PREDICTED) & rows["value"].gt(0)]
    found: dict[Any, dict[str, float]] = {}
    for row in rows.to_dict("records"):
        found.setdefault(row["subject"], {})[quantity.column(row["observable"], row["unit"])] = float(row["value"])
    return found


def early(session: Session, seen: Sequence[Seen]) -> EarlyEvidence:
    """The laws from early to late for this campaign's outcomes; the physics is asked for curves once a cell has cycled."""
    from flows.early_evidence import EarlyEvidence

    return EarlyEvidence(
        session.space,
        session.spec.conditions(),
        tuple(evidence.wanted_outcomes(session.spec)),
        materials=session.materials,
        curves=simulated_curves(session) if any(len(cell.discharge) for cell in seen) else [],
    )


def partial(session: Session, reader: Reader, finished: set[str]) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """What cells say that have not (or will never) come to the cycles that count.

    Args:
        session: an open campaign.
        reader: the ledger at one moment.
        finished: trials whose outcomes are measured; their other cells say so too, these not.

    Returns:
        As `Evidence.table`, with `trial`, only rows that say something; and as `Evidence.common` of these rows.
    """
    seen = cells(session, reader)
    law = early(session, seen)
    told = law.of(seen)
    owner = pd.concat([reader.cells(session.name)["trial"], reader.mixes(session.name)["trial"]])
    trial = told.table["number"].map(owner).astype(str)
    said = told.table["early_sd"].gt(0) & told.table[list(law.outcomes)].notna().all(axis=1)
    rows = said & ~trial.isin(finished)
    table, common = told.only(rows.to_numpy())
    return table.assign(trial=trial[rows].to_list()), common


def last_cycle(session: Session) -> int:
    """The last cycle that the campaign's outcomes speak of; a cell's protocol may go on beyond it."""
    from flows.early_evidence import needed_cycle

    return max(needed_cycle(name, session.spec.conditions()) for name in evidence.wanted_outcomes(session.spec))


def any_to_judge(session: Session, seen: Sequence[Seen]) -> bool:
    """Say whether there is a running cell that advice can be given on."""
    from flows.advice import may_be_judged

    last = last_cycle(session)
    return any(may_be_judged(cell, last) for cell in seen)


def advise(session: Session, reader: Reader, choice: Chooser) -> list[Advice]:
    """Judge every running cell of a lab campaign against what is believed now."""
    from flows import advice

    seen = cells(session, reader)
    objective = session.spec.objective
    if session.spec.evaluator != "lab" or not any_to_judge(session, seen):
        return []
    owners = reader.cells(session.name)["trial"]
    tried = choice.evidence.tried_in({str(owners[c.number]) for c in seen if len(c.discharge)})
    if tried.empty:
        return []  # nothing to compare a cell with
    law, sign = early(session, seen), 1.0 if objective.goal == "max" else -1.0
    told = law.of(seen)
    recipes = {cell.number: cell.recipe for cell in seen if cell.state == "running"}
    return advice.advise(
        seen,
        told,
        advice.bars(choice.optimiser, tried, recipes, sign=sign, keeps=_keeps(session)),
        objective=objective.outcome,
        sign=sign,
        last_cycle=law.last_cycle,
        cycle_days={
            cell.number: advice.days_of_a_cycle(cell.discharge, _current(session, reader, cell)) for cell in seen
        },
        wanted=max(0, len(waiting_mixes(reader, session.name)) - len(free_channels(session, reader))),
    )


def _keeps(session: Session) -> Callable[[pd.DataFrame], npt.NDArray[np.bool_]]:
    spec = session.spec
    return lambda recipes: goals.keeps(recipes, spec.outcome_constraints, spec.conditions())


def _current(session: Session, reader: Reader, cell: Seen) -> float:
    said = reader.trial(str(cell.number)).protocol.get("current_mA_cm2")
    return float(said or session.spec.conditions()["current_mA_cm2"])


def waiting_mixes(reader: Reader, campaign: str) -> list[str]:
    """Batches that are mixed and have no cell yet, of trials that are still open."""
    mixes, table, states = reader.mixes(campaign), reader.cells(campaign), reader.trials(campaign)["state"]
    return [
        str(mix)
        for mix, row in mixes[mixes["state"].eq("mixed")].iterrows()
        if not table["mix"].eq(str(mix)).any() and states.get(row["trial"]) in ("mixing", "testing")
    ]


def free_channels(session: Session, reader: Reader) -> list[str]:
    """Channels that no cell runs on; a running cell whose channel is not said, or has a name of its own, takes one too."""
    running = reader.cells(session.name)
    running = running[running["state"].eq("running")]
    taken = {str(channel) for channel in running["channel"].dropna()}
    free = [str(n) for n in range(1, session.spec.lab.channels + 1) if str(n) not in taken]
    return free[: max(0, session.spec.lab.channels - len(running))]


# ---- on record ------------------------------------------------------------------------------------------------------
def news(reader: Reader, campaign: str) -> str:
    """Hash of what advice is made from: its rules, trials as mixed, cells, records, measured results; not earlier advice."""
    results, trials = reader.results(campaign), reader.trials(campaign)
    parts = [
        trials[["state", *(column for column in RECIPE_COLUMNS if column in trials)]],
        reader.cells(campaign)[["state", "channel", "active_mass_mg", "area_cm2"]],
        reader.mixes(campaign)[["state", "recipe_done"]],
        reader.cycling(campaign)[["subject", "cycle", "seq"]],
        results.loc[~results["provenance"].eq(evidence.PREDICTED), ["result"]],
    ]
    return hashlib.sha256("|".join([RULES, *(part.to_csv() for part in parts)]).encode()).hexdigest()[:16]


def store(session: Session, found: list[Advice], at_news: str) -> None:
    """Put advice on record, once for each state of the evidence."""
    if not found:
        return
    model = f"mixwright {version('mixwright')}"
    rows = [
        {
            "subject": item.number,
            "observable": CHANCE,
            "unit": "1",
            "value": item.chance_best,
            "cycle": item.cycles,
            "provenance": evidence.PREDICTED,
            "note": json.dumps({"news": at_news, "model": model, **plain(item)}),
        }
        for item in found
    ]
    key = f"advise {session.name} {at_news}"
    session.ledger.record(results=pd.DataFrame(rows), key=key, at=now(), by=who())


def plain(item: Advice) -> dict[str, Any]:
    """Advice as data for JSON."""
    return {name: value for name, value in asdict(item).items() if name != "number"} | {"cell": str(item.number)}


def stored(session: Session, reader: Reader) -> list[Advice]:
    """The advice that stands for the evidence as it is; empty where none was made from it."""
    from flows.advice import Advice

    rows = reader.results(session.name)
    at_news = news(reader, session.name)
    found = {}
    for text in rows.loc[rows["observable"].eq(CHANCE), "note"]:
        note = json.loads(text)
        if note.pop("news") == at_news:
            note.pop("model")
            cell = note.pop("cell")
            found[cell] = Advice(number=cell, **note)
    return list(found.values())


def bring_up_to_date(session: Session) -> list[Advice]:
    """Make and store the advice for the evidence as it is now, unless it stands already."""
    from flows.choose import chooser

    if session.spec.evaluator != "lab":
        return []
    reader = session.reader
    standing = stored(session, reader)
    if standing:
        return standing
    if not any_to_judge(session, cells(session, reader)):
        return []
    found = advise(session, reader, chooser(session, reader))
    store(session, found, news(reader, session.name))
    return found


_CURVES: dict[str, list[Any]] = {}


def simulated_curves(session: Session) -> list[Any]:
    """Curves that the physics draws over the space; none where the campaign takes no prior from the physics."""
    if session.spec.prior != "physics":
        return []
    from models import limits
    from models.simulate import simulate

    key = session.spec.sha256()
    if key not in _CURVES:
        cycles = max(2, *(c for c in map(outcome.cycle_of, evidence.wanted_outcomes(session.spec)) if c))
        designs = session.spec.designs(session.space.sample(CURVES, seed=session.spec.seed)).assign(cycles=cycles)
        told = limits.refusals(designs, materials=session.materials)
        designs = designs[[sentence is None for sentence in told]]
        cycling = simulate(designs, fidelity="quick", materials=session.materials).cycling if len(designs) else None
        _CURVES[key] = [] if cycling is None else [
            part.sort_values("cycle")["discharge_areal_capacity_mAh_cm2"].to_numpy(dtype=float)
            for _, part in cycling.groupby("design", sort=False)
        ]  # fmt: skip
    return _CURVES[key]

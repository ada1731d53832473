"""What people did at the bench: mixed, started, stopped. Each says what it wrote; said twice, it is written once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.recipe import complete
from campaign.trial import SubjectId, Trial, read_id
from flows.intake import cells, standing, times, whose
from flows.intake import done as really
from store import Ledger


@dataclass(frozen=True)
class Act:
    """Who did it and when."""

    by: str
    at: datetime
    why: str | None = None

    def key(self, *words: object) -> str:
        """Name of the write: the same act at the same time is the same write."""
        return " ".join([*map(str, words), f"by {self.by} at {self.at.isoformat()}"])


# ---- mixing --------------------------------------------------------------------------------------------------------
def mixed(
    ledger: Ledger,
    subject: str,
    act: Act,
    *,
    done: Mapping[str, float],
    weighed: Mapping[str, float],
    details: Mapping[str, Any],
) -> str:
    """Note that a batch was mixed.

    Args:
        ledger: the ledger.
        subject: trial (its first batch) or mix (`T0001-M2`: the second one).
        act: who and when.
        done: recipe columns that were not as asked, such as the speed that the mixer reached.
        weighed: `weighed_active_g`, `weighed_sse_g`, `weighed_carbon_g`: the shares follow from them.
        details: lots and whatever else belongs to this batch.

    Raises:
        Refusal: the batch is noted already and this says something else of it, or a value that cannot be.
    """
    named = read_id(subject)
    trial = ledger.trial(str(named))
    recipe = dict(done) | shares(trial, weighed)
    facts = {**details, **weighed}
    notes = _doubts(ledger, trial, recipe, weighed)
    mine = ledger.mixes(trial.campaign)
    mine = mine[mine["trial"].eq(trial.id)]
    known = [name for name in mine.index if mine.loc[name, "state"] != "planned"]
    target = str(named) if named.kind == "mix" else known[-1] if known else f"{trial.id}-M1"
    if named.kind == "cell":
        raise Refusal(f"{named} is a cell; what is mixed is {named.mix}")
    if target in known:
        stands = {name: json.loads(str(mine.loc[target, name])) for name in ("recipe_done", "details")}
        said = {"recipe_done": recipe, "details": facts}
        other = _next_mix(target, mine.index)
        return _mixed_before(ledger, trial, target, act, stands=stands, said=said, other=other) + notes
    made = ledger.mixed(
        target, recipe_done=recipe, details=facts, key=act.key("mixed", target), at=act.at, by=act.by, why=act.why
    )
    cells.share_follows(ledger, trial.id, by=act.by, at=act.at)
    learned = ", ".join(f"{name} {value:.6g}" for name, value in recipe.items())
    return (
        f"{made} is mixed" + (f"; learned from as done: {learned}" if learned else ", as asked") + _late(trial) + notes
    )


def _doubts(ledger: Ledger, trial: Trial, done: Mapping[str, Any], weighed: Mapping[str, float]) -> str:
    """Notes to add to the answer; what the chooser could not take is refused now, while its batch is remembered."""
    known = ledger.spec(trial.campaign)
    assert known is not None  # a trial is proposed by a campaign that the ledger holds
    spec = known[1]
    notes = really.check(trial, {**done, **weighed}, really.numbers_of(spec))
    notes += really.batch_doubts(trial.id, weighed, spec.get("lab", {}).get("batch_mass_g"))
    return "".join(f"; note: {text}" for text in notes)


def shares(trial: Trial, weighed: Mapping[str, float]) -> dict[str, float]:
    """Shares in wt% from the balance readings; none while a part that was asked for is not weighed.

    Raises:
        Refusal: only some parts were weighed, or the masses sum to nothing.
    """
    if not weighed:
        return {}
    asked = complete(pd.DataFrame([{**trial.recipe_asked, **trial.protocol}])).iloc[0]
    grams = {part: weighed.get(f"weighed_{part}_g") for part in ("active", "sse", "carbon")}
    missing = [part for part, mass in grams.items() if mass is None and asked[f"{part}_wt_pct"] > 0]
    if missing:
        raise Refusal(f"{trial.id}: the mass of the {missing[0]} is missing; give --weighed-{missing[0]}-g too")
    total = sum(mass or 0.0 for mass in grams.values())
    if total <= 0:
        raise Refusal(f"{trial.id}: the weighed masses sum to 0 g")
    return {f"{part}_wt_pct": 100.0 * (mass or 0.0) / total for part, mass in grams.items()}


def _next_mix(target: str, known: pd.Index) -> str:
    number = max([read_id(str(name)).mix_number for name in known], default=0) + 1
    return str(SubjectId(read_id(target).trial_number, number))


def _mixed_before(
    ledger: Ledger,
    trial: Trial,
    target: str,
    act: Act,
    *,
    stands: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Mapping[str, Any]],
    other: str,
) -> str:
    """Add what was not known of a batch yet (its file may have come first); refuse what contradicts."""
    flat = {name: value for part in stands.values() for name, value in part.items()}
    new = {name: value for part in said.values() for name, value in part.items() if flat.get(name) != value}
    if not new:
        state = standing.catch_up(ledger, trial.id, act)
        changed = "nothing has changed" if state == trial.state else f"{trial.id} is {state} again"
        return f"{target} was noted as mixed before; {changed} (another batch is {other})"
    wrong = next((name for name in new if name in flat), None)
    if wrong is not None:
        raise Refusal(
            f"{target} was noted as mixed before, with {wrong} {flat[wrong]}; to correct it: mixwright amend CAMPAIGN {target} "
            f"--set {wrong}={new[wrong]} --why '…'; for another batch: mixwright mixed {other}"
        )
    subjects: dict[str, dict[str, Any]] = {
        target: {name: {**stands[name], **said[name]} for name in said if said[name]}
    }
    if said["recipe_done"]:
        subjects[trial.id] = {"recipe_done": {**(trial.recipe_done or {}), **said["recipe_done"]}}
    why = act.why or "told after it was noted as mixed"
    ledger.amend(subjects=subjects, why=why, key=act.key("told of", target), at=act.at, by=act.by)
    cells.share_follows(ledger, trial.id, by=act.by, at=act.at)
    standing.catch_up(ledger, trial.id, act)
    told = (f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in new.items())
    return f"{target}: noted {', '.join(told)}"


# ---- testing -------------------------------------------------------------------------------------------------------
def start(ledger: Ledger, subject: str, act: Act, *, channel: str | None, facts: Mapping[str, float]) -> str:
    """Note that a cell's test was started.

    Args:
        ledger: the ledger.
        subject: cell; or its trial or mix while none of their cells was started.
        act: who and when.
        channel: of the cycler.
        facts: `active_mass_mg`, `area_cm2`.

    Raises:
        Refusal: the channel is taken, the cell runs already with other values, its test is over, or it would have started
            before its batch was mixed.
    """
    named = whose.subject_named(ledger, subject)
    trial = ledger.trial(str(named))
    table = ledger.cells()
    target = _which_cell(named, table)
    if target in table.index and table.loc[target, "state"] == "running":
        return _started_before(ledger, table.loc[[target]].iloc[0], target, act, channel, facts)
    _refuse_taken_channel(table, target, channel)
    times.refuse_disorder(target, mixed=times.noted(ledger, read_id(target).mix, "mixed"), started=act.at)
    words: dict[str, Any] = dict(facts)
    ledger.start(target, channel=channel, key=act.key("start", target), at=act.at, by=act.by, why=act.why, **words)
    if facts.get("area_cm2") and len(ledger.cycling(trial.campaign)):
        key = act.key("area of", target)
        cells.tell(
            ledger, target, {"area_cm2": facts["area_cm2"]}, key=key, by=act.by, at=act.at, why="the area is known now"
        )
    needed = [name for name in ("active_mass_mg", "area_cm2") if name not in facts and _empty(table, target, name)]
    hint = f"; its {' and '.join(needed)} can be given now or with the lab sheet" if needed else ""
    doubt = "".join(f"; {text}" for text in cells.mass_doubts(cells.known(ledger, target), facts))
    doubt += _no_such_channel(ledger, trial, channel)
    return f"{target} runs" + (f" on channel {channel}" if channel else "") + hint + _late(trial) + doubt


def _no_such_channel(ledger: Ledger, trial: Trial, channel: str | None) -> str:
    """Ask about a number that the campaign's cycler does not go up to; channels with names of their own are believed."""
    known = ledger.spec(trial.campaign)
    channels = known[1].get("lab", {}).get("channels") if known else None
    if channels is None or not (channel or "").isdecimal() or 1 <= int(channel or 0) <= int(channels):
        return ""
    return f"; note: the campaign's lab block counts {channels} channels: is it channel {channel}?"


def _which_cell(named: SubjectId, table: pd.DataFrame) -> str:
    if named.kind == "cell":
        return str(named)
    mix = SubjectId(named.trial_number, named.mix_number or 1)
    mine = table[table["mix"].eq(str(mix))]
    begun = mine.index[mine["state"].ne("planned")]
    if len(begun):
        number = max(read_id(str(name)).cell_number for name in mine.index) + 1
        raise Refusal(
            f"{mix} has the cell {begun[-1]} already ({mine.loc[begun[-1], 'state']}); name the one that you start: "
            f"{begun[-1]}, or {mix}-C{number} for another one"
        )
    return str(mine.index[0]) if len(mine) else f"{mix}-C1"


def _started_before(
    ledger: Ledger, row: pd.Series, target: str, act: Act, channel: str | None, facts: Mapping[str, float]
) -> str:
    said = {**facts, **({"channel": channel} if channel else {})}
    new = {name: value for name, value in said.items() if row[name] != value}
    other = [name for name in new if row[name] is not None and row[name] == row[name]]
    if other:
        raise Refusal(
            f"{target} runs already, with {other[0]} {row[other[0]]}; to correct it: mixwright amend CAMPAIGN {target} --set "
            f"{other[0]}={new[other[0]]} --why '…'"
        )
    if not new:
        return f"{target} was noted as started before; nothing has changed"
    # Its file may have come first: what it then stands for per area and per gram is looked at before it is written.
    doubt = "".join(f"; {text}" for text in cells.doubts_without_campaign(ledger, cells.known(ledger, target), new))
    cells.tell(ledger, target, new, key=act.key("told", target), by=act.by, at=act.at, why="told after the start")
    return f"{target}: noted {', '.join(f'{name} {value}' for name, value in new.items())}{doubt}"


def _refuse_taken_channel(table: pd.DataFrame, target: str, channel: str | None) -> None:
    running = table[table["state"].eq("running") & table["channel"].notna()]
    holder = [
        name for name in running.index if channel and str(running.loc[name, "channel"]) == channel and name != target
    ]
    if holder:
        raise Refusal(
            f"channel {channel} is taken by {holder[0]}, which runs; if that test is over, say first: mixwright stop {holder[0]}"
        )


def _empty(table: pd.DataFrame, target: str, name: str) -> bool:
    return target not in table.index or bool(table.loc[[target], name].isna().iloc[0])


def stop(ledger: Ledger, subject: str, act: Act) -> str:
    """Note that a cell's test was stopped before its planned cycles; its channel is free then.

    Raises:
        Refusal: there is no such cell, or several that it could mean, or the stop lies before the start.
    """
    named = whose.subject_named(ledger, subject)
    trial = ledger.trial(str(named))
    table = ledger.cells(trial.campaign)
    mine = [name for name in table.index if str(name).startswith(f"{named}-") or str(name) == str(named)]
    running = [name for name in mine if table.loc[name, "state"] in ("running", "planned")]
    if not mine:
        raise Refusal(f"{named}: the ledger has no such cell, so there is nothing to stop; was it started?")
    if named.kind != "cell" and len(running) > 1:
        raise Refusal(f"{named} has {len(running)} cells that run: name one of {', '.join(map(str, running))}")
    target = str(named) if named.kind == "cell" else str((running or mine)[0])
    state = str(table.loc[target, "state"])
    if state in ("stopped", "completed"):
        return f"{target} is {state} already; nothing has changed"
    times.refuse_disorder(target, started=times.noted(ledger, target, "start"), stopped=act.at)
    ledger.stop(target, key=act.key("stop", target), at=act.at, by=act.by, why=act.why)
    return f"{target} is stopped; bring its last file, which then counts as the end of its test"


def _late(trial: Trial) -> str:
    return (
        f" ({trial.id} stands as {trial.state})"
        if trial.state in ("failed", "abandoned", "excluded", "completed")
        else ""
    )

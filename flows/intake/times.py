"""When things were done: not in the future, no start before its mixing, no stop before its start.

Days are compared, not hours: people write days, and note in the evening what they did in the morning.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from campaign.errors import Refusal
from campaign.trial import read_id
from flows.session import now
from store import Ledger

_AHEAD = timedelta(days=1)
"""Clocks and time zones may be off by less than this."""
_SAID = {"mixed": "mixed_at", "start": "started_at", "stop": "stopped_at"}


def refuse_future(at: datetime, place: str) -> None:
    """Refuse a time that has not come yet.

    Raises:
        Refusal: it is more than a day ahead; names the place.
    """
    if at > now() + _AHEAD:
        raise Refusal(f"{place}: {_day(at)} lies in the future (today is {_day(now())}); is the year right?")


def refuse_disorder(
    cell: str, *, mixed: datetime | None = None, started: datetime | None = None, stopped: datetime | None = None
) -> None:
    """Refuse times of a cell that no cell can have; what is not known is not compared.

    Raises:
        Refusal: it started before its batch was mixed, or stopped before it started; says how either is corrected.
    """
    if mixed and started and _day(started) < _day(mixed):
        raise Refusal(
            f"{cell}: a start on {_day(started)} lies before its batch was mixed on {_day(mixed)}; give the right day, or "
            f"correct the mixing: mixwright amend CAMPAIGN {read_id(cell).mix} --set mixed_at=YYYY-MM-DD --why '…'"
        )
    if started and stopped and _day(stopped) < _day(started):
        raise Refusal(
            f"{cell}: a stop on {_day(stopped)} lies before its start on {_day(started)}; give the right day, or correct the "
            f"start: mixwright amend CAMPAIGN {cell} --set started_at=YYYY-MM-DD --why '…'"
        )


def noted(ledger: Ledger, subject: str, verb: Literal["mixed", "start", "stop"]) -> datetime | None:
    """When a batch was mixed, or a cell started or stopped: as somebody said, else when the command of that name was given.

    None where nobody did either: what a sheet or a file brought in without a time was done at some time before. None too where
    the machine's clock was ahead when the command was given: nobody is held to that.
    """
    table = ledger.mixes() if verb == "mixed" else ledger.cells()
    if subject not in table.index:
        return None
    said = read(json.loads(str(table.loc[subject, "details"]) or "{}").get(_SAID[verb]))
    if said is not None:
        return said
    events = ledger.events()
    mine = events.loc[
        events["key"].str.startswith(f"{verb} {subject} by "), "at"
    ]  # as `flows.people.Act.key` spells it
    at = None if mine.empty else pd.Timestamp(mine.iloc[-1]).to_pydatetime()
    return None if at is None or at > now() + _AHEAD else at


def read(said: object) -> datetime | None:
    """A time as the ledger keeps it in `details`; None where nobody said it."""
    return datetime.fromisoformat(str(said)) if said else None


def _day(at: datetime) -> str:
    """The day on the wall of this machine; sorts as text."""
    return f"{at.astimezone():%Y-%m-%d}"

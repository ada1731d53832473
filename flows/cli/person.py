"""The options `--by`, `--at` and `--why` of commands that note what people did."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datetime import datetime

    from flows.people import Act


def person_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--by`, `--at`, `--why`; the command gets one `act`."""

    @click.option("--by", help="Who did it; by default the user of this machine.")
    @click.option("--at", help="When, as 2026-03-04 10:30 (this machine's time zone); by default now.")
    @click.option("--why", help="The reason, or a remark; kept in the history.")
    @wraps(command)
    def wrapped(*args: Any, by: str | None, at: str | None, why: str | None, **words: Any) -> Any:
        return command(*args, act=_act(by, at, why), **words)

    return wrapped


def _act(by: str | None, at: str | None, why: str | None) -> Act:
    from campaign.errors import Refusal
    from flows.intake import times
    from flows.people import Act
    from flows.session import now, who

    if by is not None and not by.strip():
        raise Refusal("--by is empty; say who did it, such as --by Ada")
    done = now() if at is None else moment(at)
    times.refuse_future(done, "--at")
    return Act((by or who()).strip(), done, why)


def moment(text: str) -> datetime:
    """Read a time as typed at the bench; without a zone it is this machine's.

    Raises:
        Refusal: it is no time, or may be read in two ways.
    """
    from campaign.errors import Refusal
    from ingest import numbers

    try:
        return numbers.moment(text)
    except ValueError as error:
        raise Refusal(f"--at: {error}") from None

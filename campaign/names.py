"""Nearest right name for a mistyped one: used by every sentence that refuses a name."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause that helps: the nearest known name, or the list of them.

    >>> nearest("LPSCL", ["LPSCl", "LGPS"])
    'did you mean LPSCl?'
    """
    choices = list(known)
    by_lower = {choice.lower(): choice for choice in choices}
    match = get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.6)
    if match:
        return f"did you mean {by_lower[match[0]]}?"
    return "known are " + ", ".join(choices)

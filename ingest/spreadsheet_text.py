"""Text that cannot attack a spreadsheet: a leading `= + - @ TAB CR LF` would be run as a formula when a CSV is opened."""

from __future__ import annotations

_LIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_XLSX_CELL = 32767


def inert(text: str) -> str:
    """Return text that a spreadsheet shows and never runs.

    >>> inert("=1+1"), inert("LPSCl")
    ("'=1+1", 'LPSCl')
    """
    clean = "".join(ch for ch in text if ch.isprintable() or ch in "\n\t")[:_XLSX_CELL]
    return "'" + clean if clean.lstrip(" ").startswith(_LIVE) or text.startswith(("\r", "\n", "\t")) else clean


def bare(text: str) -> str:
    """Take the leading mark of `inert` away again."""
    return text[1:] if text.startswith("'") and text[1:].lstrip(" ").startswith(_LIVE) else text

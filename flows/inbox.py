"""The inbox of a campaign: a folder whose files the next tick takes in and then puts aside.

A file that was taken lies in `done/` afterwards, one that was refused in `refused/`, with a `.txt` beside it that says why and
what would be right; one that is still being written stays where it is. What was understood but names no cell goes to `done/`
too (it is kept in the archive), with a `.txt` that says how to assign it. A kill at any instant loses nothing: taking the
same file in twice changes nothing, and it is moved last.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal
from flows import take_in
from flows.session import Session
from flows.take_in import NotNow, Taken
from ingest import is_settled
from ingest.sandbox import shown
from ingest.versions import SETTLE_S
from store import Unavailable

DONE, REFUSED = "done", "refused"
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", ".filepart")
_WHO = "inbox"


@dataclass(frozen=True)
class Emptied:
    """What came of the inbox: files taken, and sentences about the others."""

    taken: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def empty(session: Session, *, settle_s: float = SETTLE_S) -> Emptied:
    """Take in what lies in the campaign's inbox. The folder is made where it is missing, so that people find it.

    Args:
        session: an open campaign.
        settle_s: a file must be untouched for this long.
    """
    folder = session.settings.inbox(session.name)
    try:
        for place in (folder, folder / DONE, folder / REFUSED):
            place.mkdir(parents=True, exist_ok=True)
            if not stat.S_ISDIR(place.lstat().st_mode):
                return Emptied(
                    sentences=(f"inbox: {place} is a link; make it a folder, then files are taken in again",)
                )
        waiting = sorted(folder.iterdir(), key=lambda path: (path.suffix.lower() not in (".xlsx", ".ods"), path.name))
    except OSError as error:
        return Emptied(sentences=(f"inbox: {folder} cannot be used ({error.strerror}); no file was taken in",))
    taken, sentences = [], []
    for path in waiting:
        item = _one(session, folder, path, settle_s)
        if isinstance(item, Taken):
            taken.append(path.name)
        if item is not None:
            sentences.append(item.sentence if isinstance(item, Taken) else item)
    return Emptied(tuple(taken), tuple(f"inbox: {sentence}" for sentence in sentences))


def _one(session: Session, folder: Path, path: Path, settle_s: float) -> Taken | str | None:
    """Take one entry of the inbox; None where it is none of ours, a sentence where it was not taken."""
    try:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            said = f"{shown(path.name)} is a folder; put the files themselves into the inbox"
            return None if path.name in (DONE, REFUSED) else said
        if path.name.startswith((".", "~$")):
            return None
        if path.suffix.lower() in _UNFINISHED or (folder / f"~${path.name}").exists() or _grows(path, found, settle_s):
            return f"{shown(path.name)} is still being written or open; the next tick looks again"
    except FileNotFoundError:
        return None  # taken away while we looked
    try:
        taken = take_in.take_in(session, path, by=_WHO)
    except (NotNow, Unavailable) as later:
        return f"{later}; the file stays in the inbox"
    except Refusal as refusal:
        return _put_aside(path, folder / REFUSED, _advice(str(refusal)), f"refused: {refusal}")
    notes = "".join(f"\nnote: {text}" for text in taken.findings)
    text = f"{taken.sentence}{notes}\n" if taken.unassigned or taken.flagged else ""
    failed = _put_aside(path, folder / DONE, text, "")
    return failed or taken


def _grows(path: Path, found: os.stat_result, settle_s: float) -> bool:
    return stat.S_ISREG(found.st_mode) and not is_settled(path, settle_s=settle_s)


def _advice(sentence: str) -> str:
    return (
        f"{sentence}\n\nNothing of this file was taken. When it is right, put it into the inbox again, or hand it in with\n"
        "  mixwright ingest CAMPAIGN FILE      (its options --cell, --area-cm2, --amend --why, --continues, --finished help)\n"
    )


def _put_aside(path: Path, folder: Path, text: str, sentence: str) -> str:
    """Move a file; its `.txt` is written first, so that no file is ever there without its reason. Returns the sentence."""
    target = _free(folder, path.name)
    try:
        if text:
            note = folder / f"{_short(target.name)}.txt"
            aside = folder / f".{os.getpid()}.txt"
            aside.write_text(text, encoding="utf-8", errors="replace")
            os.replace(aside, note)
        os.rename(path, target)
    except FileNotFoundError:
        return sentence  # another tick or a person was faster
    except OSError as error:
        return f"{shown(path.name)}: cannot be moved to {folder} ({error.strerror}); it stays in the inbox"
    return sentence


def _free(folder: Path, name: str) -> Path:
    """A name that is free in the folder: a second file of a name gets a number."""
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if stem else (name, "")
    number = 1
    while os.path.lexists(target := folder / (name if number == 1 else f"{_short(stem)} ({number}){ending}")):
        number += 1
    return target


def _short(name: str) -> str:
    """A name that leaves room for an ending within the 255 bytes of a file system."""
    raw = os.fsencode(name)
    return name if len(raw) <= 200 else os.fsdecode(raw[:200])

"""A file that came in, kept by the hash of its content before anything is done with it; its name is only ever shown."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from campaign.errors import Refusal
from flows.session import Session
from ingest import Limits
from ingest import store as archive
from ingest.sandbox import shown


class NotNow(Refusal):
    """The fault is ours or of the moment (archive full, file still written): the same file may be right later."""


@dataclass(frozen=True)
class Kept:
    """A file in the archive and the name that it came with."""

    name: str
    sha256: str
    path: Path
    size: int


@dataclass(frozen=True)
class Taken:
    """What came of one file, in a sentence, and the trials that it touched."""

    sentence: str
    trials: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    unassigned: bool = False
    """It is kept and understood, and waits for somebody to say its cell."""
    flagged: bool = False
    """A check asks for a person's look."""


@cache
def limits() -> Limits:
    """The limits of this machine (`MIXWRIGHT_INGEST_…`), ours where nothing is set."""
    return Limits.from_settings(os.environ)


def keep(session: Session, path: Path) -> Kept:
    """Archive a file by its content; the same file twice is kept once.

    Raises:
        Refusal: it is missing, empty, too large, or no plain file.
        NotNow: the archive cannot take it now, or it is still being written.
    """
    if not os.path.lexists(path):
        raise Refusal(f"there is no file {path}")
    if path.is_dir():  # '.' has no name of its own that a refusal could say
        raise Refusal(f"{path} is a folder, and files are taken in one by one; give them, such as {path / '*.xlsx'}")
    try:
        stored = archive(path, session.settings.archive, limits=limits())
    except Refusal as refusal:
        if _is_sound(path):
            raise NotNow(str(refusal)) from None
        raise
    return Kept(shown(path.name), stored.sha256, stored.path, stored.size)


def _is_sound(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    within = 0 < found.st_size <= limits().file_MiB * 1024 * 1024
    return stat.S_ISREG(found.st_mode) and within and os.access(path, os.R_OK)


def from_archive(session: Session, sha256: str, name: str) -> Kept:
    """A file that was taken in before.

    Raises:
        Refusal: the archive has lost it.
    """
    path = session.settings.archive / sha256[:2] / sha256
    if not path.is_file():
        raise Refusal(f"{name}: is not in the archive {session.settings.archive} any more; hand the file in again")
    return Kept(name, sha256, path, path.stat().st_size)


@contextmanager
def called(names: Mapping[str, str]) -> Iterator[None]:
    """Let refusals speak of files by the names they came with, where the archive knows them by hash alone."""
    try:
        yield
    except Refusal as refusal:
        text = str(refusal)
        for sha256, name in names.items():
            text = text.replace(sha256, name)
        raise type(refusal)(text) from None


@contextmanager
def one_at_a_time(session: Session) -> Iterator[None]:
    """Let one intake work at a time on this machine; the lock ends with the process, also when it is killed.

    Raises:
        NotNow: the data directory cannot be written.
    """
    place = session.settings.data_dir / ".intake.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise NotNow(
            f"{place.parent} cannot be written ({error.strerror}); nothing was taken, the file is where it was"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

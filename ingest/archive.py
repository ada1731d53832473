"""Files kept by the hash of their content: a name from outside never becomes a path, and the same file twice is one."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal
from ingest import sandbox
from ingest.limits import Limits


@dataclass(frozen=True)
class Stored:
    """A file in the archive."""

    sha256: str
    path: Path
    size: int
    new: bool
    """False where the archive held it already."""


def store(path: Path, root: Path, *, limits: Limits | None = None) -> Stored:
    """Copy a file into the archive under its SHA-256, durable before this returns: written aside, synced, renamed.

    Raises:
        Refusal: the file is not readable or still changes, the archive cannot be written, or leads elsewhere by a link.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        aside = root / f".incoming-{secrets.token_hex(8)}"
        try:
            snapshot = sandbox.take(Path(path), aside, limits=limits or Limits.current())
            return _settle(aside, snapshot, root)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise Refusal(
            f"{sandbox.shown(path.name)}: cannot be kept in the archive {root} ({error.strerror}); nothing was taken"
        ) from None


def _settle(aside: Path, snapshot: sandbox.Snapshot, root: Path) -> Stored:
    shelf = root / snapshot.sha256[:2]
    shelf.mkdir(exist_ok=True)
    if not stat.S_ISDIR(shelf.lstat().st_mode):
        raise Refusal(f"{shelf}: is a link or a file where the archive keeps a folder; remove it")
    final = shelf / snapshot.sha256
    if os.path.lexists(final):
        found = final.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != snapshot.size:
            raise Refusal(f"{final}: the archive holds something else under this hash; run `mixwright verify`")
        return Stored(snapshot.sha256, final, snapshot.size, new=False)
    _sync(aside)
    aside.chmod(0o444)
    os.replace(aside, final)
    _sync(shelf)
    _sync(root)
    return Stored(snapshot.sha256, final, snapshot.size, new=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

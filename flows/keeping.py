"""Keeping the record: export and import of everything, backup and restore, and the check of ledger and archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal
from flows.settings import Settings
from store import Ledger, import_export
from store import restore as restore_backup
from store.backup import sha256_of


@dataclass(frozen=True)
class Checked:
    """What `verify` looked at, and the files that the archive lacks or holds changed."""

    writes: int
    files: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


def archived(ledger: Ledger, settings: Settings) -> dict[str, Path]:
    """sha256 -> place of every file that the ledger names and the archive holds."""
    places = {str(name): settings.archive / str(name)[:2] / str(name) for name in ledger.files()["sha256"]}
    return {name: path for name, path in places.items() if path.is_file()}


def export(ledger: Ledger, settings: Settings, folder: Path, *, format: str) -> str:
    """Write everything, raw files included, into a new folder."""
    files = archived(ledger, settings)
    counts = ledger.export(folder, format=format, files=files)
    lacking = ledger.files()["sha256"].nunique() - len(files)
    more = f"; {lacking} files that the ledger names are not in the archive" if lacking else ""
    rows = f"{counts['trial']} trials, {counts['cycling']} cycles, {counts['result']} results"
    return f"{folder}: {rows}, {len(files)} raw files{more}"


def ledger_path(settings: Settings) -> Path:
    """Place of the ledger's file.

    Raises:
        Refusal: it is on a server.
    """
    if not settings.ledger_url.startswith("sqlite:///"):
        raise Refusal(f"the ledger is on a server ({settings.ledger_url.partition(':')[0]}); its own tools restore it")
    return Path(settings.ledger_url.removeprefix("sqlite:///"))


def restore(source: Path, settings: Settings) -> str:
    """Put back a backup (a file) or an export (a folder) where the settings expect the ledger; raw files go to the archive.

    Raises:
        Refusal: a ledger stands there, or what is brought is damaged.
    """
    target = ledger_path(settings)
    if target.exists():
        raise Refusal(f"{target}: a ledger stands there; move it aside first, then restore")
    if not source.exists():
        raise Refusal(f"{source}: there is no such backup or export")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_dir():
            restore_backup(source, target)
            return f"{target}: restored from {source}"
        from ingest import store as archive

        for file in sorted((source / "files").glob("*")) if (source / "files").is_dir() else ():
            archive(file, settings.archive)
        counts = import_export(source, target)
    except OSError as error:
        raise Refusal(f"{target}: cannot be made: {error.strerror}; give a folder that you may write") from None
    return f"{target}: restored from {source}, {counts['trial']} trials, {counts['cycling']} cycles"


def verify(ledger: Ledger, settings: Settings) -> Checked:
    """Check the ledger from end to end, and every archived file against its hash.

    Raises:
        Refusal: the ledger is not sound.
    """
    ledger.verify()
    names = {str(row["sha256"]): str(row["name"]) for row in ledger.files().to_dict("records")}
    here = archived(ledger, settings)
    missing = tuple(name for digest, name in names.items() if digest not in here)
    changed = tuple(names[digest] for digest, path in here.items() if sha256_of(path) != digest)
    return Checked(ledger.seq, len(names), missing, changed)

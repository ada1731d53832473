"""Commands that keep the record: `export`, `backup`, `restore`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.output import emit_json, json_option

if TYPE_CHECKING:
    from flows.settings import Settings
    from store import Ledger

_path = click.Path(path_type=Path)


def _open() -> tuple[Ledger, Settings]:
    from flows import settings as machine
    from flows.session import open_ledger

    settings = machine.load()
    return open_ledger(settings, create=False), settings


@click.command()
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet", "json"]),
    default="csv",
    show_default=True,
    help="Of the tables.",
)
@click.argument("directory", type=_path, metavar="DIR")
def export(format_: str, directory: Path) -> None:
    """Write the whole ledger and its raw files into the new folder DIR; `restore` reads it back."""
    from flows import keeping

    ledger, settings = _open()
    click.echo(keeping.export(ledger, settings, directory, format=format_))


@click.command()
@click.argument("file", type=_path)
def backup(file: Path) -> None:
    """Copy the running ledger to FILE, checked, with its hash beside it. (Raw files: `export`.)"""
    ledger, _ = _open()
    digest = ledger.backup(file)
    click.echo(
        f"{file}: a sound copy, sha256 {digest[:16]}… in {file.name}.sha256; restore it with: mixwright restore {file}"
    )


@click.command()
@click.argument("source", type=_path, metavar="FILE")
def restore(source: Path) -> None:
    """Put a backup (a file) or an export (a folder) back where the settings expect the ledger."""
    from flows import keeping
    from flows import settings as machine

    click.echo(keeping.restore(source, machine.load()))


@click.command()
@json_option
def verify(as_json: bool) -> None:
    """Check the ledger from end to end, and every archived file against its hash."""
    from campaign.errors import Refusal
    from flows import keeping

    ledger, settings = _open()
    found = keeping.verify(ledger, settings)
    if as_json:
        emit_json(vars(found))
    else:
        click.echo(f"sound: {found.writes} writes, {found.files} files")
        for name in found.missing:
            click.echo(f"missing in the archive: {name}")
    if found.changed:
        raise Refusal(
            f"the archive {settings.archive} holds a changed copy of {', '.join(found.changed)}; restore it from a backup"
        )

"""`mixwright init`: a commented campaign file and a lab sheet template in a new folder."""

from __future__ import annotations

from pathlib import Path

import click

from flows.scaffold import write


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def init(directory: Path) -> None:
    """Write a commented campaign file, settings and a lab sheet template into DIR."""
    written = write(directory)
    for path in written:
        click.echo(path)
    click.echo(f"next: edit {written[0]}, then: mixwright propose {written[0]} -q 4 --sheet next.xlsx", err=True)

"""`mixwright today`: the lab's to-do list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.output import campaign_argument, emit_json, json_option, note

if TYPE_CHECKING:
    from flows.today import ToMix

_HEADS = (
    ("propose", "Ask for recipes"),
    ("awaited", "Files awaited"),
    ("overdue", "Overdue"),
    ("running", "Under test"),
    ("unassigned", "Files that wait for their cell"),
    ("look", "Please look at"),
)


@click.command()
@campaign_argument
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the cells under test into FILE."
)
@json_option
def today(campaign: str, plot: Path | None, as_json: bool) -> None:
    """The lab's list, in order: cells to stop and why, what to start on which channel, what to mix and when, what is due."""
    from flows.session import open_session
    from flows.today import today as make

    session = open_session(campaign, write=False)
    found = make(session)
    if plot is not None:
        from flows.outlook import picture

        for path in picture(session).save(plot):
            note(f"plot: {path}")
    if as_json:
        emit_json(found.as_json())
        return
    numbers = f" (expected: {found.judged_by})" if found.judged_by else ""
    _print_lines(f"Stop{numbers}", found.stop)
    _print_lines("Start", found.start)
    if found.mix:
        click.echo("Mix")
        for batch in found.mix:
            _print_batch(batch)
    for name, head in _HEADS:
        _print_lines(f"{head}{numbers}" if name == "running" else head, getattr(found, name))
    if not any((found.stop, found.start, found.mix, *(getattr(found, name) for name, _ in _HEADS))):
        click.echo("Nothing to do: no trial is open and no file is awaited. New recipes: mixwright propose " + campaign)


def _print_lines(head: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(head)
    for line in lines:
        click.echo(f"  {line}")


def _print_batch(batch: ToMix) -> None:
    grams = ", ".join(f"{name} {mass:.4g} g" for name, mass in batch.weigh_g.items())
    click.echo(f"  {batch.trial}: weigh {grams}")
    steps = "".join(f"; {step}" for step in batch.steps)
    within = " with the premilling" if any(step.startswith("premill") for step in batch.steps) else ""
    clock = f"{batch.clock_h:g} h on the clock{within}"
    click.echo(f"    {batch.speed_rpm:g} rpm for {batch.net_h:g} h of rotation ({clock}){steps}")
    click.echo(f"    {batch.slot}")
    for warning in batch.warnings:
        click.echo(f"    ! {warning}")
    click.echo(f"    then: mixwright mixed {batch.trial} --by YOU")

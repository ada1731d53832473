"""`mixwright today`: the lab's to-do list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flows.cli.output import campaign_argument, emit_json, json_option

if TYPE_CHECKING:
    from flows.today import ToMix

_HEADS = (
    ("start", "Start"),
    ("awaited", "Files awaited"),
    ("overdue", "Overdue"),
    ("unassigned", "Files that wait for their cell"),
    ("look", "Please look at"),
)


@click.command()
@campaign_argument
@json_option
def today(campaign: str, as_json: bool) -> None:
    """The lab's list: what to mix (in weighed grams), which cell goes on which channel, files awaited, tests overdue."""
    from flows.session import open_session
    from flows.today import today as make

    found = make(open_session(campaign, write=False))
    if as_json:
        emit_json(found.as_json())
        return
    if found.mix:
        click.echo("Mix")
        for batch in found.mix:
            _print_batch(batch)
    for name, head in _HEADS:
        lines = getattr(found, name)
        if lines:
            click.echo(head)
            for line in lines:
                click.echo(f"  {line}")
    if not found.mix and not any(getattr(found, name) for name, _ in _HEADS):
        click.echo("Nothing to do: no trial is open and no file is awaited. New recipes: mixwright propose " + campaign)


def _print_batch(batch: ToMix) -> None:
    grams = ", ".join(f"{name} {mass:.4g} g" for name, mass in batch.weigh_g.items())
    click.echo(f"  {batch.trial}: weigh {grams}")
    steps = "".join(f"; {step}" for step in batch.steps)
    click.echo(
        f"    {batch.speed_rpm:g} rpm for {batch.net_h:g} h of rotation ({batch.clock_h:g} h on the clock){steps}"
    )
    for warning in batch.warnings:
        click.echo(f"    ! {warning}")
    click.echo(f"    then: mixwright mixed {batch.trial} --by YOU")

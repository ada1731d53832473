"""Commands for what people did, without naming a campaign: `mixed`, `start`, `stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flows.cli.person import person_options

if TYPE_CHECKING:
    from flows.people import Act
    from store import Ledger

_positive = click.FloatRange(min=0, min_open=True)
_mass = click.FloatRange(min=0)


def _ledger() -> Ledger:
    from flows import settings as machine
    from flows.session import open_ledger

    return open_ledger(machine.load(), create=False)


@click.command()
@click.argument("trial")
@click.option("--speed-rpm", type=_mass, help="Speed that the mixer reached, if it was not as asked.")
@click.option("--time-h", type=_mass, help="Net hours of rotation, if they were not as asked.")
@click.option("--weighed-active-g", type=_mass, help="Balance reading of the active.")
@click.option("--weighed-sse-g", type=_mass, help="Balance reading of the electrolyte.")
@click.option("--weighed-carbon-g", type=_mass, help="Balance reading of the carbon.")
@click.option("--sse-lot", help="Lot of the electrolyte, as printed on the bottle.")
@person_options
def mixed(
    trial: str,
    speed_rpm: float | None,
    time_h: float | None,
    weighed_active_g: float | None,
    weighed_sse_g: float | None,
    weighed_carbon_g: float | None,
    sse_lot: str | None,
    act: Act,
) -> None:
    """Note that the batch of TRIAL was mixed (T0007; a second batch is T0007-M2), with what was really done."""
    from flows import people

    done = {"speed_rpm": speed_rpm, "time_h": time_h}
    weighed = {
        "weighed_active_g": weighed_active_g,
        "weighed_sse_g": weighed_sse_g,
        "weighed_carbon_g": weighed_carbon_g,
    }
    sentence = people.mixed(
        _ledger(),
        trial,
        act,
        done={name: value for name, value in done.items() if value is not None},
        weighed={name: value for name, value in weighed.items() if value is not None},
        details={"sse_lot": sse_lot} if sse_lot else {},
    )
    click.echo(sentence)


@click.command()
@click.argument("cell")
@click.option("--channel", help="Channel of the cycler.")
@click.option("--active-mass-mg", type=_positive, help="Mass of active (S, Se, Te) in this cell.")
@click.option("--area-cm2", type=_positive, help="Area of the cathode.")
@person_options
def start(cell: str, channel: str | None, active_mass_mg: float | None, area_cm2: float | None, act: Act) -> None:
    """Note that the test of CELL was started (T0007-M1-C1; its trial's id will do while that has no other cell)."""
    from flows import people

    said = {"active_mass_mg": active_mass_mg, "area_cm2": area_cm2}
    facts = {name: value for name, value in said.items() if value is not None}
    click.echo(people.start(_ledger(), cell, act, channel=channel, facts=facts))


@click.command()
@click.argument("cell")
@person_options
def stop(cell: str, act: Act) -> None:
    """Note that the test of CELL was stopped before its planned cycles; its channel is free then."""
    from flows import people

    click.echo(people.stop(_ledger(), cell, act))

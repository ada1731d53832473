"""Commands for what the lab brings: `ingest`, `inspect`, `assign`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note

if TYPE_CHECKING:
    from flows.take_in import Taken

_mass = click.option(
    "--active-mass-mg", type=click.FloatRange(min=0, min_open=True), help="Active in that cell, if no sheet said it."
)
_area = click.option(
    "--area-cm2", type=click.FloatRange(min=0, min_open=True), help="Area of that cell, if no sheet said it."
)
_by = click.option("--by", help="Who brings it; by default the user of this machine.")


@click.command()
@campaign_argument
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cell", help="The cell that the file is of, such as T0001-M1-C1, or the lab's own name of it.")
@_mass
@_area
@click.option("--amend", is_flag=True, help="Accept a file whose past was changed; needs --why.")
@click.option("--why", default="", help="The reason of an amendment, for the history.")
@click.option("--finished", is_flag=True, help="Your word that the cell's test is over.")
@click.option("--continues", is_flag=True, help="Your word that the file is the next part of the cell's test.")
@_by
@json_option
def ingest(
    campaign: str,
    files: tuple[Path, ...],
    cell: str | None,
    active_mass_mg: float | None,
    area_cm2: float | None,
    amend: bool,
    why: str,
    finished: bool,
    continues: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Take in lab results: a filled sheet, a cycler file, a table of capacities, powder results, or earlier work.

    The same file twice changes nothing; a longer version extends what is there. Files are taken one after the other: one
    that is refused does not hold up the rest, and the command then ends with exit 1.
    """
    from campaign.errors import Refusal
    from flows import take_in
    from flows.session import open_session, who

    if len(files) > 1 and (cell or active_mass_mg or area_cm2 or amend or finished or continues):
        raise Refusal(
            "--cell, --active-mass-mg, --area-cm2, --amend, --finished and --continues speak of one file; give one with them"
        )
    session = open_session(campaign)
    taken, refused = [], []
    for path in files:
        try:
            item = take_in.take_in(
                session,
                path,
                by=by or who(),
                cell=cell,
                active_mass_mg=active_mass_mg,
                area_cm2=area_cm2,
                amend=amend,
                why=why,
                finished=finished,
                continues=continues,
            )
        except Refusal as refusal:
            refused.append(str(refusal))
        else:
            taken.append(item)
    _say(taken, refused, as_json=as_json)
    if refused:
        raise Refusal(
            refused[0] if len(files) == 1 else f"{len(refused)} of {len(files)} files were refused, as said above"
        )


@click.command()
@campaign_argument
@click.argument("file")
@click.argument("cell")
@_mass
@_area
@click.option("--why", default="", help="The reason, where the file stood at another cell.")
@_by
@json_option
def assign(
    campaign: str,
    file: str,
    cell: str,
    active_mass_mg: float | None,
    area_cm2: float | None,
    why: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Say which CELL a FILE is of that was taken in before; FILE is its name or the beginning of its hash."""
    from flows import take_in
    from flows.session import open_session, who

    said = {"active_mass_mg": active_mass_mg, "area_cm2": area_cm2}
    facts = {name: value for name, value in said.items() if value is not None}
    session = open_session(campaign)
    _say([take_in.assign(session, file, cell, by=by or who(), why=why, **facts)], [], as_json=as_json)


def _say(taken: list[Taken], refused: list[str], *, as_json: bool) -> None:
    for item in taken:
        for sentence in item.findings:
            note(f"note: {sentence}")
    if len(taken) + len(refused) > 1:
        for sentence in refused:
            note(f"refused: {sentence}")
    if as_json:
        emit_json(
            [
                {
                    "sentence": item.sentence,
                    "trials": item.trials,
                    "findings": item.findings,
                    "unassigned": item.unassigned,
                    "flagged": item.flagged,
                }
                for item in taken
            ]
        )
        return
    for item in taken:
        click.echo(item.sentence)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--start", type=click.Choice(["discharge", "charge"]), help="Direction of cycle 1; else that of the file."
)
@json_option
def inspect(file: Path, start: str | None, as_json: bool) -> None:
    """Say what would be understood of a lab file, without any campaign."""
    from campaign.errors import Refusal
    from ingest import inspect as look

    if not file.is_file():
        raise Refusal(f"there is no file {file}")
    found = look(file, start=start)  # type: ignore[arg-type]  # click.Choice gives one of the two
    if as_json:
        emit_json(found.as_json())
        return
    partial = "; its first cycle is partial" if found.first_cycle_partial else ""
    click.echo(
        f"{found.name}: {found.format}, {found.rows} rows, {len(found.cycles)} cycles, starts with {found.start}{partial}"
    )
    shown = [
        "cycle",
        "discharge_capacity_mAh",
        "charge_capacity_mAh",
        "vendor_discharge_capacity_mAh",
        "vendor_charge_capacity_mAh",
    ]
    emit_table(found.cycles[[*shown, "discharge_state", "charge_state"]])
    for finding in found.findings:
        click.echo(f"{finding.level}: {finding.check}: {finding.sentence}")

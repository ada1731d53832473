"""Commands that correct the record, with history: `amend`, `fail`, `abandon`, `exclude`, `undo`, `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option
from flows.cli.person import person_options

if TYPE_CHECKING:
    from flows.people import Act


@click.command()
@campaign_argument
@click.argument("subject")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="What is right; may be given several times.")
@click.option(
    "--cycle", type=click.IntRange(min=1), help="The cycle that is corrected; without, the trial, mix or cell itself."
)
@person_options
def amend(campaign: str, subject: str, pairs: tuple[str, ...], cycle: int | None, act: Act) -> None:
    """Correct values of SUBJECT (a trial, mix or cell); what they replace stays in the history. Needs --why."""
    from flows import corrections
    from flows.session import open_session

    values = corrections.read_values(pairs)
    session = open_session(campaign)
    click.echo(corrections.amend(session, corrections.subject_of(session, subject), values, act, cycle=cycle))


def _change(verb: str, doc: str) -> click.Command:
    @click.command(verb, help=doc)
    @campaign_argument
    @click.argument("subject")
    @person_options
    def command(campaign: str, subject: str, act: Act) -> None:
        from flows import corrections
        from flows.session import open_session

        session = open_session(campaign)
        click.echo(corrections.change_state(session, verb, corrections.subject_of(session, subject), act))

    assert isinstance(command, click.Command)
    return command


fail = _change("fail", "Note that SUBJECT (a trial, mix or cell) gave nothing that can be used. Needs --why.")
abandon = _change("abandon", "Note that a trial will not be done. Needs --why.")
exclude = _change(
    "exclude", "Learn nothing from SUBJECT (a trial, mix or cell); its results stay in the record. Needs --why."
)
undo = _change("undo", "Take back the last change of state of SUBJECT (a trial, mix or cell). Needs --why.")


@click.command()
@campaign_argument
@click.argument("subject")
@json_option
def history(campaign: str, subject: str, as_json: bool) -> None:
    """What happened to SUBJECT (a trial with its mixes and cells, or one of them), oldest first."""
    from flows import corrections
    from flows.session import open_session

    session = open_session(campaign, write=False)
    table = corrections.history(session, corrections.subject_of(session, subject))
    if as_json:
        emit_json(table)
        return
    local = [f"{at.to_pydatetime().astimezone():%Y-%m-%d %H:%M}" for at in table["at"]]  # as people say it with --at
    shown = table.assign(at=local, why=table["why"].fillna(""))
    emit_table(
        shown[["at", "by", "verb", "subject", "said", "why"]].rename(columns={"at": "at (local time)", "verb": "what"})
    )

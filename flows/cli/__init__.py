"""The command line: thin commands over the steps; results on stdout, progress and notes on stderr.

Exit 0 done, 1 refused with a sentence, 2 wrong usage. Each command's module is imported only when it is called, so that
`--help` and `status` never wait for torch, MLflow or Prefect.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from campaign.errors import Refusal
from flows import memory

_COMMANDS = {
    "init": ("start", "write a commented campaign file and a lab sheet template"),
    "run": ("run", "tick to the end of the budget; ends with the recommended recipe"),
    "tick": ("run", "do all that can be done now, once; safe to repeat, safe to kill"),
    "propose": ("run", "the next trials, each with prediction, uncertainty and reason"),
    "today": ("today", "the lab's list: mix, start, stop, hand in"),
    "ingest": ("lab", "take in a filled sheet, a cell's file, powder results, earlier work"),
    "assign": ("lab", "say which cell a file is of that was taken in before"),
    "inspect": ("lab", "what would be understood from a lab file, without any campaign"),
    "mixed": ("people", "note that a batch was mixed, with what was really done"),
    "start": ("people", "note that a cell's test was started"),
    "stop": ("people", "note that a cell's test was stopped"),
    "amend": ("corrections", "correct values of a trial, mix, cell or cycle, with history"),
    "fail": ("corrections", "note that a trial, mix or cell gave nothing"),
    "abandon": ("corrections", "note that a trial will not be done"),
    "exclude": ("corrections", "learn nothing from a trial, mix or cell; its results stay"),
    "undo": ("corrections", "take back the last change of state"),
    "history": ("corrections", "what happened to a trial, its mixes and cells"),
    "status": ("review", "trials by state, best so far, what is awaited"),
    "report": ("review", "self-contained HTML with every plot"),
    "plot": ("review", "one plot and the data behind it"),
    "diagnostics": ("review", "how far the model deserves belief: each result predicted from all others"),
    "sync": ("review", "rebuild the MLflow copy from the ledger"),
    "simulate": ("physics", "composite and cycling record of one recipe"),
    "window": ("physics", "the best speed and time by the physics, with band and ridge"),
    "facts": ("physics", "the paper's rows beside the model's, with residuals"),
    "calibrate": ("physics", "refit the physics to the campaign's own measurements"),
    "rehearse": ("rehearse", "the whole campaign against virtual labs: days, cells, chance of success"),
    "serve": ("serve", "MLflow's pages, a Prefect server and the schedule of the campaigns, until stopped"),
    "export": ("ledger", "the whole ledger and its raw files as CSV, Parquet or JSON"),
    "backup": ("ledger", "a checked copy of the running ledger"),
    "restore": ("ledger", "put a backup or an export back"),
    "verify": ("ledger", "check the ledger and the archived files"),
    "doctor": ("doctor", "what is installed, reachable, writable, and at which version"),
}
"""Command -> its module under flows/cli, and the line that `--help` shows without importing it."""


class _Lazy(click.Group):
    """A group whose commands live in modules that are imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"flows.cli.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            from campaign.names import nearest

            ctx.fail(f"there is no command {args[0]!r}: {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mixwright")
def cli() -> None:
    """Find the best recipe for ultrahigh-speed mixing of lithium-chalcogen cathodes in the fewest lab trials."""


def main() -> None:
    """Run the command line; a refusal is one sentence on stderr and exit 1."""
    last_words = bytearray()
    try:
        last_words.extend(bytes(memory.LAST_WORDS_BYTES))
        cli(standalone_mode=False)
    except Refusal as refusal:
        click.echo(f"mixwright: {refusal}", err=True)
        sys.exit(1)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("mixwright: stopped; what was recorded is kept, the same command continues", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except memory.ERRORS as error:
        last_words.clear()
        if not memory.ran_out(error):
            raise
        click.echo(f"mixwright: {memory.sentence()}", err=True)
        sys.exit(1)

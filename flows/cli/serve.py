"""`serve`: MLflow's pages, Prefect's pages and the schedule of a lab bench, until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.output import note

if TYPE_CHECKING:
    from flows.session import Session


@click.command()
@click.argument("campaigns", nargs=-1, metavar="[CAMPAIGN]...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--cron", default="0 * * * *", show_default=True, help="When each campaign ticks.")
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--prefect-port", default=4200, show_default=True, type=click.IntRange(1, 65535))
def serve(campaigns: tuple[Path, ...], cron: str, mlflow_port: int, prefect_port: int) -> None:
    """Start MLflow's pages, a Prefect server and, for each CAMPAIGN, a schedule that ticks it; stop with Ctrl-C.

    Everything listens on this machine only; logs go to the data directory.
    """
    from flows import quiet
    from flows import serve as bench
    from flows import settings as machine
    from flows.session import open_session

    sessions = [open_session(path) for path in campaigns]  # a faulty file is refused before anything is started
    settings = sessions[0].settings if sessions else machine.load()
    quiet.apply(settings)
    from flows import prefect_schedule

    prefect_schedule.check(cron)
    note("starting (the first time takes a minute) …")
    stack = bench.parts(settings, campaigns, cron=cron, mlflow_port=mlflow_port, prefect_port=prefect_port)
    bench.serve(stack, tell=note, views=[line for session in sessions for line in _views(session, mlflow_port)])


def _views(session: Session, port: int) -> list[str]:
    """The campaign's saved MLflow views, as `run` and `sync` left them, at this server's port."""
    from flows import project

    links = project.links_file(session)
    if not links.exists():
        return [f"{session.name}: no views yet; the first tick makes them"]
    text = links.read_text(encoding="utf-8").replace(project.mlflow_base_url(session), f"http://127.0.0.1:{port}")
    return [f"{session.name}: {line}" for line in text.splitlines()]

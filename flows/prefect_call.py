"""Running a flow from the command line: on the configured Prefect server if it answers, else on the embedded one."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable

from campaign.errors import Refusal
from flows import quiet
from flows.session import Session
from flows.settings import Settings
from flows.tick import TickResult

Progress = Callable[[Session, TickResult], None]


def server_answers(settings: Settings, *, timeout_s: float = 2.0) -> bool:
    """Say whether the configured Prefect server is up."""
    if not settings.prefect_api_url:
        return False
    address = settings.prefect_api_url.rstrip("/") + "/health"
    if not address.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:  # noqa: S310 (http and https only, checked above)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def run(
    campaign: str, lab_file: str | None, settings: Settings, progress: Progress, started: Callable[[], None]
) -> str:
    """Run a campaign as one Prefect flow, on the configured server if it answers, else on the embedded one.

    Returns:
        What the last tick did.
    """
    _choose_server(settings)
    _start_server()
    from flows.prefect_flows import run_flow

    _say_refusals_once()
    return run_flow(progress, started)(campaign, lab_file)


def tick(campaign: str, lab_file: str | None, settings: Settings) -> str:
    """Run one tick as a Prefect flow on the configured server.

    Returns:
        What it did.
    """
    _choose_server(settings)
    from flows.prefect_flows import tick_flow

    _say_refusals_once()
    return str(tick_flow(campaign, lab_file))


def _choose_server(settings: Settings) -> None:
    quiet.apply(settings)
    if not server_answers(settings):
        os.environ.pop("PREFECT_API_URL", None)  # without it Prefect starts its embedded server


def _start_server() -> None:
    """Reach the server, which starts the embedded one, so that its failure is told apart from the flow's.

    Raises:
        Refusal: no server can be had.
    """
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            client.hello()
    except (RuntimeError, OSError) as error:
        raise Refusal(
            f"the embedded Prefect server did not start ({error}); `--no-prefect` does the same work without it"
        ) from None


def _say_refusals_once() -> None:
    """Keep Prefect's traceback of a refusal off the screen, where its sentence is printed; Prefect's own record has it."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_no_refusal)


def _no_refusal(record: logging.LogRecord) -> bool:
    refused = record.exc_info is not None and isinstance(record.exc_info[1], Refusal)
    return not (record.name.startswith("prefect.") and (refused or "Refusal" in record.getMessage()))

"""The schedule of `mixwright serve`: one Prefect deployment a campaign, run by this process.

    python -m flows.prefect_schedule "0 6 * * *" CAMPAIGN...

A lab with a Prefect server and workers of its own uses `prefect.yaml` instead (docs/schedules.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import serve
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from campaign.errors import Refusal
from flows.prefect_flows import tick_flow


def check(cron: str) -> None:
    """Refuse what is not a schedule, before anything is started.

    Raises:
        Refusal: cron would not understand it.
    """
    try:
        CronSchedule(cron=cron)
    except ValidationError:
        raise Refusal(
            f"--cron {cron!r} is no schedule; it has five fields (minute hour day month weekday), like '0 6 * * *' for six "
            "every morning"
        ) from None


def main(cron: str, campaigns: list[str]) -> None:
    """Serve a tick for each campaign file until stopped."""
    # Ticks share one machine, hence the limit; two ticks of one campaign are kept apart by the ledger's lease.
    serve(*(_deployment(cron, campaign) for campaign in campaigns), limit=1)


def _deployment(cron: str, campaign: str) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        tick_flow,
        name=f"tick {Path(campaign).stem}",
        parameters={"campaign": campaign},
        cron=cron,
        tags=["mixwright"],
        entrypoint_type=EntrypointType.MODULE_PATH,  # a file path would tie it to the folder it was started in
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""The campaign in MLflow: a copy of the ledger that can be thrown away and written again.

One experiment a campaign; one run for the campaign, one child run a trial. Logging twice leaves one run: each carries
`mixwright.key` = campaign/trial/revision and, written last, a digest of its content; a run whose digest is not that of the
ledger (changed, or cut off half-way) is written anew and the old one deleted. One writer at a time is assumed (the
tick's lease); what two writers may leave behind, the next `sync` puts right.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from campaign.errors import Refusal
from review import quiet, views
from review.data import CampaignView
from review.runs import DIGEST, FRAME, KEY, STEPS, RunContent, campaign_note, campaign_run, frame, trial_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
_POINTS_A_BATCH = 800
"""MLflow takes 1000 entities a request; the rest is room for params and tags."""
_RUNS_A_PAGE = 1000


class MLflowUnreachable(Refusal):
    """MLflow did not take the copy: the ledger is complete without it, and the projection may be tried again later."""


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What one `sync` did."""

    experiment_id: str
    campaign_run_id: str
    written: int
    """Trial runs written, new or anew."""
    kept: int
    deleted: int


class Projection:
    """Writes campaigns to one MLflow tracking store.

    Args:
        tracking_uri: `sqlite:////absolute/path.db`, or the address of an MLflow server.
        artifacts: folder for reports where the store is SQLite; by default `mlartifacts` beside the database.
    """

    def __init__(self, tracking_uri: str, *, artifacts: Path | None = None) -> None:
        if not tracking_uri.startswith(("sqlite:///", "http://", "https://")):
            raise Refusal(
                f"MLflow tracking store {tracking_uri!r}: it must be sqlite:///PATH or the http address of a server"
            )
        self.tracking_uri = tracking_uri
        self._database = Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite") else None
        beside = self._database.parent / "mlartifacts" if self._database else None
        self._artifacts = artifacts if artifacts is not None else beside

    def sync(self, view: CampaignView, *, report: Path | None = None) -> Synced:
        """Make the campaign's experiment equal to `view`; what is there already is left alone.

        Args:
            view: the whole campaign: trials that it lacks are deleted from MLflow.
            report: an HTML report to hang on the campaign's run.

        Raises:
            MLflowUnreachable: nothing is lost; sync again later.
        """
        with self._reaching():
            experiment_id = self._experiment(view)
            found = self._runs(experiment_id)
            parent = self._campaign_run(view, experiment_id, found, report)
            return self._trial_runs(view, experiment_id, found, parent)

    def rebuild(self, view: CampaignView, *, report: Path | None = None) -> Synced:
        """Throw the campaign's experiment away and write it again.

        Raises:
            MLflowUnreachable: as `sync`.
        """
        with self._reaching():
            self._set_aside(view.name)
        return self.sync(view, report=report)

    def links(self, synced: Synced, *, base_url: str) -> dict[str, str]:
        """Return the addresses to hand out, name -> page on the MLflow server at `base_url`."""
        return views.links(base_url, synced.experiment_id, synced.campaign_run_id)

    @cached_property
    def _client(self) -> MlflowClient:
        # MLflow reads some of these when it is imported, so they come first; what the user has set stands.
        for name, value in quiet.settings().items():
            os.environ.setdefault(name, value)
        if self._database is not None:
            _prepare(self._database)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            client = self._client
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError
        except (OSError, sqlite3.Error) as error:
            raise self._unreachable(error) from error
        del client
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> MLflowUnreachable:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        return MLflowUnreachable(
            f"MLflow at {self.tracking_uri} did not take the copy ({first}); the ledger is complete, sync again later"
        )

    def _experiment(self, view: CampaignView) -> str:
        experiment = self._client.get_experiment_by_name(view.name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            self._set_aside(view.name)
            experiment = None
        if experiment is None:
            place = None
            if self._artifacts is not None:
                place = (self._artifacts.resolve() / hashlib.sha256(view.name.encode()).hexdigest()[:12]).as_uri()
            experiment = self._client.get_experiment(self._client.create_experiment(view.name, artifact_location=place))
        experiment_id = str(experiment.experiment_id)
        wanted = {**views.tags(view), "mlflow.note.content": _experiment_note(view, experiment_id)}
        for name, value in wanted.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(experiment_id, name, value)
        return experiment_id

    def _set_aside(self, name: str) -> None:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return
        # A deleted experiment keeps its name, so it is renamed first; a deleted one must be woken for that.
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        self._client.rename_experiment(experiment.experiment_id, f"{name[:400]} (old {experiment.experiment_id})")
        self._client.delete_experiment(experiment.experiment_id)

    def _runs(self, experiment_id: str) -> dict[str, list[Run]]:
        """Return the runs of the experiment by their key; runs that people made themselves have none and are not ours."""
        found: dict[str, list[Run]] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([experiment_id], max_results=_RUNS_A_PAGE, page_token=token)
            for run in page:
                if KEY in run.data.tags:
                    found.setdefault(run.data.tags[KEY], []).append(run)
            token = page.token
            if not token:
                return found

    def _trial_runs(self, view: CampaignView, experiment_id: str, found: dict[str, list[Run]], parent: str) -> Synced:
        written = kept = deleted = 0
        for content in trial_runs(view):
            runs = found.pop(content.key, [])
            same = [run for run in runs if _is(run, content)]
            if same:
                kept += 1
                if same[0].data.tags.get(PARENT) != parent:
                    self._client.set_tag(same[0].info.run_id, PARENT, parent)
            else:
                self._write(experiment_id, content, {PARENT: parent})
                written += 1
            for run in [run for run in runs if run not in same[:1]]:
                self._client.delete_run(run.info.run_id)
                deleted += 1
        for run in [run for runs in found.values() for run in runs]:
            self._client.delete_run(run.info.run_id)
            deleted += 1
        return Synced(experiment_id=experiment_id, campaign_run_id=parent, written=written, kept=kept, deleted=deleted)

    def _campaign_run(
        self, view: CampaignView, experiment_id: str, found: dict[str, list[Run]], report: Path | None
    ) -> str:
        """Return the id of the campaign's run, brought up to date.

        Its `best_so_far` grows by a step a trial. Where the past itself has changed (an amended result, another space), a
        new run takes the place of the old, because MLflow cannot take a value back.
        """
        text = report.read_bytes() if report is not None else b""
        content = campaign_run(view, report=hashlib.sha256(text).hexdigest()[:16] if text else "")
        runs = found.get(content.key, [])
        steps = sum(point.metric == "best_so_far" for point in content.points)
        stamp = {FRAME: frame(content, steps), STEPS: str(steps)}
        growing = [run for run in runs if _grows_into(run, content)]
        if not growing:
            run_id = self._write(experiment_id, content, stamp)
        else:
            # Taken out of `found`, what is left there is old and goes with the trials that are no more.
            found[content.key] = [run for run in runs if run is not growing[0]]
            run_id = str(growing[0].info.run_id)
            if _is(growing[0], content):
                return run_id
            self._fill(run_id, content, stamp)
        if report is not None:
            self._client.log_artifact(run_id, str(report))
        return run_id

    def _write(self, experiment_id: str, content: RunContent, stamp: dict[str, str]) -> str:
        run = self._client.create_run(
            experiment_id,
            start_time=content.start_ms,
            run_name=content.name,
            tags={**content.tags, **({PARENT: stamp[PARENT]} if PARENT in stamp else {}), KEY: content.key,
                  "mlflow.user": "mixwright", "mlflow.source.name": "mixwright"},
        )  # fmt: skip
        run_id = str(run.info.run_id)
        self._fill(run_id, content, stamp)
        return run_id

    def _fill(self, run_id: str, content: RunContent, stamp: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.metric, point.value, point.time_ms, point.step) for point in content.points]
        params = [Param(name, value) for name, value in content.params.items()]
        tags = [RunTag(name, value) for name, value in {**content.tags, **stamp, DIGEST: content.digest}.items()]
        while len(metrics) > _POINTS_A_BATCH:
            self._client.log_batch(run_id, metrics=metrics[:_POINTS_A_BATCH])
            metrics = metrics[_POINTS_A_BATCH:]
        if content.status == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        elif content.end_ms is None:
            self._client.update_run(run_id, status=content.status)
        else:
            self._client.set_terminated(run_id, content.status, content.end_ms)
        # The digest comes last: a run without it was cut off half-way and is written anew.
        self._client.log_batch(run_id, metrics=metrics, params=params, tags=tags)


def _is(run: Run, content: RunContent) -> bool:
    return bool(run.data.tags.get(DIGEST) == content.digest)


def _grows_into(run: Run, content: RunContent) -> bool:
    steps = run.data.tags.get(STEPS, "")
    return steps.isdecimal() and run.data.tags.get(FRAME) == frame(content, int(steps))


def _experiment_note(view: CampaignView, experiment_id: str) -> str:
    pages = [f"- [{name}]({link.lstrip('/')})" for name, link in views.links("", experiment_id).items()]
    return campaign_note(view) + "\n\n" + "\n".join(pages)


def _prepare(database: Path) -> None:
    """Make the folder, and put the database into WAL mode: it halves the time of a write.

    A file that is no database is refused here at once: MLflow would try it for minutes.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=2.0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

"""The progress display of a run, on stderr: trials done, and the best so far."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from campaign import outcome
from flows import evidence
from flows.session import Session
from flows.tick import TickResult


class Display:
    """A progress bar that is told of every tick; start-up is timed apart."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.startup_s = 0.0
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}"),
            console=self._console,
        )
        self._task = self._progress.add_task("trials", total=None, best="", start=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self) -> None:
        """Note that start-up is over."""
        self.startup_s = time.monotonic() - self._began
        self._progress.start_task(self._task)

    def tick(self, session: Session, result: TickResult) -> None:
        """Show what a tick has brought."""
        reader = session.reader
        trials = reader.trials(session.name)
        own = trials["evaluator"].eq(session.spec.evaluator)
        done = int((own & trials["state"].isin(["completed", "failed"])).sum())
        self._progress.update(self._task, completed=done, total=session.spec.budget.trials, best=self._best(session))
        for sentence in result.sentences:
            self._console.print(sentence, style="dim", highlight=False)

    def _best(self, session: Session) -> str:
        objective = session.spec.objective
        values = evidence.learnable(session.reader, session).means()
        known = values.loc[evidence.meets_bounds(session.spec, values), objective.outcome].dropna()
        if known.empty:
            return ""
        best = known.max() if objective.goal == "max" else known.min()
        return f"best so far {best:.4g} {outcome.define(objective.outcome).unit}"

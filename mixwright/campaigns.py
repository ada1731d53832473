"""A campaign in Python: the same steps as the command line, with tables in and out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from flows.session import Session, open_session, who


@dataclass(frozen=True)
class Campaign:
    """A campaign file opened against the ledger of this machine; made by `load`."""

    session: Session

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.session.name

    def trials(self) -> pd.DataFrame:
        """Return one row a trial: its evaluator, state, recipe, prediction and outcomes."""
        from flows.view import trials_table

        return trials_table(self.session, self.session.reader).set_index("trial_id")

    def cycling(self) -> pd.DataFrame:
        """Return every recorded cycle: `trial`, `subject`, `evaluator`, `cycle`, capacities and voltages."""
        from flows import evidence

        return evidence.record(self.session.reader, self.name)

    def propose(self, q: int = 1) -> pd.DataFrame:
        """Return the next q trials: recipe, prediction with its 90 % interval, and the reason. They stand in the ledger then."""
        from flows import choose, history

        history.import_history(self.session)
        return choose.next_trials(self.session, q)

    def ingest(
        self,
        path: str | os.PathLike[str],
        *,
        cell: str | None = None,
        active_mass_mg: float | None = None,
        area_cm2: float | None = None,
        by: str | None = None,
    ) -> str:
        """Take in a filled lab sheet or a cell's file; returns what came of it in a sentence.

        Mass of active and area are of the cell, where no sheet has said them.

        Raises:
            Refusal: the file is not understood or does not fit; nothing of it is taken then.
        """
        from flows import take_in

        return take_in.take_in(
            self.session, Path(path), by=by or who(), cell=cell, active_mass_mg=active_mass_mg, area_cm2=area_cm2
        ).sentence

    def tick(self) -> str:
        """Do all that can be done now, once; returns what was done in a sentence."""
        from flows import tick

        return tick.summary(tick.tick(self.session))

    def best(self) -> dict[str, Any] | None:
        """Return the recommended recipe with its expected outcome, interval and words; None while there is no result."""
        from flows.answer import answer
        from flows.choose import chooser

        found = answer(self.session, chooser(self.session, self.session.reader))
        if found is None:
            return None
        return {
            **found.recipe,
            "mean": found.mean,
            "p05": found.p05,
            "p95": found.p95,
            "trust": found.trust,
            "sentences": list(found.sentences),
            "notes": list(found.notes),
        }

    def diagnostics(self) -> dict[str, Any]:
        """Return how far the model deserves belief: `sentences`, and the numbers behind them.

        `parity` (each result and what all others let expect of it), `calibration`, `r2`, `sensitivity` (Sobol), `prior`.
        """
        from flows.choose import chooser
        from flows.diagnosis import diagnosis
        from review.diagnosis import as_dict

        reader = self.session.reader
        return as_dict(diagnosis(self.session, reader, chooser(self.session, reader)))

    def plot(self, what: str) -> Any:
        """Return one plot: `.figure`, `.data`, `.save(path)`."""
        from flows.view import campaign_view
        from review import plots

        return plots.draw(campaign_view(self.session)[0], what)

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the HTML report; returns where it is."""
        from flows import project
        from flows.view import campaign_view

        view, _ = campaign_view(self.session)
        return project.write_report(self.session, view, None if path is None else Path(path))


def load(path: str | os.PathLike[str]) -> Campaign:
    """Open a campaign file; the ledger is made where there is none.

    Raises:
        Refusal: the file is faulty, in one sentence with its line.
    """
    return Campaign(open_session(Path(path)))

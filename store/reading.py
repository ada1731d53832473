"""Reading the ledger as tables: now, or as it stood after any earlier write.

Every method is one read transaction, sees one moment, and gives a pandas table with units in its column names; an empty
ledger gives the same columns without rows. `Reader.as_of(seq)` has the same methods and shows what they showed then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import DESIGN_COLUMNS, TEXT_COLUMNS
from campaign.trial import Trial, read_id
from store import schema
from store.connection import transaction

_JSON = frozenset({"recipe_done", "details", "protocol"})
_TRIAL_HEAD = ("trial", "campaign", "campaign_version", "evaluator", "state", "planned", "seq", "at")


class Reader:
    """The ledger's reading doors."""

    def __init__(self, engine: sa.Engine, seq: int | None = None) -> None:
        self._engine = engine
        self._seq = seq

    def as_of(self, seq: int) -> Reader:
        """The ledger as it stood right after write number `seq`."""
        return Reader(self._engine, seq)

    @property
    def seq(self) -> int:
        """Number of the last write that is seen."""
        if self._seq is not None:
            return self._seq
        return int(self._rows(sa.select(schema.ledger.c.seq))[0]["seq"])

    # ---- campaigns -------------------------------------------------------------------------------------------------
    def campaigns(self) -> pd.DataFrame:
        """One row a version of a campaign: `campaign`, `version`, `sha256`, `seq`, `at`, `by`."""
        version, event = schema.campaign_version, schema.event
        query = sa.select(
            version.c.campaign, version.c.version, version.c.sha256, version.c.seq, event.c.at, event.c.by
        ).join(event, event.c.seq == version.c.seq)
        return self._table(self._until(query, version).order_by(version.c.seq))

    def spec(self, campaign: str, version: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """Version and spec of a campaign (the newest if none is asked for); None where the ledger has none."""
        table = schema.campaign_version
        query = sa.select(table.c.version, table.c.spec).where(table.c.campaign == campaign)
        if version is not None:
            query = query.where(table.c.version == version)
        rows = self._rows(self._until(query, table).order_by(table.c.version.desc()).limit(1))
        return (rows[0]["version"], json.loads(rows[0]["spec"])) if rows else None

    # ---- trials, mixes, cells --------------------------------------------------------------------------------------
    def trials(self, campaign: str | None = None, *, recipe: str = "done") -> pd.DataFrame:
        """One row a trial, indexed by its id.

        Args:
            campaign: only this one's.
            recipe: `done` shows what was really mixed where that is known; `asked` what was asked for.

        Returns:
            `trial` (index), campaign, campaign_version, evaluator, state, planned, seq and at (of its proposal), the
            columns of a design table (NaN where not known), `recipe_differs`, `provenance` (JSON text).
        """
        records = []
        for row in self._subjects("trial", campaign):
            asked, done = json.loads(row["recipe_asked"]), json.loads(row["recipe_done"] or "{}")
            shown = asked if recipe == "asked" else {**asked, **done}
            head = {name: row[name] for name in _TRIAL_HEAD[1:]} | {"trial": row["id"]}
            differs = any(asked.get(name) != value for name, value in done.items())
            tail = {"recipe_differs": differs, "provenance": row["provenance"]}
            records.append({**head, **shown, **json.loads(row["protocol"]), **tail})
        columns = [*_TRIAL_HEAD, *DESIGN_COLUMNS, "recipe_differs", "provenance"]
        table = pd.DataFrame.from_records(records, columns=columns)
        for name in DESIGN_COLUMNS:
            if name not in TEXT_COLUMNS:
                table[name] = table[name].astype(float)
        return table.set_index("trial")

    def trial(self, trial: str) -> Trial:
        """One trial, all it holds.

        Raises:
            Refusal: the ledger has no such trial.
        """
        name = read_id(trial).trial
        rows = [row for row in self._subjects("trial", None) if row["id"] == name]
        if not rows:
            raise Refusal(f"there is no trial {name} in the ledger: {self._known_trials(name)}")
        row = rows[0]
        read = {column: json.loads(row[column]) for column in ("recipe_asked", "protocol", "provenance")}
        done = json.loads(row["recipe_done"]) if row["recipe_done"] else None
        plain = {
            column: row[column] for column in ("id", "campaign", "campaign_version", "evaluator", "state", "planned")
        }
        return Trial(**plain, **read, recipe_done=done)

    def _known_trials(self, name: str) -> str:
        known = [row["id"] for row in self._subjects("trial", None)]
        return nearest(name, known) if known else "it has none yet"

    def mixes(self, campaign: str | None = None) -> pd.DataFrame:
        """One row a mix, indexed by its id: trial, state, planned, `recipe_done`, `details` (JSON text, `{}` if none), seq."""
        return self._subject_table(
            "mix", campaign, ("trial", "state", "planned", "recipe_done", "details", "seq", "at")
        )

    def cells(self, campaign: str | None = None) -> pd.DataFrame:
        """One row a cell, indexed by its id: mix, trial, state, channel, mass, area, protocol and details (JSON), seq, at."""
        return self._subject_table(
            "cell",
            campaign,
            (
                "mix",
                "trial",
                "state",
                "planned",
                "channel",
                "active_mass_mg",
                "area_cm2",
                "protocol",
                "details",
                "seq",
                "at",
            ),
        )

    def _subject_table(self, kind: str, campaign: str | None, columns: Sequence[str]) -> pd.DataFrame:
        records = [{**row, kind: row["id"]} for row in self._subjects(kind, campaign)]
        table = pd.DataFrame.from_records(records, columns=[kind, *columns]).set_index(kind)
        for name in _JSON.intersection(columns):  # pandas makes NaN of a None beside texts, and NaN is no text and true
            table[name] = pd.Series([row[name] or "{}" for row in records], index=table.index, dtype=object)
        return table

    # ---- results ---------------------------------------------------------------------------------------------------
    def results(
        self, campaign: str | None = None, *, with_excluded: bool = False, superseded: bool = False
    ) -> pd.DataFrame:
        """Scalar results that stand, one row each.

        Args:
            campaign: only this one's.
            with_excluded: also those of trials, mixes and cells that are excluded.
            superseded: also those that an amendment has replaced or withdrawn.

        Returns:
            result (id), trial, subject, evaluator, observable, unit, value, cycle, relation, rel_uncertainty,
            abs_uncertainty, provenance, file, note, supersedes, withdrawn, seq, at, by, why.
        """
        table, later = schema.result, schema.result.alias("later")
        columns = [column for column in table.c if column.name != "id"]
        query = self._with_event(
            sa.select(table.c.id.label("result"), *columns, schema.trial.c.evaluator), table, campaign
        )
        if not superseded:
            newer = sa.select(later.c.id).where(later.c.supersedes == table.c.id)
            query = query.where(~table.c.withdrawn, ~self._until(newer, later).exists())
        order = (
            "result trial subject evaluator observable unit value cycle relation rel_uncertainty abs_uncertainty provenance "
            "file note supersedes withdrawn seq at by why"
        )
        frame = self._table(query.order_by(table.c.id))[order.split()]
        for name in ("value", "cycle", "rel_uncertainty", "abs_uncertainty", "supersedes"):
            frame[name] = frame[name].astype(float)
        return frame if with_excluded else self._without_excluded(frame, campaign)

    def cycling(
        self, campaign: str | None = None, *, with_excluded: bool = False, superseded: bool = False
    ) -> pd.DataFrame:
        """Cycling records that stand, one row a cycle: trial, subject, evaluator, cycle, capacities, …, partial, file, seq.

        Args:
            campaign: only this one's.
            with_excluded: also those of trials, mixes and cells that are excluded.
            superseded: also rows that a newer row of the same cycle has replaced or withdrawn.
        """
        table, later = schema.cycling, schema.cycling.alias("later")
        query = self._with_event(sa.select(table, schema.trial.c.evaluator), table, campaign)
        if not superseded:
            newer = sa.select(later.c.seq).where(
                later.c.subject == table.c.subject, later.c.cycle == table.c.cycle, later.c.seq > table.c.seq
            )
            query = query.where(~table.c.withdrawn, ~self._until(newer, later).exists())
        order = ["trial", "subject", "evaluator", "cycle", *schema.CYCLING_NUMBERS]
        order += ["partial", "withdrawn", "file", "flags", "ended_at", "seq", "at", "by", "why"]
        frame = self._table(query.order_by(table.c.subject, table.c.cycle, table.c.seq))[order]
        for name in schema.CYCLING_NUMBERS:
            frame[name] = frame[name].astype(float)
        frame["ended_at"] = pd.to_datetime(frame["ended_at"], utc=True)
        return frame if with_excluded else self._without_excluded(frame, campaign)

    def _with_event(self, query: sa.Select[Any], table: sa.Table, campaign: str | None) -> sa.Select[Any]:
        event, trial = schema.event, schema.trial
        query = query.add_columns(event.c.at, event.c.by, event.c.why)
        query = query.join(event, event.c.seq == table.c.seq).join(trial, trial.c.id == table.c.trial)
        if campaign is not None:
            query = query.where(trial.c.campaign == campaign)
        return self._until(query, table)

    def _without_excluded(self, frame: pd.DataFrame, campaign: str | None) -> pd.DataFrame:
        out = {
            row["id"]
            for kind in schema.SUBJECT_TABLES
            for row in self._subjects(kind, campaign)
            if row["state"] == "excluded"
        }
        if not out:
            return frame
        kept = [out.isdisjoint(_chain(name)) for name in frame["subject"]]
        return frame[pd.Series(kept, index=frame.index, dtype=bool)].reset_index(drop=True)

    # ---- decisions, files, history ---------------------------------------------------------------------------------
    def decisions(self, campaign: str | None = None) -> pd.DataFrame:
        """Why each trial was proposed, one row a trial: model, seed, evidence, trust, acquisition, reason, prediction."""
        table = schema.decision
        return self._table(self._with_event(sa.select(table), table, campaign).order_by(table.c.seq, table.c.trial))

    def files(self, campaign: str | None = None) -> pd.DataFrame:
        """Files that were taken in: campaign, sha256, name, size, subject (None = unassigned), details (JSON), seq, at."""
        records = self._subjects("file", campaign)
        columns = ["campaign", "sha256", "name", "size", "subject", "details", "seq", "at"]
        return pd.DataFrame.from_records(records, columns=columns)

    def events(self, campaign: str | None = None) -> pd.DataFrame:
        """Every write in order: seq, key, verb, campaign, at, by, why, answer (JSON text)."""
        table = schema.event
        columns = [table.c[n] for n in ("seq", "key", "verb", "campaign", "at", "by", "why", "answer")]
        query = sa.select(*columns).order_by(table.c.seq)
        if campaign is not None:
            query = query.where(table.c.campaign == campaign)
        return self._table(self._until(query, table))

    def history(self, trial: str) -> pd.DataFrame:
        """What happened to a trial, its mixes and cells, oldest first: seq, at, by, verb, subject, new (JSON text), why."""
        name = read_id(trial).trial
        change, event = schema.change, schema.event
        query = (
            sa.select(event.c.seq, event.c.at, event.c.by, change.c.verb, change.c.subject, change.c.new, event.c.why)
            .join(event, event.c.seq == change.c.seq)
            .where(change.c.trial == name)
            .order_by(change.c.seq, change.c.position)
        )
        return self._table(self._until(query, change))

    # ---- how it is done --------------------------------------------------------------------------------------------
    def _subjects(self, kind: str, campaign: str | None) -> list[dict[str, Any]]:
        """Rows of trials, mixes, cells or files, as they were at the reader's seq."""
        table = schema.file if kind == "file" else schema.SUBJECT_TABLES[kind]
        event, trial = schema.event, schema.trial
        query = sa.select(table, event.c.at).join(event, event.c.seq == table.c.seq)
        if campaign is not None:
            owner = table if "campaign" in table.c else trial
            query = query if owner is table else query.join(trial, trial.c.id == table.c.trial)
            query = query.where(owner.c.campaign == campaign)
        order = [table.c.number] if kind == "trial" else [table.c.seq, *table.primary_key]
        rows = [dict(row) for row in self._rows(self._until(query, table).order_by(*order))]
        return rows if self._seq is None or not rows else self._folded(kind, rows)

    def _folded(self, kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with their mutable columns as the changes up to the reader's seq left them."""
        event, change = schema.event, schema.change
        changes = sa.select(change.c.subject, change.c.new, event.c.campaign).join(event, event.c.seq == change.c.seq)
        changes = self._until(changes.where(change.c.kind == kind), change).order_by(change.c.seq, change.c.position)
        last: dict[tuple[str | None, str], dict[str, Any]] = {}
        for note in self._rows(changes):
            key = (note["campaign"] if kind == "file" else None, note["subject"])
            last.setdefault(key, {}).update(json.loads(note["new"]))
        for row in rows:
            row.update(last[(row["campaign"], row["sha256"]) if kind == "file" else (None, row["id"])])
        return rows

    def _until(self, query: sa.Select[Any], table: sa.FromClause) -> sa.Select[Any]:
        return query if self._seq is None else query.where(table.c.seq <= self._seq)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        with transaction(self._engine, write=False) as connection:
            return connection.execute(query).mappings().all()

    def _table(self, query: sa.Select[Any]) -> pd.DataFrame:
        with transaction(self._engine, write=False) as connection:
            answer = connection.execute(query)
            names = list(answer.keys())
            return pd.DataFrame.from_records([tuple(row) for row in answer], columns=names)


def _chain(name: str) -> tuple[str, ...]:
    subject = read_id(name)
    return subject.trial, subject.mix, str(subject)

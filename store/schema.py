"""Tables of the ledger. Plain SQL types only, so that PostgreSQL runs what SQLite runs.

`event` has one row for each write, in the order of `seq`; `change` says what that write did to which trial, mix, cell or
file. The mutable columns of those tables are nothing but the last change of each: `reading` folds the changes again to
show the ledger as it was at any earlier `seq`, and `Ledger.verify` checks that the fold gives what stands in the tables.
Rows of `result` and `cycling` are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

HEAD = "0002"
"""The schema that this code writes: the newest revision in `store/migrations/versions` (a test compares)."""


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An instant as ISO 8601 text in UTC: sorts as text, and SQLite cannot lose its zone."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Aware datetime -> text."""
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Text -> aware datetime."""
        return None if value is None else datetime.fromisoformat(value)


metadata = sa.MetaData()


def _seq() -> sa.Column[int]:
    return sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False, index=True)


def _trial() -> sa.Column[str]:
    return sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), nullable=False, index=True)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double)


# One row. Its update is the first statement of every write: it numbers the write and, on PostgreSQL, queues the writers.
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, nullable=False),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    _text("verb"),
    _text("content_sha256"),
    _text("answer"),
    sa.Column("campaign", sa.Text, index=True),
    sa.Column("at", UtcTime, nullable=False),
    _text("by"),
    _text("why", null=True),
)

change = sa.Table(
    "change",
    metadata,
    sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _text("verb"),
    _text("kind"),
    _text("subject"),
    sa.Column("trial", sa.Text, index=True),
    _text("new"),
    sa.Index("ix_change_subject", "subject", "seq"),
)

campaign = sa.Table(
    "campaign",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    _seq(),
)

campaign_version = sa.Table(
    "campaign_version",
    metadata,
    sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _text("spec"),
    _text("sha256"),
    _seq(),
)

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("campaign", sa.Text, nullable=False, index=True),
    sa.Column("campaign_version", sa.Integer, nullable=False),
    _text("evaluator"),
    sa.Column("planned", sa.Boolean, nullable=False),
    _text("recipe_asked"),
    _text("recipe_done", null=True),
    _text("protocol"),
    _text("provenance"),
    _text("state"),
    _seq(),
    sa.ForeignKeyConstraint(
        ["campaign", "campaign_version"], ["campaign_version.campaign", "campaign_version.version"]
    ),
)

mix = sa.Table(
    "mix",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _trial(),
    sa.Column("planned", sa.Boolean, nullable=False),
    _text("recipe_done", null=True),
    _text("details"),
    _text("state"),
    _seq(),
)

cell = sa.Table(
    "cell",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("mix", sa.Text, sa.ForeignKey("mix.id"), nullable=False, index=True),
    _trial(),
    sa.Column("planned", sa.Boolean, nullable=False),
    _text("channel", null=True),
    _number("active_mass_mg"),
    _number("area_cm2"),
    _text("protocol", null=True),
    _text("details"),
    _text("state"),
    _seq(),
)

result = sa.Table(
    "result",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    _seq(),
    _trial(),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("observable", sa.Text, nullable=False, index=True),
    _text("unit"),
    sa.Column("cycle", sa.Integer),
    _text("relation"),
    sa.Column("value", sa.Double, nullable=False),
    _number("rel_uncertainty"),
    _number("abs_uncertainty"),
    _text("provenance", null=True),
    _text("file", null=True),
    _text("note", null=True),
    sa.Column("supersedes", sa.Integer, sa.ForeignKey("result.id"), unique=True),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.CheckConstraint("relation IN ('=', '>=', '<=')", name="ck_result_relation"),
)

CYCLING_NUMBERS = (
    "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2",
    "discharge_capacity_mAh",
    "charge_capacity_mAh",
    "coulombic_efficiency",
    "mean_discharge_voltage_V",
    "mean_charge_voltage_V",
    "polarisation_V",
    "pressure_change_MPa",
    "vendor_cycle",
    "vendor_discharge_capacity_mAh",
    "vendor_charge_capacity_mAh",
)

cycling = sa.Table(
    "cycling",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("cycle", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), primary_key=True, index=True),
    _trial(),
    *[_number(name) for name in CYCLING_NUMBERS],
    sa.Column("partial", sa.Boolean, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    _text("file", null=True),
    _text("flags", null=True),
    sa.Column("ended_at", UtcTime),
)

file = sa.Table(
    "file",
    metadata,
    sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
    sa.Column("sha256", sa.Text, primary_key=True),
    _text("name"),
    sa.Column("size", sa.BigInteger, nullable=False),
    _text("subject", null=True),
    _text("details"),
    _seq(),
)

decision = sa.Table(
    "decision",
    metadata,
    sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), primary_key=True),
    _seq(),
    _text("model_version"),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("data_seq", sa.Integer, nullable=False),
    _text("data_sha256"),
    _number("trust_in_prior"),
    _number("acquisition"),
    _text("reason", null=True),
    _text("outcome"),
    _number("predicted_mean"),
    _number("predicted_p05"),
    _number("predicted_p95"),
    _text("details"),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("holder"),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

# What the MLflow projection still has to write: a campaign ("") or a trial is pending while seq > done_seq.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
    sa.Column("trial", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("done_seq", sa.Integer, nullable=False),
)

SUBJECT_TABLES: Mapping[str, sa.Table] = MappingProxyType({"trial": trial, "mix": mix, "cell": cell})
MUTABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "trial": ("state", "recipe_done", "protocol", "provenance"),
        "mix": ("state", "recipe_done", "details"),
        "cell": ("state", "channel", "active_mass_mg", "area_cm2", "protocol", "details"),
        "file": ("subject", "details"),
    }
)
"""Columns that `change` may set, by kind; all others never change."""
JSON_COLUMNS = ("recipe_asked", "recipe_done", "protocol", "provenance", "details")

"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
    )
    op.execute("INSERT INTO ledger (id, seq) VALUES (1, 0)")
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("campaign", sa.Text),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text),
    )
    op.create_table(
        "change",
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("trial", sa.Text),
        sa.Column("new", sa.Text, nullable=False),
    )
    op.create_table(
        "campaign",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
    )
    op.create_table(
        "campaign_version",
        sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
    )
    op.create_table(
        "trial",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("campaign", sa.Text, nullable=False),
        sa.Column("campaign_version", sa.Integer, nullable=False),
        sa.Column("evaluator", sa.Text, nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("recipe_asked", sa.Text, nullable=False),
        sa.Column("recipe_done", sa.Text),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("provenance", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign", "campaign_version"], ["campaign_version.campaign", "campaign_version.version"]
        ),
    )
    op.create_table(
        "mix",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("recipe_done", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
    )
    op.create_table(
        "cell",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("mix", sa.Text, sa.ForeignKey("mix.id"), nullable=False),
        sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("channel", sa.Text),
        sa.Column("active_mass_mg", sa.Double),
        sa.Column("area_cm2", sa.Double),
        sa.Column("protocol", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
    )
    op.create_table(
        "result",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
        sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("observable", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("cycle", sa.Integer),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("rel_uncertainty", sa.Double),
        sa.Column("abs_uncertainty", sa.Double),
        sa.Column("provenance", sa.Text),
        sa.Column("file", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("supersedes", sa.Integer, sa.ForeignKey("result.id"), unique=True),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.CheckConstraint("relation IN ('=', '>=', '<=')", name="ck_result_relation"),
    )
    op.create_table(
        "cycling",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("cycle", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), primary_key=True),
        sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), nullable=False),
        sa.Column("discharge_areal_capacity_mAh_cm2", sa.Double),
        sa.Column("charge_areal_capacity_mAh_cm2", sa.Double),
        sa.Column("discharge_capacity_mAh", sa.Double),
        sa.Column("charge_capacity_mAh", sa.Double),
        sa.Column("coulombic_efficiency", sa.Double),
        sa.Column("mean_discharge_voltage_V", sa.Double),
        sa.Column("mean_charge_voltage_V", sa.Double),
        sa.Column("polarisation_V", sa.Double),
        sa.Column("pressure_change_MPa", sa.Double),
        sa.Column("vendor_cycle", sa.Double),
        sa.Column("vendor_discharge_capacity_mAh", sa.Double),
        sa.Column("vendor_charge_capacity_mAh", sa.Double),
        sa.Column("partial", sa.Boolean, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("file", sa.Text),
        sa.Column("flags", sa.Text),
    )
    op.create_table(
        "file",
        sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
    )
    op.create_table(
        "decision",
        sa.Column("trial", sa.Text, sa.ForeignKey("trial.id"), primary_key=True),
        sa.Column("seq", sa.Integer, sa.ForeignKey("event.seq"), nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("data_seq", sa.Integer, nullable=False),
        sa.Column("data_sha256", sa.Text, nullable=False),
        sa.Column("trust_in_prior", sa.Double),
        sa.Column("acquisition", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("predicted_mean", sa.Double),
        sa.Column("predicted_p05", sa.Double),
        sa.Column("predicted_p95", sa.Double),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("campaign", sa.Text, sa.ForeignKey("campaign.name"), primary_key=True),
        sa.Column("trial", sa.Text, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("done_seq", sa.Integer, nullable=False),
    )
    op.create_index("ix_event_campaign", "event", ["campaign"])
    op.create_index("ix_change_subject", "change", ["subject", "seq"])
    op.create_index("ix_change_trial", "change", ["trial"])
    op.create_index("ix_trial_campaign", "trial", ["campaign"])
    op.create_index("ix_cell_mix", "cell", ["mix"])
    op.create_index("ix_result_subject", "result", ["subject"])
    for table in ("campaign", "campaign_version", "trial", "mix", "cell", "result", "cycling", "file", "decision"):
        op.create_index(f"ix_{table}_seq", table, ["seq"])
    for table in ("mix", "cell", "result", "cycling"):
        op.create_index(f"ix_{table}_trial", table, ["trial"])

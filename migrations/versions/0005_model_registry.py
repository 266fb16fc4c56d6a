"""The registry of models, which model a job was given out for, and what explains a prediction."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # By hand: SQLite can add a column with its check, Alembic would copy the table for it.
    op.execute(
        "ALTER TABLE model_versions ADD COLUMN state VARCHAR(32) NOT NULL DEFAULT 'candidate' "
        "CONSTRAINT ck_model_versions_model_state "
        "CHECK (state IN ('candidate', 'active', 'retired'))"
    )
    op.execute(
        "ALTER TABLE model_versions ADD COLUMN operating_point VARCHAR(32) NOT NULL "
        "DEFAULT 'balanced' CONSTRAINT ck_model_versions_model_operating_point "
        "CHECK (operating_point IN ('high_sensitivity', 'balanced', 'high_precision'))"
    )
    op.add_column("model_versions", sa.Column("card", sa.JSON(), nullable=True))
    op.add_column(
        "model_versions",
        sa.Column("source", sa.String(length=500), nullable=False, server_default=""),
    )
    op.add_column("model_versions", sa.Column("archive_sha256", sa.String(length=64), nullable=True))
    for name in ("promoted_at", "retired_at"):
        op.add_column("model_versions", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "uq_model_versions_active",
        "model_versions",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.add_column("jobs", sa.Column("model_sha256", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("operating_point", sa.String(length=50), nullable=True))
    op.add_column("predictions", sa.Column("uncertainty", sa.JSON(), nullable=True))
    op.add_column("predictions", sa.Column("region", sa.JSON(), nullable=True))


def downgrade() -> None:
    for name in ("region", "uncertainty"):
        op.drop_column("predictions", name)
    for name in ("operating_point", "model_sha256"):
        op.drop_column("jobs", name)
    op.drop_index("uq_model_versions_active", "model_versions")
    for name in (
        "retired_at",
        "promoted_at",
        "archive_sha256",
        "source",
        "card",
        "operating_point",
        "state",
    ):
        op.drop_column("model_versions", name)

"""What the clock is measured by, and what retention has announced."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clock_states",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trusted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("running_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_states")),
    )
    op.create_table(
        "announced_purges",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_running", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_announced_purges_study_id_studies")
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_announced_purges")),
    )


def downgrade() -> None:
    op.drop_table("announced_purges")
    op.drop_table("clock_states")

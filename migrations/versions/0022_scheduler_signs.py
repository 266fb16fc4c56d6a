"""The scheduler's signs of life: when each of its loops last did its work."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scheduler_signs",
        sa.Column("loop", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("loop", name=op.f("pk_scheduler_signs")),
    )


def downgrade() -> None:
    op.drop_table("scheduler_signs")

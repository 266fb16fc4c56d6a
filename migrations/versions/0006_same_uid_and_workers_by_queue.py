"""Pictures that came under another one's UID, and workers told apart by name and queue."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("same_uid_as", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_instances_same_uid_as"), "instances", ["same_uid_as"])
    _workers(sa.UniqueConstraint("name", "queue", name=op.f("uq_workers_name_queue")))


def downgrade() -> None:
    _workers(sa.UniqueConstraint("name", name=op.f("uq_workers_name")))
    op.drop_index(op.f("ix_instances_same_uid_as"), "instances")
    op.drop_column("instances", "same_uid_as")


def _workers(told_apart_by: sa.UniqueConstraint) -> None:
    """Make the table anew: SQLite changes no constraint, and every worker says hello again soon."""
    op.drop_table("workers")
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "queue",
            sa.Enum(
                "render",
                "segment",
                "export",
                "send",
                name="queue",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("engine", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        told_apart_by,
    )

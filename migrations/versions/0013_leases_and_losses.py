"""Attempts that fail count apart from those that are ended from outside; waiting since when.

`attempt_limit` goes: what a job had failed is taken over into `failures`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# SQLite alters a table by copying it, which an index over an expression does not outlive.
WAITING = ["kind", "state", sa.text("(-priority)"), "created"]


def upgrade() -> None:
    op.drop_index("ix_jobs_waiting", "jobs")
    for name in ("failures", "losses"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE jobs SET queued_at = created")
    op.execute(
        "UPDATE jobs SET failures = CASE WHEN attempts + 3 > attempt_limit "
        "THEN attempts + 3 - attempt_limit ELSE 0 END"
    )
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column("queued_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        for name in ("failures", "losses"):
            batch.alter_column(name, existing_type=sa.Integer(), server_default=None)
        batch.drop_column("attempt_limit")
    op.create_index("ix_jobs_waiting", "jobs", WAITING)
    op.add_column("workers", sa.Column("token_id", sa.Uuid(), nullable=True))
    with op.batch_alter_table("workers") as batch:
        batch.create_foreign_key(
            op.f("fk_workers_token_id_worker_tokens"), "worker_tokens", ["token_id"], ["id"]
        )
    op.create_index("ix_workers_token", "workers", ["token_id", "last_seen"])


def downgrade() -> None:
    op.drop_index("ix_workers_token", "workers")
    with op.batch_alter_table("workers") as batch:
        batch.drop_constraint(op.f("fk_workers_token_id_worker_tokens"), type_="foreignkey")
        batch.drop_column("token_id")
    op.drop_index("ix_jobs_waiting", "jobs")
    op.add_column(
        "jobs", sa.Column("attempt_limit", sa.Integer(), nullable=False, server_default="3")
    )
    op.execute("UPDATE jobs SET attempt_limit = attempts + 3 - failures")
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column("attempt_limit", existing_type=sa.Integer(), server_default=None)
        for name in ("failures", "losses", "queued_at"):
            batch.drop_column(name)
    op.create_index("ix_jobs_waiting", "jobs", WAITING)

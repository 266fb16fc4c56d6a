"""Drift checks: a kind of job that is about no exam, and what such jobs have found."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

OLD_KINDS = ("render", "segment", "measure", "encode", "report", "export", "send")
KINDS = (*OLD_KINDS[:5], "drift", *OLD_KINDS[5:])
# Columns that hold a job's kind.
KIND_CHECKS = (("workers", "queue"), ("worker_tokens", "queue"), ("jobs", "kind"))
ABOUT = "(study_id IS NULL) = (kind = 'drift')"
# SQLite alters a table by copying it, which an index over an expression does not outlive.
WAITING = ["kind", "state", sa.text("(-priority)"), "created"]


def upgrade() -> None:
    _change_jobs(KINDS, is_downgrade=False)
    op.create_table(
        "drift_checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("predictions", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("first", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last", sa.DateTime(timezone=True), nullable=True),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.Column("alarms", sa.JSON(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        _reference("model_id", "model_versions"),
        _reference("job_id", "jobs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_checks")),
        sa.UniqueConstraint("job_id", name=op.f("uq_drift_checks_job_id")),
    )
    op.create_index("ix_drift_checks_model", "drift_checks", ["model_id", "computed_at"])
    op.create_index("ix_predictions_model", "predictions", ["model_id", "created"])


def downgrade() -> None:
    op.drop_index("ix_predictions_model", "predictions")
    op.drop_table("drift_checks")
    op.execute("DELETE FROM jobs WHERE kind = 'drift'")
    _change_jobs(OLD_KINDS, is_downgrade=True)


def _change_jobs(kinds: tuple[str, ...], *, is_downgrade: bool) -> None:
    op.drop_index("ix_jobs_waiting", "jobs")
    if is_downgrade:
        with op.batch_alter_table("jobs") as batch:
            batch.drop_constraint(op.f("ck_jobs_about"), type_="check")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    for table, column in KIND_CHECKS:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"ck_{table}_{column}"), type_="check")
            batch.create_check_constraint(
                op.f(f"ck_{table}_{column}"), f"{column} IN ({listed})"
            )
            if table == "jobs":
                batch.alter_column("study_id", existing_type=sa.Uuid(), nullable=not is_downgrade)
                if not is_downgrade:
                    batch.create_check_constraint(op.f("ck_jobs_about"), ABOUT)
    op.create_index("ix_jobs_waiting", "jobs", WAITING)


def _reference(column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_drift_checks_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

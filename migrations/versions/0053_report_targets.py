"""The hospital's systems that get reports, and each report that is sent to one."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
MOMENTS = ("signature", "addendum", "retraction")
STATES = ("preparing", "waiting", "proving", "proven", "unproven", "failed", "dropped")


def upgrade() -> None:
    op.create_table(
        "report_targets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("application", sa.String(180), nullable=False),
        sa.Column("facility", sa.String(180), nullable=False),
        sa.Column("authority", sa.String(180), nullable=False),
        sa.Column("accession_field", sa.String(10), nullable=False),
        sa.Column("charset", sa.String(20), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("certificate_ends", TIME, nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("looked_until", TIME, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_report_targets_port")),
        _reference("report_targets", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_targets")),
    )
    op.create_index(op.f("ix_report_targets_team_id"), "report_targets", ["team_id"])
    op.create_table(
        "report_sends",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("moment", _one_of("report_moment", MOMENTS), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("state", _one_of("send_state", STATES), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("content_key", sa.String(64), nullable=True),
        sa.Column("answer", sa.String(40), nullable=False),
        sa.Column("sealed_remark", sa.LargeBinary(), nullable=True),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        _reference("report_sends", "target_id", "report_targets"),
        _reference("report_sends", "study_id", "studies"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_sends")),
        sa.UniqueConstraint(
            "target_id",
            "moment",
            "trigger_id",
            name=op.f("uq_report_sends_target_id_moment_trigger_id"),
        ),
    )
    op.create_index("ix_report_sends_due", "report_sends", ["state", "next_at"])
    op.create_index("ix_report_sends_study", "report_sends", ["study_id", "target_id"])
    op.create_index("ix_report_sends_created", "report_sends", ["created"])
    op.create_index("ix_addenda_created", "addenda", ["created"])


def downgrade() -> None:
    op.drop_index("ix_addenda_created", table_name="addenda")
    for table in ("report_sends", "report_targets"):
        op.drop_table(table)


def _one_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

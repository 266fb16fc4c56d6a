"""Systems that send HL7, the messages that were taken, and orders and reports by accession."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
PRIORITIES = ("stat", "asap", "routine")
STATES = ("final", "corrected")


def upgrade() -> None:
    op.create_table(
        "hl7_nodes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("application", sa.String(180), nullable=False),
        sa.Column("facility", sa.String(180), nullable=False),
        sa.Column("authority", sa.String(180), nullable=False),
        sa.Column("accession_field", sa.String(10), nullable=False),
        sa.Column("charset", sa.String(20), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        _reference("hl7_nodes", "user_id", "users"),
        _reference("hl7_nodes", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hl7_nodes")),
        sa.UniqueConstraint("user_id", name=op.f("uq_hl7_nodes_user_id")),
        sa.UniqueConstraint(
            "application", "facility", name=op.f("uq_hl7_nodes_application_facility")
        ),
    )
    op.create_index(op.f("ix_hl7_nodes_team_id"), "hl7_nodes", ["team_id"])
    op.create_table(
        "hl7_messages",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("control_key", sa.String(64), nullable=False),
        sa.Column("content_key", sa.String(64), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("hl7_messages", "node_id", "hl7_nodes"),
        sa.PrimaryKeyConstraint("node_id", "control_key", name=op.f("pk_hl7_messages")),
    )
    op.create_index("ix_hl7_messages_created", "hl7_messages", ["created"])
    op.create_table(
        "hl7_merges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("one_key", sa.String(64), nullable=False),
        sa.Column("other_key", sa.String(64), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("hl7_merges", "team_id", "teams"),
        _reference("hl7_merges", "node_id", "hl7_nodes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hl7_merges")),
        sa.UniqueConstraint(
            "team_id", "one_key", "other_key", name=op.f("uq_hl7_merges_team_id_one_key_other_key")
        ),
    )
    op.create_index("ix_hl7_merges_created", "hl7_merges", ["created"])
    op.create_table(
        "hospital_orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("accession_key", sa.String(64), nullable=False),
        sa.Column("patient_id_key", sa.String(64), nullable=False),
        sa.Column("priority", _one_of("order_priority", PRIORITIES), nullable=True),
        sa.Column("is_cancelled", sa.Boolean(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed_location", sa.LargeBinary(), nullable=False),
        sa.Column("stated_at", sa.String(26), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("changed", TIME, nullable=False),
        _reference("hospital_orders", "team_id", "teams"),
        _reference("hospital_orders", "node_id", "hl7_nodes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hospital_orders")),
        sa.UniqueConstraint(
            "team_id", "accession_key", name=op.f("uq_hospital_orders_team_id_accession_key")
        ),
    )
    op.create_table(
        "hospital_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("accession_key", sa.String(64), nullable=False),
        sa.Column("patient_id_key", sa.String(64), nullable=False),
        sa.Column("state", _one_of("hospital_report_state", STATES), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed_text", sa.LargeBinary(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("hospital_reports", "team_id", "teams"),
        _reference("hospital_reports", "node_id", "hl7_nodes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hospital_reports")),
    )
    op.create_index(
        "ix_hospital_reports_accession", "hospital_reports", ["team_id", "accession_key", "created"]
    )
    for table in ("hospital_orders", "hospital_reports"):
        for column in ("created", "key_id"):
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    # What messages have changed of patients stays changed, and merges stay merged.
    for table in ("hospital_reports", "hospital_orders", "hl7_merges", "hl7_messages", "hl7_nodes"):
        op.drop_table(table)


def _one_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

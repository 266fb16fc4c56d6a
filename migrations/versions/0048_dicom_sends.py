"""What DICOM nodes get of results, what is to be sent to them, and each object of it."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
MOMENTS = ("result", "verdict", "signature")
STATES = ("preparing", "waiting", "proving", "proven", "unproven", "failed", "dropped")
OBJECT_STATES = ("waiting", "taken", "proven", "unproven", "failed")
PROOFS = ("commitment", "found")
LOOKED_THROUGH = ("predictions", "reviews", "signatures")


def upgrade() -> None:
    op.create_table(
        "dicom_destinations",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("moments", sa.JSON(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("looked_until", TIME, nullable=False),
        _reference("dicom_destinations", "node_id", "dicom_nodes"),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_dicom_destinations")),
    )
    op.create_table(
        "dicom_sends",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("moment", _one_of("send_moment", MOMENTS), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=True),
        sa.Column("state", _one_of("send_state", STATES), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("commitment_id", sa.Uuid(), nullable=True),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        _reference("dicom_sends", "node_id", "dicom_nodes"),
        _reference("dicom_sends", "study_id", "studies"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_sends")),
        sa.UniqueConstraint(
            "node_id",
            "moment",
            "trigger_id",
            name=op.f("uq_dicom_sends_node_id_moment_trigger_id"),
        ),
        sa.UniqueConstraint("commitment_id", name=op.f("uq_dicom_sends_commitment_id")),
    )
    op.create_index("ix_dicom_sends_due", "dicom_sends", ["state", "next_at"])
    op.create_index("ix_dicom_sends_study", "dicom_sends", ["study_id", "node_id"])
    op.create_index("ix_dicom_sends_created", "dicom_sends", ["created"])
    op.create_table(
        "dicom_sent_objects",
        sa.Column("send_id", sa.Uuid(), nullable=False),
        sa.Column("sop_key", sa.String(64), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("sop_class", sa.String(64), nullable=False),
        sa.Column("state", _one_of("sent_state", OBJECT_STATES), nullable=False),
        sa.Column("proof", _one_of("send_proof", PROOFS), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("sealed_comment", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("changed", TIME, nullable=False),
        _reference("dicom_sent_objects", "send_id", "dicom_sends"),
        _reference("dicom_sent_objects", "instance_id", "instances"),
        sa.PrimaryKeyConstraint("send_id", "sop_key", name=op.f("pk_dicom_sent_objects")),
    )
    op.create_index("ix_dicom_sent_objects_instance", "dicom_sent_objects", ["instance_id"])
    for table in LOOKED_THROUGH:
        op.create_index(f"ix_{table}_created", table, ["created"])


def downgrade() -> None:
    for table in LOOKED_THROUGH:
        op.drop_index(f"ix_{table}_created", table_name=table)
    for table in ("dicom_sent_objects", "dicom_sends", "dicom_destinations"):
        op.drop_table(table)


def _one_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

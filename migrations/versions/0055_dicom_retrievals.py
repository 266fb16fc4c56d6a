"""Which DICOM nodes may be queried, back-fills by date, what is to be retrieved, and each object
asked for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
KINDS = ("get", "move")
STATES = ("waiting", "done", "failed", "dropped")
BACKFILL_STATES = ("running", "paused", "ended", "done")
ASKED_STATES = ("waiting", "stored", "refused", "failed")
COUNTS = ("attempts", "found", "known", "retrieved", "refused", "failed")


def upgrade() -> None:
    op.create_table(
        "dicom_sources",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _one_of("retrieve_kind", KINDS), nullable=False),
        sa.Column("priors", sa.Boolean(), nullable=False),
        sa.Column("at_once", sa.SmallInteger(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("looked_until", TIME, nullable=False),
        sa.CheckConstraint("at_once BETWEEN 1 AND 4", name=op.f("ck_dicom_sources_at_once")),
        _reference("dicom_sources", "node_id", "dicom_nodes"),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_dicom_sources")),
    )
    op.create_table(
        "dicom_backfills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("modality", sa.String(2), nullable=False),
        *(sa.Column(f"{name}_day", sa.Date(), nullable=False) for name in ("first", "last", "next")),
        sa.Column("state", _one_of("backfill_state", BACKFILL_STATES), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint("first_day <= last_day", name=op.f("ck_dicom_backfills_days")),
        _reference("dicom_backfills", "node_id", "dicom_nodes"),
        _reference("dicom_backfills", "asked_by", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_backfills")),
    )
    op.create_index("ix_dicom_backfills_node", "dicom_backfills", ["node_id", "state"])
    op.create_table(
        "dicom_retrievals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=True),
        sa.Column("backfill_id", sa.Uuid(), nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        sa.Column("state", _one_of("retrieval_state", STATES), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        _reference("dicom_retrievals", "node_id", "dicom_nodes"),
        _reference("dicom_retrievals", "study_id", "studies"),
        _reference("dicom_retrievals", "backfill_id", "dicom_backfills"),
        _reference("dicom_retrievals", "asked_by", "users"),
        sa.CheckConstraint(
            "(study_id IS NULL) <> (backfill_id IS NULL)",
            name=op.f("ck_dicom_retrievals_one_purpose"),
        ),
        sa.CheckConstraint(
            "(day IS NULL) = (backfill_id IS NULL)", name=op.f("ck_dicom_retrievals_day")
        ),
        sa.UniqueConstraint(
            "backfill_id", "day", name=op.f("uq_dicom_retrievals_backfill_id_day")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_retrievals")),
    )
    op.create_index("ix_dicom_retrievals_due", "dicom_retrievals", ["state", "next_at"])
    op.create_index("ix_dicom_retrievals_study", "dicom_retrievals", ["study_id", "node_id"])
    op.create_index("ix_dicom_retrievals_node", "dicom_retrievals", ["node_id", "claimed_until"])
    op.create_index("ix_dicom_retrievals_created", "dicom_retrievals", ["created"])
    op.create_table(
        "dicom_asked_objects",
        sa.Column("retrieval_id", sa.Uuid(), nullable=False),
        sa.Column("asked_key", sa.String(64), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("patient_key", sa.String(64), nullable=False),
        sa.Column("state", _one_of("asked_state", ASKED_STATES), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("until", TIME, nullable=False),
        _reference("dicom_asked_objects", "retrieval_id", "dicom_retrievals"),
        _reference("dicom_asked_objects", "node_id", "dicom_nodes"),
        sa.PrimaryKeyConstraint("retrieval_id", "asked_key", name=op.f("pk_dicom_asked_objects")),
    )
    op.create_index("ix_dicom_asked_objects_node", "dicom_asked_objects", ["node_id", "asked_key"])
    with op.batch_alter_table("team_choices") as batch:
        batch.add_column(sa.Column("priors_most", sa.SmallInteger(), nullable=True))
        batch.create_check_constraint(
            op.f("ck_team_choices_priors_most"), "priors_most BETWEEN 1 AND 20"
        )


def downgrade() -> None:
    with op.batch_alter_table("team_choices") as batch:
        batch.drop_constraint(op.f("ck_team_choices_priors_most"), type_="check")
        batch.drop_column("priors_most")
    for table in (
        "dicom_asked_objects",
        "dicom_retrievals",
        "dicom_backfills",
        "dicom_sources",
    ):
        op.drop_table(table)


def _one_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

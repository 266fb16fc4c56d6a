"""Two patient IDs that turned out to be one patient."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

REASONS = ("two_ids", "typing_error", "temporary_id", "other_issuer", "other")
KEYS = (
    ("team_id", "teams"),
    ("one_id", "studies"),
    ("other_id", "studies"),
    ("author_id", "users"),
    ("undone_by", "users"),
)


def upgrade() -> None:
    op.create_table(
        "patient_merges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("one_id", sa.Uuid(), nullable=False),
        sa.Column("other_id", sa.Uuid(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                *REASONS, name="merge_reason", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_by", sa.Uuid(), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_patient_merges_{column}_{table}")
            )
            for column, table in KEYS
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_merges")),
    )
    op.create_index("ix_patient_merges_team", "patient_merges", ["team_id", "undone_at"])


def downgrade() -> None:
    op.drop_table("patient_merges")

"""Second reads: which exams go to a blind second reader, and how it ended."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0035"
branch_labels = None
depends_on = None

STRATA = ("likely", "possible", "none_found", "no_result")
FINDINGS = ("none", "right", "left", "both", "unsure")
KEYS = (
    ("study_id", "studies"),
    ("first_review_id", "reviews"),
    ("asked_by", "users"),
    ("model_id", "model_versions"),
    ("second_review_id", "reviews"),
    ("third_review_id", "reviews"),
)
CHECKS = {
    "probability": "probability > 0 AND probability <= 1",
    "why": "(probability IS NULL) <> (asked_by IS NULL)",
    "end": "(consensus IS NULL) = (ended IS NULL)",
    "second": "ended IS NULL OR second_review_id IS NOT NULL",
}


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "second_reads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("first_review_id", sa.Uuid(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        sa.Column("stratum", one_of("stratum", *STRATA), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("created", time, nullable=False),
        sa.Column("second_review_id", sa.Uuid(), nullable=True),
        sa.Column("third_review_id", sa.Uuid(), nullable=True),
        sa.Column("outline_dice", sa.Double(), nullable=True),
        sa.Column("consensus", one_of("consensus", *FINDINGS), nullable=True),
        sa.Column("ended", time, nullable=True),
        *(
            sa.CheckConstraint(text, name=op.f(f"ck_second_reads_{name}"))
            for name, text in CHECKS.items()
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_second_reads_{column}_{table}")
            )
            for column, table in KEYS
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_second_reads")),
    )
    op.create_index("uq_second_reads_study", "second_reads", ["study_id"], unique=True)
    op.create_index(
        "ix_second_reads_open",
        "second_reads",
        ["study_id"],
        sqlite_where=sa.text("ended IS NULL"),
        postgresql_where=sa.text("ended IS NULL"),
    )
    op.create_index("ix_second_reads_created", "second_reads", ["created"])


def downgrade() -> None:
    op.drop_table("second_reads")

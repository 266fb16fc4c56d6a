"""Search by family name: keyed digests, filled for exams from before by `python -m portal upgrade`."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "study_names",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_names_study_id_studies")
        ),
        sa.PrimaryKeyConstraint("study_id", "key", name=op.f("pk_study_names")),
    )
    op.create_index("ix_study_names_key", "study_names", ["key", "study_id"])


def downgrade() -> None:
    op.drop_table("study_names")

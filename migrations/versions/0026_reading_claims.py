"""Who reads an exam just now."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reading_claims",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_reading_claims_study_id_studies")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["users.id"], name=op.f("fk_reading_claims_reader_id_users")
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_reading_claims")),
    )


def downgrade() -> None:
    op.drop_table("reading_claims")

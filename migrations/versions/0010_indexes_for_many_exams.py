"""Indexes for many exams: which exam a row is now, arrivals, what waits, a reader's own reviews."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LISTED = "purged_at IS NULL AND joined_into IS NULL"


def upgrade() -> None:
    op.drop_index("ix_studies_joined", "studies")
    op.create_index(
        "ix_studies_joined",
        "studies",
        ["joined_into"],
        sqlite_where=sa.text("joined_into IS NOT NULL"),
    )
    op.create_index("ix_studies_exam", "studies", [sa.text("coalesce(joined_into, id)")])
    op.create_index(
        "ix_studies_created",
        "studies",
        ["created", "team_id", "id"],
        sqlite_where=sa.text(LISTED),
        postgresql_where=sa.text(LISTED),
    )
    op.create_index(
        "ix_jobs_waiting", "jobs", ["kind", "state", sa.text("(-priority)"), "created"]
    )
    op.create_index("ix_reviews_reader", "reviews", ["reader_id", "created", "study_id"])
    op.drop_index(op.f("ix_reviews_reader_id"), "reviews")


def downgrade() -> None:
    op.create_index(op.f("ix_reviews_reader_id"), "reviews", ["reader_id"])
    op.drop_index("ix_reviews_reader", "reviews")
    op.drop_index("ix_jobs_waiting", "jobs")
    op.drop_index("ix_studies_created", "studies")
    op.drop_index("ix_studies_exam", "studies")
    op.drop_index("ix_studies_joined", "studies")
    op.create_index("ix_studies_joined", "studies", ["joined_into"])

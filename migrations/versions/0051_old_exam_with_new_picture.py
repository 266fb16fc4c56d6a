"""Since when an exam that was an old one is none any more."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("new_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_studies_new_since"), "studies", ["new_since"])


def downgrade() -> None:
    op.drop_index(op.f("ix_studies_new_since"), "studies")
    op.drop_column("studies", "new_since")

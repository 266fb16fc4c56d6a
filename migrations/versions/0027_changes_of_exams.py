"""When what a list shows of an exam changed last: pages that are open are sent what has changed."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("changed", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_studies_changed"), "studies", ["changed"])


def downgrade() -> None:
    op.drop_index(op.f("ix_studies_changed"), "studies")
    op.drop_column("studies", "changed")

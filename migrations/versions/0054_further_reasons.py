"""Further reasons of a review, beside the first."""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reviews", sa.Column("further_reasons", sa.JSON(), nullable=True))


def downgrade() -> None:
    """A version before would state one reason alone of what a reader gave several for."""
    query = sa.text("SELECT count(*) FROM reviews WHERE further_reasons IS NOT NULL")
    if op.get_bind().scalar(query):
        raise RuntimeError("reviews have several reasons, which the version before does not know")
    op.drop_column("reviews", "further_reasons")

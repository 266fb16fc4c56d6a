"""Other findings of networks of several classes, and why a worse model was promoted.

Both columns are empty in older rows, which changes no digest that the access log binds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("predictions", sa.Column("other_findings", sa.JSON(), nullable=True))
    op.add_column("model_versions", sa.Column("override_reason", sa.String(500), nullable=True))


def downgrade() -> None:
    op.drop_column("model_versions", "override_reason")
    op.drop_column("predictions", "other_findings")

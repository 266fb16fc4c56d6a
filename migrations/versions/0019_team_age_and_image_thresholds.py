"""From which age a team has under-18s analysed; a prediction's thresholds of the whole picture."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

THRESHOLDS = ("image_threshold", "likely_threshold")


def upgrade() -> None:
    op.add_column("teams", sa.Column("age_min", sa.SmallInteger(), nullable=True))
    for name in THRESHOLDS:
        op.add_column("predictions", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    for name in THRESHOLDS:
        op.drop_column("predictions", name)
    op.drop_column("teams", "age_min")

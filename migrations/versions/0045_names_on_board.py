"""Whether the board of performance has the names of a team's readers; versions of drafts of rulers
and arrows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("team_choices", sa.Column("names_on_board", sa.Boolean(), nullable=True))
    op.add_column("review_drafts", sa.Column("version", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("review_drafts", "version")
    op.drop_column("team_choices", "names_on_board")

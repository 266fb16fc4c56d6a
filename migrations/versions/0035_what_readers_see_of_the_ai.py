"""What a reader could see of the AI is written into each review; exams seen in reviews are marked.

No copy of `reviews`, which SQLite would make without its triggers: columns alone are added.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0038"
branch_labels = None
depends_on = None

POLICIES = "ai_policy IN ('with_picture', 'after_verdict', 'never')"
UNSEEN = (
    "EXISTS (SELECT 1 FROM instances i WHERE i.study_id = studies.id AND NOT EXISTS "
    "(SELECT 1 FROM review_seen s WHERE s.instance_id = i.id))"
)
HAS_PICTURE = "EXISTS (SELECT 1 FROM instances i WHERE i.study_id = studies.id)"


def upgrade() -> None:
    policies = sa.CheckConstraint(POLICIES, name=op.f("ck_reviews_ai_policy"))
    op.add_column("reviews", sa.Column("ai_policy", sa.String(32), policies, nullable=True))
    op.add_column("reviews", sa.Column("ai_visible", sa.Boolean(), nullable=True))
    op.add_column(
        "studies", sa.Column("is_seen", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    # Those that were read are; of the others, those in which the model found something later.
    op.execute("UPDATE studies SET is_seen = true WHERE is_read")
    op.execute(
        f"UPDATE studies SET is_seen = true WHERE NOT is_read AND {HAS_PICTURE} AND NOT {UNSEEN}"  # noqa: S608 constants
    )


def downgrade() -> None:
    op.drop_column("studies", "is_seen")
    op.drop_column("reviews", "ai_visible")
    op.drop_column("reviews", "ai_policy")

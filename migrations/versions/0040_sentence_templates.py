"""A team's own wording of the findings sentence."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    language = sa.Enum(
        "en", name="sentence_language", native_enum=False, create_constraint=True, length=32
    )
    op.create_table(
        "sentence_templates",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("language", language, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.String(400), nullable=False),
        sa.Column("changed", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_sentence_templates_team_id_teams")
        ),
        sa.PrimaryKeyConstraint("team_id", "language", "kind", name=op.f("pk_sentence_templates")),
    )


def downgrade() -> None:
    op.drop_table("sentence_templates")

"""What a team may set: the AI's visibility, second reads, signing, old exams, escalation."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

BOUNDS = {
    "second_read_percent": (0, 100),
    "signing_minutes": (1, 600),
    "old_exam_hours": (1, 1000000),
    "escalation_minutes": (1, 1440),
}


def chosen(name: str, *values: str) -> sa.Column[str]:
    """A column that holds one of the values, or nothing."""
    kind = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(name, kind, nullable=True)


def upgrade() -> None:
    op.create_table(
        "team_choices",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        chosen("ai_shown", "with_picture", "after_verdict", "never"),
        sa.Column("second_read_percent", sa.SmallInteger(), nullable=True),
        sa.Column("signing_minutes", sa.SmallInteger(), nullable=True),
        sa.Column("old_exam_hours", sa.Integer(), nullable=True),
        sa.Column("escalates", sa.Boolean(), nullable=True),
        sa.Column("escalation_minutes", sa.SmallInteger(), nullable=True),
        chosen("language", "en"),
        *(
            sa.CheckConstraint(
                f"{name} BETWEEN {least} AND {most}", name=op.f(f"ck_team_choices_{name}")
            )
            for name, (least, most) in BOUNDS.items()
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_choices_team_id_teams")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_team_choices")),
    )


def downgrade() -> None:
    op.drop_table("team_choices")

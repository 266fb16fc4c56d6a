"""German beside English: for teams, for their sentences, and as a person's own choice."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

WAS = {"team_choices": "language", "sentence_templates": "sentence_language"}


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _allow(*languages: str) -> None:
    listed = ", ".join(f"'{language}'" for language in languages)
    for table, name in WAS.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
            batch.create_check_constraint(op.f(f"ck_{table}_{name}"), f"language IN ({listed})")


def upgrade() -> None:
    _allow("en", "de")
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("language", one_of("own_language", "en", "de"), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM sentence_templates WHERE language <> 'en'")
    op.execute("UPDATE team_choices SET language = NULL WHERE language <> 'en'")
    with op.batch_alter_table("users") as batch:
        batch.drop_constraint(op.f("ck_users_own_language"), type_="check")
        batch.drop_column("language")
    _allow("en")

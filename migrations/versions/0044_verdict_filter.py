"""How firmly the verdict on an exam stands, and the model of its result: what the worklist filters
by.
"""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

LISTED = "purged_at IS NULL AND joined_into IS NULL"
BEFORE = [
    *("team_id", "rank", "weight", "id", "is_read", "is_without_result", "band", "side", "size"),
    "reader_id",
]
STATES = "'ai_only', 'preliminary', 'final', 'amended'"
OF_EXAM = "SELECT coalesce(s.joined_into, s.id) FROM studies s JOIN"


def upgrade() -> None:
    uuid = "UUID" if op.get_bind().dialect.name == "postgresql" else "CHAR(32)"
    # Not by a copy of the table, which on SQLite would lose its indexes on expressions.
    op.execute(
        "ALTER TABLE studies ADD COLUMN verdict VARCHAR(32) NOT NULL DEFAULT 'ai_only' "
        f"CONSTRAINT ck_studies_study_verdict CHECK (verdict IN ({STATES}))"
    )
    op.execute(f"ALTER TABLE studies ADD COLUMN model_id {uuid}")
    for verdict, rows in (
        ("preliminary", "reviews r ON r.study_id = s.id"),
        ("final", "signatures g ON g.study_id = s.id"),
        ("amended", "signatures g ON g.study_id = s.id WHERE g.before_id IS NOT NULL"),
    ):
        op.execute(f"UPDATE studies SET verdict = '{verdict}' WHERE id IN ({OF_EXAM} {rows})")  # noqa: S608 constants
    # The newest result of the band that stands for the exam; of several models that found the same
    # the next change of the exam chooses as its list does.
    op.execute(
        "UPDATE studies SET model_id = (SELECT p.model_id FROM instances i JOIN predictions p "
        "ON p.instance_id = i.id WHERE i.study_id = studies.id AND (p.band = studies.band OR "
        "(p.band IS NULL AND studies.band IS NULL)) ORDER BY p.created DESC LIMIT 1)"
    )
    op.drop_index("ix_studies_team", "studies")
    _index(*BEFORE, "verdict", "model_id", "created")


def downgrade() -> None:
    op.drop_index("ix_studies_team", "studies")
    op.drop_column("studies", "model_id")
    op.drop_column("studies", "verdict")
    _index(*BEFORE, "created")


def _index(*columns: str) -> None:
    op.create_index(
        "ix_studies_team",
        "studies",
        list(columns),
        sqlite_where=sa.text(LISTED),
        postgresql_where=sa.text(LISTED),
    )

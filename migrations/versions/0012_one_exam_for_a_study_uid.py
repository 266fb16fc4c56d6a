"""A StudyInstanceUID leads to one exam, also once this was joined into another."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Of joined rows with the same UID as another, one of them is enough to lead to the exam.
    op.execute(
        "UPDATE studies SET study_uid_key = NULL WHERE joined_into IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM studies AS other WHERE other.team_id = studies.team_id "
        "AND other.study_uid_key = studies.study_uid_key AND other.id <> studies.id "
        "AND (other.joined_into IS NULL OR other.id < studies.id))"
    )
    op.drop_index("uq_studies_uid", "studies")
    _index("needs_upgrade = 0", "NOT needs_upgrade")


def downgrade() -> None:
    op.drop_index("uq_studies_uid", "studies")
    _index("joined_into IS NULL AND needs_upgrade = 0", "joined_into IS NULL AND NOT needs_upgrade")


def _index(of_sqlite: str, of_postgresql: str) -> None:
    op.create_index(
        "uq_studies_uid",
        "studies",
        ["team_id", "study_uid_key"],
        unique=True,
        sqlite_where=sa.text(of_sqlite),
        postgresql_where=sa.text(of_postgresql),
    )

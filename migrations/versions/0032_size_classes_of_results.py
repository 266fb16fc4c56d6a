"""The size class beside an exam is the one that the result stored, as the case page shows it.

It was derived from the share of the larger outline, which may not be the larger share.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

SIZES = {"small": "below_10", "moderate": "10_to_30", "large": "above_30", "unknown": "unknown"}
AT_ONCE = 2000


def upgrade() -> None:
    connection = op.get_bind()
    found = connection.execute(
        sa.text(
            "SELECT s.id, s.size, p.band, p.probability, p.measurements FROM studies s "
            "JOIN instances i ON i.study_id = s.id JOIN predictions p ON p.instance_id = i.id "
            "WHERE s.band IN ('likely', 'possible') AND p.band IN ('likely', 'possible') "
            "AND NOT EXISTS (SELECT 1 FROM predictions l WHERE l.instance_id = i.id "
            "AND l.created > p.created)"
        ).columns(id=sa.Uuid(), measurements=sa.JSON())
    )
    foremost: dict[Any, tuple[Any, str, str | None]] = {}
    for study_id, size, band, probability, measurements in found:
        key = (band != "likely", -(probability or 0.0))
        if study_id not in foremost or key < foremost[study_id][0]:
            stored = SIZES.get((measurements or {}).get("severity") or "")
            foremost[study_id] = key, size, stored
    studies = sa.table("studies", sa.column("id", sa.Uuid()), sa.column("size", sa.String()))
    fill = studies.update().where(studies.c.id == sa.bindparam("its_id"))
    rows = [
        {"its_id": study_id, "size": stored}
        for study_id, (_, size, stored) in foremost.items()
        if stored and stored != size
    ]
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(fill, rows[start : start + AT_ONCE])


def downgrade() -> None:
    """Nothing: the version before reads these classes, too."""

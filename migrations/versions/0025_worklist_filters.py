"""What the worklist filters by: size class and last reader beside each exam, a person's own filters.

Histories are read off an index: what a person sent by the time they sent it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

LISTED = "purged_at IS NULL AND joined_into IS NULL"
PLACED = ["team_id", "rank", "weight", "id", "is_read", "is_without_result", "band", "side"]
SIZES = ("below_10", "10_to_30", "above_30", "unknown")
AT_ONCE = 2000


def upgrade() -> None:
    listed = ", ".join(f"'{size}'" for size in SIZES)
    uuid = "UUID" if op.get_bind().dialect.name == "postgresql" else "CHAR(32)"
    # Not by a copy of the table, which on SQLite would lose its indexes on expressions.
    op.execute(
        "ALTER TABLE studies ADD COLUMN size VARCHAR(32) "
        f"CONSTRAINT ck_studies_study_size CHECK (size IN ({listed}))"
    )
    op.execute(
        f"ALTER TABLE studies ADD COLUMN reader_id {uuid} "
        "CONSTRAINT fk_studies_reader_id_users REFERENCES users (id)"
    )
    _fill()
    op.drop_index("ix_studies_team", "studies")
    _index(*PLACED, "size", "reader_id", "created")
    op.drop_index("ix_instances_sender", "instances")
    op.create_index("ix_instances_sender", "instances", ["uploaded_by", "study_id", "created"])
    op.create_index("ix_instances_sent", "instances", ["uploaded_by", "created", "study_id"])
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state", "kind", "lease_until", "study_id"])
    op.add_column("users", sa.Column("list_filters", sa.JSON(), nullable=True))
    op.drop_column("login_sessions", "list_filters")


def downgrade() -> None:
    op.add_column("login_sessions", sa.Column("list_filters", sa.JSON(), nullable=True))
    op.drop_column("users", "list_filters")
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state", "kind", "lease_until"])
    op.drop_index("ix_instances_sent", "instances")
    op.drop_index("ix_instances_sender", "instances")
    op.create_index("ix_instances_sender", "instances", ["uploaded_by", "study_id"])
    op.drop_index("ix_studies_team", "studies")
    op.drop_column("studies", "reader_id")
    op.drop_column("studies", "size")
    _index(*PLACED)


def _index(*columns: str) -> None:
    op.create_index(
        "ix_studies_team",
        "studies",
        list(columns),
        sqlite_where=sa.text(LISTED),
        postgresql_where=sa.text(LISTED),
    )


def _fill() -> None:
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "UPDATE studies SET reader_id = (SELECT r.reader_id FROM reviews r JOIN studies s "
            "ON s.id = r.study_id WHERE coalesce(s.joined_into, s.id) = studies.id "
            "ORDER BY r.created DESC LIMIT 1)"
        )
    )
    found = connection.execute(
        sa.text(
            "SELECT s.id, p.band, p.probability, p.measurements FROM studies s "
            "JOIN instances i ON i.study_id = s.id JOIN predictions p ON p.instance_id = i.id "
            "WHERE s.band IN ('likely', 'possible') AND p.band IN ('likely', 'possible') "
            "AND NOT EXISTS (SELECT 1 FROM predictions l WHERE l.instance_id = i.id "
            "AND l.created > p.created)"
        ).columns(id=sa.Uuid(), measurements=sa.JSON())
    )
    foremost: dict[Any, tuple[Any, str]] = {}
    for study_id, band, probability, measurements in found:
        key = (band != "likely", -(probability or 0.0))
        if study_id not in foremost or key < foremost[study_id][0]:
            foremost[study_id] = key, _size(measurements)
    studies = sa.table("studies", sa.column("id", sa.Uuid()), sa.column("size", sa.String()))
    fill = studies.update().where(studies.c.id == sa.bindparam("its_id"))
    rows = [{"its_id": study_id, "size": size} for study_id, (_, size) in foremost.items()]
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(fill, rows[start : start + AT_ONCE])


def _size(measurements: dict[str, Any] | None) -> str:
    """As `portal.studies.worklist_order` classes what the lists show of a finding."""
    extents = (measurements or {}).get("extents") or ()
    first = extents[0] if extents else {}
    share = first.get("fraction") if first.get("border_found") is not None else None
    if share is None:
        return "unknown"
    return "below_10" if share < 0.1 else "10_to_30" if share <= 0.3 else "above_30"

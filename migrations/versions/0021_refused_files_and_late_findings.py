"""Files that were refused in a session, the filters of its worklist, and cases in which the model
found something after they were read: these are to be read again.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_POSITIVE = ("likely", "possible")
# As `portal.studies.worklist_order` orders the group of the positive ones.
_BEHIND = 1e10

_studies = sa.table(
    "studies",
    sa.column("id", sa.Uuid()),
    sa.column("band", sa.String()),
    sa.column("created", sa.DateTime(timezone=True)),
    sa.column("is_read", sa.Boolean()),
    sa.column("rank", sa.SmallInteger()),
    sa.column("weight", sa.Float()),
)
_instances = sa.table("instances", sa.column("id", sa.Uuid()), sa.column("study_id", sa.Uuid()))
_predictions = sa.table(
    "predictions",
    sa.column("id", sa.Uuid()),
    sa.column("instance_id", sa.Uuid()),
    sa.column("band", sa.String()),
)
_seen = sa.table(
    "review_seen", sa.column("instance_id", sa.Uuid()), sa.column("prediction_id", sa.Uuid())
)


def upgrade() -> None:
    op.add_column("login_sessions", sa.Column("list_filters", sa.JSON(), nullable=True))
    op.create_table(
        "refused_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_refusal", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["login_sessions.id"],
            name=op.f("fk_refused_files_session_id_login_sessions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_files")),
    )
    op.create_index("ix_refused_files_session", "refused_files", ["session_id", "created"])
    op.create_index("ix_refused_files_created", "refused_files", ["created"])
    _bring_back_late_findings()


def _bring_back_late_findings() -> None:
    connection = op.get_bind()
    was_seen = sa.exists().where(_seen.c.instance_id == _instances.c.id)
    found = sa.exists().where(
        _predictions.c.instance_id == _instances.c.id, _predictions.c.band.in_(_POSITIVE)
    )
    saw_it = sa.exists().where(
        _seen.c.instance_id == _instances.c.id,
        _predictions.c.id == _seen.c.prediction_id,
        _predictions.c.band.in_(_POSITIVE),
    )
    late = sa.select(_instances.c.study_id).where(was_seen, found, sa.not_(saw_it))
    rows = connection.execute(
        sa.select(_studies.c.id, _studies.c.band, _studies.c.created).where(
            _studies.c.is_read, _studies.c.band.in_(_POSITIVE), _studies.c.id.in_(late)
        )
    ).all()
    for study_id, band, created in rows:
        weight = _seconds(created) + (_BEHIND if band == "possible" else 0.0)
        connection.execute(
            _studies.update()
            .where(_studies.c.id == study_id)
            .values(is_read=False, rank=0, weight=weight)
        )


def _seconds(created: datetime) -> float:
    aware = created if created.tzinfo else created.replace(tzinfo=UTC)  # SQLite has no zones
    return aware.timestamp()


def downgrade() -> None:
    op.drop_table("refused_files")
    op.drop_column("login_sessions", "list_filters")

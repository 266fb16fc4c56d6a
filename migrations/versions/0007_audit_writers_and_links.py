"""The access log without a common lock: writers, a chain of links, an index of cases.

The old rows stay as they are; each gets the link that its MAC already is. The lists that they
hold fill the index of cases. Also an index for files that are not current.
"""

import json
import uuid
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WRITERS = 65
_SEARCHED = ("actor", "study")
_APPEND_ONLY = ("audit_links", "audit_subjects")
_AT_ONCE = 2000

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_events = sa.table("audit_events", sa.column("seq", _number), sa.column("detail", sa.Text()))
_subjects = sa.table(
    "audit_subjects", sa.column("study_id", sa.Uuid()), sa.column("seq", sa.BigInteger())
)


def upgrade() -> None:
    # Columns are added without copying the table, so the triggers of `audit_events` stay.
    op.add_column("audit_events", sa.Column("writer", sa.SmallInteger(), nullable=True))
    op.add_column("audit_events", sa.Column("writer_seq", sa.BigInteger(), nullable=True))
    op.create_index(
        "uq_audit_events_writer", "audit_events", ["writer", "writer_seq"], unique=True
    )
    for column in _SEARCHED:  # the newest of a person or a case are read from the index alone
        op.drop_index(f"ix_audit_events_{column}", table_name="audit_events")
        op.create_index(f"ix_audit_events_{column}", "audit_events", [f"{column}_id", "seq"])
    op.add_column(
        "audit_head", sa.Column("linked", sa.Text(), nullable=False, server_default="{}")
    )
    writers = op.create_table(
        "audit_writers",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_writers")),
    )
    op.bulk_insert(
        writers, [{"id": i, "count": 0, "mac": "", "seal": ""} for i in range(WRITERS)]
    )
    op.create_table(
        "audit_links",
        sa.Column("position", _number, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_links")),
        sa.UniqueConstraint("seq", name=op.f("uq_audit_links_seq")),
    )
    op.execute("INSERT INTO audit_links (position, seq, mac) SELECT seq, seq, mac FROM audit_events")
    op.create_table(
        "audit_subjects",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "seq", name=op.f("pk_audit_subjects")),
    )
    for rows in _named():
        op.bulk_insert(_subjects, rows)
    _keep_append_only()
    op.create_index(
        "ix_blobs_not_current",
        "blobs",
        ["job_id"],
        sqlite_where=sa.text("current IS 0"),
        postgresql_where=sa.text("current IS false"),
    )
    if op.get_bind().dialect.name == "postgresql":
        last = op.get_bind().scalar(sa.select(sa.func.max(_events.c.seq))) or 0
        op.execute(f"CREATE SEQUENCE audit_events_numbers START {last + 1}")


def downgrade() -> None:
    connection = op.get_bind()
    newer = connection.scalar(
        sa.text("SELECT count(*) FROM audit_events WHERE writer IS NOT NULL")
    )
    if newer and context.get_revision_argument():  # to nothing at all it may go
        raise RuntimeError(
            f"The access log holds {newer} rows that the version before can't check: restore the "
            "backup that was made before the upgrade instead."
        )
    if connection.dialect.name == "postgresql":
        op.execute("DROP SEQUENCE audit_events_numbers")
    op.drop_index("ix_blobs_not_current", table_name="blobs")
    op.drop_table("audit_subjects")
    op.drop_table("audit_links")
    op.drop_table("audit_writers")
    op.drop_column("audit_head", "linked")
    for column in _SEARCHED:
        op.drop_index(f"ix_audit_events_{column}", table_name="audit_events")
        op.create_index(f"ix_audit_events_{column}", "audit_events", [f"{column}_id"])
    op.drop_index("uq_audit_events_writer", table_name="audit_events")
    op.drop_column("audit_events", "writer_seq")
    op.drop_column("audit_events", "writer")


def _named() -> Iterator[list[dict[str, object]]]:
    """The cases that the rows of lists name, row by row, the earlier first."""
    last = 0
    listed = sa.or_(_events.c.detail.contains('"studies"'), _events.c.detail.contains('"same_uid'))
    query = sa.select(_events).where(listed).order_by(_events.c.seq).limit(_AT_ONCE)
    while rows := op.get_bind().execute(query.where(_events.c.seq > last)).all():
        last = rows[-1].seq
        found = [
            {"study_id": study_id, "seq": row.seq}
            for row in rows
            for study_id in sorted(_studies(row.detail))
        ]
        if found:
            yield found


def _studies(detail: str) -> set[uuid.UUID]:
    """The cases of a detail; of one that is no longer as it was written, what can be read."""
    try:
        values = json.loads(detail)
        texts = [*values.get("studies", ()), values.get("same_uid_as")]
        return {uuid.UUID(text) for text in texts if text}
    except (ValueError, TypeError, AttributeError):
        return set()


def _keep_append_only() -> None:
    for table in _APPEND_ONLY:
        if op.get_bind().dialect.name == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
            continue
        op.execute(
            f"CREATE TRIGGER {table}_rows BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
        )

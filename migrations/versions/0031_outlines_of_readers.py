"""Readers' outlines: versions that are only added, their measurements, the draft that is edited.

`reviews.mask_blob_id` was never filled: a review names the outline of each picture instead.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# What is unique in the append-only tables, beside SQLite's own number of the row.
KEYS = {"outlines": "id", "outline_measurements": "outline_id"}


def upgrade() -> None:
    _make_tables()
    op.add_column("review_seen", sa.Column("outline_id", sa.Uuid(), nullable=True))
    op.drop_column("reviews", "mask_blob_id")
    for name, kind, begins in (("brush_mm", sa.Double(), "8"), ("brush_px", sa.Integer(), "40")):
        column = sa.Column(name, kind, nullable=False, server_default=sa.text(begins))
        op.add_column("viewer_preferences", column)
    for table, key in KEYS.items():
        if op.get_bind().dialect.name == "sqlite":
            _refuse_on_sqlite(table, key)
        else:
            _refuse_on_postgresql(table)


def downgrade() -> None:
    for name in ("brush_px", "brush_mm"):
        op.drop_column("viewer_preferences", name)
    op.add_column("reviews", sa.Column("mask_blob_id", sa.Uuid(), nullable=True))
    op.drop_column("review_seen", "outline_id")
    for table in ("outline_drafts", "outline_measurements", "outlines"):
        op.drop_table(table)


def _make_tables() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "outlines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("before_id", sa.Uuid(), nullable=True),
        sa.Column("prediction_id", sa.Uuid(), nullable=True),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("pixels", sa.Integer(), nullable=False),
        sa.Column("dice_model", sa.Double(), nullable=True),
        sa.Column("dice_before", sa.Double(), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("created", time, nullable=False),
        _reference("outlines", "instance_id", "instances"),
        _reference("outlines", "author_id", "users"),
        _reference("outlines", "prediction_id", "predictions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outlines")),
    )
    op.create_index("ix_outlines_instance", "outlines", ["instance_id", "created"])
    op.create_table(
        "outline_measurements",
        sa.Column("outline_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("measurements", sa.JSON(), nullable=False),
        sa.Column("created", time, nullable=False),
        _reference("outline_measurements", "outline_id", "outlines"),
        _reference("outline_measurements", "job_id", "jobs"),
        sa.PrimaryKeyConstraint("outline_id", name=op.f("pk_outline_measurements")),
    )
    op.create_table(
        "outline_drafts",
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("editor_id", sa.Uuid(), nullable=False),
        sa.Column("lock", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed_runs", sa.LargeBinary(), nullable=True),
        sa.Column("since", time, nullable=False),
        sa.Column("seen_at", time, nullable=False),
        _reference("outline_drafts", "instance_id", "instances"),
        _reference("outline_drafts", "editor_id", "users"),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_outline_drafts")),
    )


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)


def _refuse_on_sqlite(table: str, key: str) -> None:
    """As of revision 0014: no change, no removal, no replacement."""
    taken = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE {name} = NEW.{name})" for name in ("rowid", key)
    )
    for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", f"WHEN {taken} ")):
        op.execute(
            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} {when}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _refuse_on_postgresql(table: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_rows BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
    )

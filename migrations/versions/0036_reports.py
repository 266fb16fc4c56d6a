"""Reports: what was asked for, and the PDFs that were made; two more kinds of files."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0034"
branch_labels = None
depends_on = None

KINDS = (
    *("source", "pixels", "preview", "thumb", "probability", "mask", "overlay", "review_mask"),
    *("report_content", "report"),
)
NEW = KINDS[-2:]
# What is unique in the append-only tables, beside SQLite's own number of the row.
KEYS = {"reports": "id", "report_files": "report_id"}


def upgrade() -> None:
    _change_files(KINDS, f"kind NOT IN ({_listed(('review_mask', *NEW))})")
    _make_tables()
    for table, key in KEYS.items():
        if op.get_bind().dialect.name == "sqlite":
            _refuse_on_sqlite(table, key)
        else:
            _refuse_on_postgresql(table)


def downgrade() -> None:
    made = op.get_bind().scalar(sa.text("SELECT count(*) FROM reports"))
    if made:
        raise RuntimeError("there are reports, which the version before cannot store")
    for table in ("report_files", "reports"):
        op.drop_table(table)
    _change_files(KINDS[:-2], "kind <> 'review_mask'")


def _change_files(kinds: tuple[str, ...], one_each: str) -> None:
    """The kinds that a file may have, and those of which a picture has one that counts."""
    op.drop_index("uq_blobs_current", table_name="blobs")
    op.drop_index("ix_blobs_not_current", table_name="blobs")
    with op.batch_alter_table("blobs") as batch:
        batch.drop_constraint(op.f("ck_blobs_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_blobs_kind"), f"kind IN ({_listed(kinds)})")
    op.create_index(
        "uq_blobs_current",
        "blobs",
        ["instance_id", "kind"],
        unique=True,
        sqlite_where=sa.text(f"current = 1 AND {one_each}"),
        postgresql_where=sa.text(f"current AND {one_each}"),
    )
    op.create_index(
        "ix_blobs_not_current",
        "blobs",
        ["job_id"],
        sqlite_where=sa.text("current IS 0"),
        postgresql_where=sa.text("current IS false"),
    )


def _make_tables() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("signature_id", sa.Uuid(), nullable=True),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("with_ai", sa.Boolean(), nullable=False),
        sa.Column("created", time, nullable=False),
        _reference("reports", "study_id", "studies"),
        _reference("reports", "instance_id", "instances"),
        _reference("reports", "author_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index("ix_reports_study", "reports", ["study_id", "created"])
    op.create_table(
        "report_files",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("created", time, nullable=False),
        _reference("report_files", "report_id", "reports"),
        _reference("report_files", "job_id", "jobs"),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_report_files")),
    )


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


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

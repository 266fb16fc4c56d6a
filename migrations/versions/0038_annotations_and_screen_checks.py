"""Rulers and arrows that a review keeps, checks of screens, and the picture beside."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0040"
branch_labels = None
depends_on = None

# What is unique in the append-only tables, beside SQLite's own number of the row.
KEYS = {"review_annotations": ("review_id", "instance_id"), "screen_checks": ("id",)}
LOOKS = {"beside": sa.true(), "link_place": sa.true(), "link_window": sa.false()}


def upgrade() -> None:
    op.create_table(
        "review_annotations",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_annotations", sa.LargeBinary(), nullable=False),
        _reference("review_annotations", "review_id", "reviews"),
        _reference("review_annotations", "instance_id", "instances"),
        sa.PrimaryKeyConstraint("review_id", "instance_id", name=op.f("pk_review_annotations")),
    )
    op.create_index(
        op.f("ix_review_annotations_instance_id"), "review_annotations", ["instance_id"]
    )
    op.create_table(
        "screen_checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("screen", sa.String(64), nullable=False),
        sa.Column("dark", sa.Boolean(), nullable=False),
        sa.Column("light", sa.Boolean(), nullable=False),
        sa.Column("lines", sa.Boolean(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        _reference("screen_checks", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_screen_checks")),
    )
    op.create_index("ix_screen_checks_user", "screen_checks", ["user_id", "screen", "created"])
    op.add_column("reviews", sa.Column("screen_check_id", sa.Uuid(), nullable=True))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, begins in LOOKS.items():
        column = sa.Column(name, sa.Boolean(), nullable=False, server_default=begins)
        op.add_column("viewer_preferences", column)
    for table, keys in KEYS.items():
        if is_sqlite:
            _refuse_on_sqlite(table, keys)
        else:
            _refuse_on_postgresql(table)


def downgrade() -> None:
    for name in reversed(LOOKS):
        op.drop_column("viewer_preferences", name)
    op.drop_column("reviews", "screen_check_id")
    op.drop_table("screen_checks")
    op.drop_table("review_annotations")


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)


def _refuse_on_sqlite(table: str, keys: tuple[str, ...]) -> None:
    """As of revision 0014: no change, no removal, no replacement."""
    same = " AND ".join(f"{name} = NEW.{name}" for name in keys)
    taken = (
        f"EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid) "
        f"OR EXISTS (SELECT 1 FROM {table} WHERE {same})"
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

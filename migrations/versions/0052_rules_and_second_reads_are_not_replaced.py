"""Rules for arrivals are never changed, and of a second read nothing but how it goes on.

As of revision 0014. A later revision that lets SQLite copy one of these tables must make its
triggers again.
"""

from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

# What is unique in each table, beside SQLite's own number of the row.
KEYS = {
    "arrival_rules_versions": ("team_id, version",),
    "arrival_rules": ("id", "team_id, version, position"),
    "second_reads": ("id", "study_id"),
}
# What may change: a second read goes on, each step once.
FIXED = (
    *("id", "study_id", "first_review_id", "probability", "asked_by", "stratum", "model_id"),
    "created",
)
STEPS = ("second_review_id", "third_review_id", "outline_dice", "consensus", "ended")


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    refuse = _refuse_on_sqlite if is_sqlite else _refuse_on_postgresql
    same = "NEW.{0} IS OLD.{0}" if is_sqlite else "NEW.{0} IS NOT DISTINCT FROM OLD.{0}"
    fixed = [same.format(name) for name in (("rowid", *FIXED) if is_sqlite else FIXED)]
    steps = [f"(OLD.{name} IS NULL OR {same.format(name)})" for name in STEPS]
    goes_on = f"WHEN (NOT ({' AND '.join([*fixed, *steps])})) "
    for table in KEYS:
        refuse(table, goes_on if table == "second_reads" else "")


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in KEYS:
        for name in ("insert", "update", "delete") if is_sqlite else ("whole", "rows", "changes"):
            op.execute(f"DROP TRIGGER {table}_{name}" + ("" if is_sqlite else f" ON {table}"))


def _refuse_on_sqlite(table: str, update: str) -> None:
    taken = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE "
        + " AND ".join(f"{name} = NEW.{name}" for name in key.split(", "))
        + ")"
        for key in ("rowid", *KEYS[table])
    )
    for verb, when in (("UPDATE", update), ("DELETE", ""), ("INSERT", f"WHEN {taken} ")):
        op.execute(
            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} {when}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _refuse_on_postgresql(table: str, update: str) -> None:
    for name, verb, each in (
        ("whole", "TRUNCATE", "FOR EACH STATEMENT "),
        ("rows", "DELETE", "FOR EACH ROW "),
        ("changes", "UPDATE", f"FOR EACH ROW {update}"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {verb} ON {table} "
            f"{each}EXECUTE FUNCTION pleura_append_only()"
        )

"""Predictions, holds and models can't be changed or removed unseen, and no row can be replaced.

SQLite's `INSERT OR REPLACE` removes the old row without its DELETE trigger, unless the connection
asks for it: so an INSERT whose key is there already is refused by a trigger of its own. A later
revision that lets SQLite copy one of these tables must make its triggers again.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# What is unique in each table, beside SQLite's own number of the row, and where.
KEYS = {
    "audit_events": ("seq", "writer, writer_seq"),
    "audit_links": ("position", "seq"),
    "audit_subjects": ("study_id, seq",),
    "reviews": ("id",),
    "review_seen": ("review_id, instance_id",),
    "purges": ("study_id",),
    "predictions": ("id", "instance_id, model_id"),
    "holds": ("id", "study_id WHERE lifted_at IS NULL"),
    "model_versions": ("id", "name, version, sha256", "state WHERE state = 'active'"),
}
# What may change of a row: a hold is lifted once, a model has a state.
LIFTED = ("id", "study_id", "reason", "reference", "set_by", "set_at")
MODEL = ("id", "name", "version", "sha256", "created")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _refuse("predictions", "UPDATE")
        for table in ("predictions", "holds", "model_versions"):
            _refuse(table, "DELETE")
        lifts = "OLD.lifted_at IS NULL AND NEW.lifted_at IS NOT NULL"
        _refuse("holds", "UPDATE", f"NOT ({lifts} AND {_same(LIFTED)})")
        other = "SELECT 1 FROM model_versions WHERE state = 'active' AND id <> OLD.id"
        replaces = f"NEW.state = 'active' AND EXISTS ({other})"
        _refuse("model_versions", "UPDATE", f"NOT ({_same(MODEL)}) OR ({replaces})")
        for table, keys in KEYS.items():
            taken = " OR ".join([_taken(table, "rowid"), *(_taken(table, key) for key in keys)])
            _refuse(table, "INSERT", taken)
        return
    for table in ("predictions", "holds", "model_versions"):
        op.execute(
            f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_rows BEFORE DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
        )
    same = "({}) IS NOT DISTINCT FROM ({})"
    hold, model = (
        same.format(*(", ".join(f"{row}.{name}" for name in names) for row in ("OLD", "NEW")))
        for names in (LIFTED, MODEL)
    )
    for table, allowed in (
        ("predictions", "false"),
        ("holds", f"OLD.lifted_at IS NULL AND NEW.lifted_at IS NOT NULL AND {hold}"),
        ("model_versions", model),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_changes BEFORE UPDATE ON {table} "
            f"FOR EACH ROW WHEN (NOT ({allowed})) EXECUTE FUNCTION pleura_append_only()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in KEYS:
            op.execute(f"DROP TRIGGER {table}_insert")
        for table in ("predictions", "holds", "model_versions"):
            op.execute(f"DROP TRIGGER {table}_update")
            op.execute(f"DROP TRIGGER {table}_delete")
        return
    for table in ("predictions", "holds", "model_versions"):
        for name in ("whole", "rows", "changes"):
            op.execute(f"DROP TRIGGER {table}_{name} ON {table}")


def _refuse(table: str, verb: str, when: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
        + (f"WHEN {when} " if when else "")
        + f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _same(names: tuple[str, ...]) -> str:
    return " AND ".join(f"NEW.{name} IS OLD.{name}" for name in ("rowid", *names))


def _taken(table: str, key: str) -> str:
    """Whether a row has this key already, of those that the condition is about."""
    names, _, where = key.partition(" WHERE ")
    same = [f"{name} = NEW.{name}" for name in names.split(", ")]
    if not where:
        return f"EXISTS (SELECT 1 FROM {table} WHERE {' AND '.join(same)})"
    found = f"EXISTS (SELECT 1 FROM {table} WHERE {' AND '.join([*same, where])})"
    return f"(NEW.{where} AND {found})"

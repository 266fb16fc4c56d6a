"""Critical findings, who was informed of them, the rota of each team, and what is sent out."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0037"
branch_labels = None
depends_on = None

# What of a critical finding never changes; the rest does as long as it is open.
STATED = ("id", "study_id", "team_id", "review_id", "stated_by", "finding", "created")
FINDINGS = ("none", "right", "left", "both", "unsure")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _make_findings()
    _make_communications()
    op.create_table(
        "rota_places",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        _reference("rota_places", "team_id", "teams"),
        _reference("rota_places", "user_id", "users"),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_rota_places")),
    )
    _make_notifications()
    if op.get_bind().dialect.name == "sqlite":
        same = " AND ".join(f"NEW.{name} IS OLD.{name}" for name in ("rowid", *STATED))
        _refuse_on_sqlite("critical_findings", f"WHEN NOT (OLD.state = 'open' AND {same}) ")
        _refuse_on_sqlite("communications")
    else:
        rows = (", ".join(f"{row}.{name}" for name in STATED) for row in ("OLD", "NEW"))
        same = "({}) IS NOT DISTINCT FROM ({})".format(*rows)
        _refuse_on_postgresql("critical_findings", f"WHEN (NOT (OLD.state = 'open' AND {same})) ")
        _refuse_on_postgresql("communications")


def downgrade() -> None:
    for table in ("notifications", "rota_places", "communications", "critical_findings"):
        op.drop_table(table)


def _make_findings() -> None:
    name = "critical_findings"
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("stated_by", sa.Uuid(), nullable=False),
        _coded("finding", "critical_finding", *FINDINGS),
        _coded("state", "critical_state", "open", "closed", "withdrawn"),
        sa.Column("created", TIME, nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("due", TIME, nullable=True),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("exhausted_at", TIME, nullable=True),
        sa.Column("ended_by", sa.Uuid(), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        _reference(name, "study_id", "studies"),
        _reference(name, "team_id", "teams"),
        _reference(name, "review_id", "reviews"),
        _reference(name, "stated_by", "users"),
        _reference(name, "acknowledged_by", "users"),
        _reference(name, "ended_by", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_critical_findings")),
    )
    op.create_index("ix_critical_findings_study", name, ["study_id", "created"])
    op.create_index("ix_critical_findings_team", name, ["team_id", "state", "created"])
    op.create_index("ix_critical_findings_due", name, ["due"])


def _make_communications() -> None:
    name = "communications"
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("finding_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_person", sa.LargeBinary(), nullable=False),
        sa.Column("informed_by", sa.Uuid(), nullable=False),
        sa.Column("informed_at", TIME, nullable=False),
        _coded("means", "means", "phone", "in_person", "message", "other"),
        sa.Column("read_back", sa.Boolean(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference(name, "finding_id", "critical_findings"),
        _reference(name, "study_id", "studies"),
        _reference(name, "informed_by", "users"),
        _reference(name, "author_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_communications")),
    )
    op.create_index("ix_communications_finding", name, ["finding_id", "created"])


def _make_notifications() -> None:
    name = "notifications"
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("finding_id", sa.Uuid(), nullable=False),
        _coded("channel", "channel", "email", "webhook"),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        _coded("state", "notification_state", "waiting", "sent", "failed", "dropped"),
        sa.Column("created", TIME, nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("error", sa.String(40), nullable=False),
        _reference(name, "finding_id", "critical_findings"),
        _reference(name, "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index("ix_notifications_state", name, ["state", "next_at"])
    op.create_index("ix_notifications_created", name, ["created"])
    op.create_index("ix_notifications_finding", name, ["finding_id"])


def _coded(column: str, name: str, *values: str) -> sa.Column[str]:
    kind = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(column, kind, nullable=False)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)


def _refuse_on_sqlite(table: str, update: str = "") -> None:
    """As of revision 0014: no removal, no replacement, and no change but for the condition."""
    taken = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE {name} = NEW.{name})" for name in ("rowid", "id")
    )
    for verb, when in (("UPDATE", update), ("DELETE", ""), ("INSERT", f"WHEN {taken} ")):
        op.execute(
            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} {when}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _refuse_on_postgresql(table: str, update: str = "") -> None:
    for name, verb, each in (
        ("whole", "TRUNCATE", "FOR EACH STATEMENT "),
        ("rows", "DELETE", "FOR EACH ROW "),
        ("changes", "UPDATE", f"FOR EACH ROW {update}"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {verb} ON {table} "
            f"{each}EXECUTE FUNCTION pleura_append_only()"
        )

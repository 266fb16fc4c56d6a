"""Signatures of exams and addenda to them; how a person proved who they are; further reasons.

A model's results can be withdrawn. SQLite copies `reviews` for its check of reasons and forgets the
table's triggers, so they are made again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

OLD_REASONS = (
    *("missed", "false_alarm", "outline_too_large", "outline_too_small", "wrong_side"),
    *("skin_fold", "poor_image", "other"),
)
NEW_REASONS = ("chest_drain", "bulla", "clothing", "scapula")
PROOFS = ("password_code", "password_passkey", "sso_code", "sso_passkey")
RETRACTIONS = ("wrong_results", "wrong_settings", "withdrawn_by_maker", "incident", "other")
TABLES = ("signatures", "addenda")
KEYS = {"reviews": ("id",), "signatures": ("id", "review_id"), "addenda": ("id",)}


def upgrade() -> None:
    _check_reasons((*OLD_REASONS, *NEW_REASONS))
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    time, uuid = ("TIMESTAMPTZ", "UUID") if is_postgresql else ("DATETIME", "CHAR(32)")
    # Not by copies of the tables, which on SQLite would lose their triggers.
    for table, column in (
        (
            "login_sessions",
            "step_up_method VARCHAR(32) CONSTRAINT ck_login_sessions_proof "
            f"CHECK (step_up_method IN ({_listed(PROOFS)}))",
        ),
        ("model_versions", f"retracted_at {time}"),
        (
            "model_versions",
            f"retracted_by {uuid} CONSTRAINT fk_model_versions_retracted_by_users "
            "REFERENCES users (id)",
        ),
        (
            "model_versions",
            "retraction_reason VARCHAR(32) CONSTRAINT ck_model_versions_retraction_reason "
            f"CHECK (retraction_reason IN ({_listed(RETRACTIONS)}))",
        ),
    ):
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    _make_tables()
    for table in TABLES:
        if is_postgresql:
            _refuse_on_postgresql(table)
        else:
            _refuse_on_sqlite(table)


def downgrade() -> None:
    connection = op.get_bind()
    used = connection.scalar(
        sa.text(f"SELECT count(*) FROM reviews WHERE reason IN ({_listed(NEW_REASONS)})")
    )
    if used or connection.scalar(sa.text("SELECT count(*) FROM signatures")):
        raise RuntimeError("exams are signed, or reasons given, which the version before lacks")
    for table in reversed(TABLES):
        op.drop_table(table)
    for name in ("retraction_reason", "retracted_by", "retracted_at"):
        op.execute(f"ALTER TABLE model_versions DROP COLUMN {name}")
    op.execute("ALTER TABLE login_sessions DROP COLUMN step_up_method")
    _check_reasons(OLD_REASONS)


def _check_reasons(words: tuple[str, ...]) -> None:
    with op.batch_alter_table("reviews") as batch:
        batch.drop_constraint(op.f("ck_reviews_reason"), type_="check")
        batch.create_check_constraint(op.f("ck_reviews_reason"), f"reason IN ({_listed(words)})")
    if op.get_bind().dialect.name == "sqlite":
        _refuse_on_sqlite("reviews")


def _make_tables() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "signatures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("signer_id", sa.Uuid(), nullable=False),
        sa.Column("before_id", sa.Uuid(), nullable=True),
        sa.Column("proof", sa.String(32), nullable=False),
        sa.Column("proved_at", time, nullable=False),
        sa.Column("hashes", sa.JSON(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=True),
        sa.Column("created", time, nullable=False),
        sa.CheckConstraint(f"proof IN ({_listed(PROOFS)})", name=op.f("ck_signatures_proof")),
        _reference("signatures", "study_id", "studies"),
        _reference("signatures", "review_id", "reviews"),
        _reference("signatures", "signer_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signatures")),
        sa.UniqueConstraint("review_id", name=op.f("uq_signatures_review_id")),
    )
    op.create_index("ix_signatures_study", "signatures", ["study_id", "created"])
    op.create_table(
        "addenda",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("signature_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_text", sa.LargeBinary(), nullable=False),
        sa.Column("created", time, nullable=False),
        _reference("addenda", "study_id", "studies"),
        _reference("addenda", "signature_id", "signatures"),
        _reference("addenda", "author_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addenda")),
    )
    op.create_index("ix_addenda_study", "addenda", ["study_id", "created"])


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _refuse_on_sqlite(table: str) -> None:
    """As of revision 0014: no change, no removal, no replacement."""
    taken = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})" for key in ("rowid", *KEYS[table])
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

"""People and access: broken glass, passkeys, single sign-on, and the log searched by event.

The index on `audit_events` is made without copying the table, so its triggers stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REASONS = ("emergency", "second_opinion", "incident", "fault")


def upgrade() -> None:
    op.create_table(
        "break_glass",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                *REASONS, name="glass_reason", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("sealed_words", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_break_glass_study_id_studies")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_break_glass_user_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["ended_by"], ["users.id"], name=op.f("fk_break_glass_ended_by_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_break_glass")),
    )
    op.create_index("ix_break_glass_person", "break_glass", ["user_id", "study_id", "expires"])
    op.create_index(op.f("ix_break_glass_study_id"), "break_glass", ["study_id"])
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("credential_key", sa.String(length=64), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_passkeys_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential_key", name=op.f("uq_passkeys_credential_key")),
    )
    op.create_index(op.f("ix_passkeys_user_id"), "passkeys", ["user_id"])
    op.add_column("login_sessions", sa.Column("challenge", sa.String(length=120), nullable=True))
    op.add_column(
        "login_sessions", sa.Column("challenge_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("users", sa.Column("sso_key", sa.String(length=64), nullable=True))
    op.add_column(
        "users",
        sa.Column("local_sign_in", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_index(op.f("ix_users_sso_key"), "users", ["sso_key"], unique=True)
    op.create_index("ix_audit_events_event", "audit_events", ["event", "seq"])


def downgrade() -> None:
    op.drop_index("ix_audit_events_event", "audit_events")
    op.drop_index(op.f("ix_users_sso_key"), "users")
    op.drop_column("users", "local_sign_in")
    op.drop_column("users", "sso_key")
    op.drop_column("login_sessions", "challenge_at")
    op.drop_column("login_sessions", "challenge")
    op.drop_table("passkeys")
    op.drop_table("break_glass")

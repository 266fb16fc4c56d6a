"""The life of data: legal holds, and the proofs of purges, which are only ever added."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "legal_dispute",
                "incident",
                "authority",
                "other",
                name="hold_reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("set_by", sa.Uuid(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_by", sa.Uuid(), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lift_reference", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["lifted_by"], ["users.id"], name=op.f("fk_holds_lifted_by_users")
        ),
        sa.ForeignKeyConstraint(["set_by"], ["users.id"], name=op.f("fk_holds_set_by_users")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_holds_study_id_studies")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index("ix_holds_study", "holds", ["study_id"], unique=False)
    op.create_index(
        "uq_holds_in_force",
        "holds",
        ["study_id"],
        unique=True,
        sqlite_where=sa.text("lifted_at IS NULL"),
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "purges",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("case_number", sa.String(length=6), nullable=False),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purged_by", sa.Uuid(), nullable=True),
        sa.Column(
            "reason",
            sa.Enum(
                "patient_request",
                "sent_by_mistake",
                "wrong_patient",
                "test_data",
                "retention_ended",
                "other",
                name="purge_reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["purged_by"], ["users.id"], name=op.f("fk_purges_purged_by_users")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_purges_study_id_studies")
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_purges")),
    )
    op.create_index("ix_purges_at", "purges", ["purged_at"], unique=False)
    _keep_append_only()


def downgrade() -> None:
    op.drop_table("purges")  # and its triggers with it
    op.drop_table("holds")


def _keep_append_only() -> None:
    """As revision 0001 does for the access log; its function is there on PostgreSQL."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER purges_{verb.lower()} BEFORE {verb} ON purges "
                "BEGIN SELECT RAISE(ABORT, 'purges is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER purges_rows BEFORE UPDATE OR DELETE ON purges "
        "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
    )
    op.execute(
        "CREATE TRIGGER purges_whole BEFORE TRUNCATE ON purges "
        "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
    )

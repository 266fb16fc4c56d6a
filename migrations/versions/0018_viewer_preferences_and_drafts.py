"""What the viewer remembers of a person, readers' drafts, and the log's rows by their subject."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    op.create_table(
        "viewer_preferences",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("overlay", _one_of("overlay", "off", "key", "on"), nullable=False),
        sa.Column("mode", _one_of("mode", "outline", "fill", "heat"), nullable=False),
        sa.Column("inverted", sa.Boolean(), nullable=False),
        sa.Column("preset", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_viewer_preferences_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_viewer_preferences")),
    )
    op.create_table(
        "review_drafts",
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_rulers", sa.LargeBinary(), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["users.id"], name=op.f("fk_review_drafts_reader_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_review_drafts_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("reader_id", "instance_id", name=op.f("pk_review_drafts")),
    )
    op.create_index("ix_review_drafts_instance", "review_drafts", ["instance_id"])
    op.create_index("ix_audit_events_subject", "audit_events", ["subject_id", "seq"])


def downgrade() -> None:
    op.drop_index("ix_audit_events_subject", "audit_events")
    op.drop_table("review_drafts")
    op.drop_table("viewer_preferences")

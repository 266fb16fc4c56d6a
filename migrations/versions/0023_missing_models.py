"""Which workers lacked the model that a job required, and how many jobs a worker can do at once."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "missing_models",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["worker_tokens.id"],
            name=op.f("fk_missing_models_token_id_worker_tokens"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_missing_models")),
    )
    op.create_index("ix_missing_models_worker", "missing_models", ["worker"])
    op.add_column(
        "workers", sa.Column("slots", sa.Integer(), nullable=False, server_default="1")
    )
    with op.batch_alter_table("workers") as batch:
        batch.alter_column("slots", existing_type=sa.Integer(), server_default=None)


def downgrade() -> None:
    op.drop_column("workers", "slots")
    op.drop_table("missing_models")

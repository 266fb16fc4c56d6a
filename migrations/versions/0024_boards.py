"""Monthly summaries for the boards of performance."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "performance_months",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model_versions.id"],
            name=op.f("fk_performance_months_model_id_model_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_months")),
        sa.UniqueConstraint(
            "month", "model_id", name=op.f("uq_performance_months_month_model_id")
        ),
    )
    op.create_index(
        "uq_performance_months_all",
        "performance_months",
        ["month"],
        unique=True,
        sqlite_where=sa.text("model_id IS NULL"),
        postgresql_where=sa.text("model_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("performance_months")

"""Frozen data sets: which there are, and the digests of their manifests."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cohorts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("picture_names", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_cohorts_team_id_teams")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohorts")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_cohorts_name_version")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _refuse_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER cohorts_whole BEFORE TRUNCATE ON cohorts "
            "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
        )
        op.execute(
            "CREATE TRIGGER cohorts_rows BEFORE UPDATE OR DELETE ON cohorts "
            "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
        )


def downgrade() -> None:
    op.drop_table("cohorts")


def _refuse_on_sqlite() -> None:
    """As of revision 0014: no change, no removal, no replacement."""
    same = (
        "EXISTS (SELECT 1 FROM cohorts WHERE rowid = NEW.rowid OR id = NEW.id "
        "OR (name = NEW.name AND version = NEW.version))"
    )
    for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", f"WHEN {same} ")):
        op.execute(
            f"CREATE TRIGGER cohorts_{verb.lower()} BEFORE {verb} ON cohorts {when}"
            "BEGIN SELECT RAISE(ABORT, 'cohorts is append-only'); END"
        )

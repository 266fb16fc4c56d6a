"""Rules for what arrives, which rule each picture met, and jobs that wait for off-peak hours."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ENDS = ("analyse", "off_peak", "keep", "quarantine")
CHANGES = ("added", "changed", "moved", "switched_on", "switched_off", "removed", "restored")
HOURS = ("off_peak_from", "off_peak_until")


def upgrade() -> None:
    op.create_table(
        "arrival_rules_versions",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("change", _one_of("rules_change", CHANGES), nullable=False),
        sa.Column("rule_name", sa.String(80), nullable=False),
        sa.Column("restored", sa.Integer(), nullable=True),
        sa.Column("created", TIME, nullable=False),
        _reference("arrival_rules_versions", "team_id", "teams"),
        _reference("arrival_rules_versions", "author_id", "users"),
        sa.PrimaryKeyConstraint("team_id", "version", name=op.f("pk_arrival_rules_versions")),
    )
    op.create_table(
        "arrival_rules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("rule", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("end", _one_of("rule_end", ENDS), nullable=False),
        sa.Column("reason", sa.String(120), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        _reference("arrival_rules", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrival_rules")),
        sa.UniqueConstraint(
            "team_id", "version", "position", name=op.f("uq_arrival_rules_team_id_version_position")
        ),
    )
    op.create_table(
        "arrivals",
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("end", _one_of("arrival_end", ENDS), nullable=False),
        sa.Column("sealed_facts", sa.LargeBinary(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        sa.Column("asked_at", TIME, nullable=True),
        _reference("arrivals", "instance_id", "instances"),
        _reference("arrivals", "team_id", "teams"),
        _reference("arrivals", "rule_id", "arrival_rules"),
        _reference("arrivals", "asked_by", "users"),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_arrivals")),
    )
    op.create_index("ix_arrivals_team", "arrivals", ["team_id", "created"])
    op.create_index(op.f("ix_arrivals_rule_id"), "arrivals", ["rule_id"])
    op.add_column("jobs", sa.Column("not_before", TIME, nullable=True))
    with op.batch_alter_table("team_choices") as batch:
        for name in HOURS:
            batch.add_column(sa.Column(name, sa.SmallInteger(), nullable=True))
        for name in HOURS:
            batch.create_check_constraint(
                op.f(f"ck_team_choices_{name}"), f"{name} BETWEEN 0 AND 23"
            )


def downgrade() -> None:
    # A picture that was kept without analysis is one that nothing comes of: the version before
    # takes it for one whose analysis has not begun.
    with op.batch_alter_table("team_choices") as batch:
        for name in HOURS:
            batch.drop_constraint(op.f(f"ck_team_choices_{name}"), type_="check")
        for name in HOURS:
            batch.drop_column(name)
    op.drop_column("jobs", "not_before")
    for table in ("arrivals", "arrival_rules", "arrival_rules_versions"):
        op.drop_table(table)


def _one_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

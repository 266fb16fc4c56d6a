"""What comes by DICOMweb has no node: who sent it is an account with a token. Files in quarantine,
and rules that put them there: what those did until now is called keeping out. Keys of
links into exams.
"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ENDS = ("analyse", "off_peak", "keep", "keep_out", "quarantine")
# The tables with an end, and what their check is called.
CHECKED = {"arrival_rules": "rule_end", "arrivals": "arrival_end"}


def upgrade() -> None:
    with op.batch_alter_table("dicom_objects") as batch:
        batch.alter_column("node_id", existing_type=sa.Uuid(), nullable=True)
    with op.batch_alter_table("dicom_refusals") as batch:
        batch.alter_column("node_id", existing_type=sa.Uuid(), nullable=True)
        batch.add_column(sa.Column("sender_id", sa.Uuid(), nullable=True))
        batch.create_foreign_key(
            op.f("fk_dicom_refusals_sender_id_users"), "users", ["sender_id"], ["id"]
        )
        batch.create_check_constraint(
            op.f("ck_dicom_refusals_one_sender"), "(node_id IS NULL) <> (sender_id IS NULL)"
        )
    op.create_index("ix_dicom_refusals_sender", "dicom_refusals", ["sender_id", "created"])
    _change_ends(ENDS, "quarantine", "keep_out")
    op.create_table(
        "quarantined_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("sender_id", sa.Uuid(), nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("content_key", sa.String(64), nullable=False),
        sa.Column("study_key", sa.String(64), nullable=True),
        sa.Column("sealed_stated", sa.LargeBinary(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("quarantined_files", "team_id", "teams"),
        _reference("quarantined_files", "sender_id", "users"),
        _reference("quarantined_files", "rule_id", "arrival_rules"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_files")),
        sa.UniqueConstraint("name", name=op.f("uq_quarantined_files_name")),
        sa.UniqueConstraint(
            "team_id", "content_key", name=op.f("uq_quarantined_files_team_id_content_key")
        ),
    )
    op.create_index("ix_quarantined_files_created", "quarantined_files", ["created"])
    op.create_index("ix_quarantined_files_study", "quarantined_files", ["team_id", "study_key"])
    op.create_index(op.f("ix_quarantined_files_key_id"), "quarantined_files", ["key_id"])

    op.create_table(
        "exam_link_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        _reference("exam_link_keys", "team_id", "teams"),
        _reference("exam_link_keys", "made_by", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exam_link_keys")),
    )
    op.create_index(op.f("ix_exam_link_keys_team_id"), "exam_link_keys", ["team_id"])


def downgrade() -> None:
    op.drop_table("exam_link_keys")
    # The sweep removes their files, which no row names any more.
    op.drop_table("quarantined_files")
    _change_ends(tuple(end for end in ENDS if end != "keep_out"), "keep_out", "quarantine")
    # The version before lists nothing but what nodes sent. Objects without a node stay with their
    # exam: their files go, as nothing of that version reads one without a row.
    op.drop_index("ix_dicom_refusals_sender", table_name="dicom_refusals")
    op.execute("DELETE FROM dicom_refusals WHERE node_id IS NULL")
    with op.batch_alter_table("dicom_refusals") as batch:
        batch.drop_constraint(op.f("ck_dicom_refusals_one_sender"), type_="check")
        batch.drop_constraint(op.f("fk_dicom_refusals_sender_id_users"), type_="foreignkey")
        batch.drop_column("sender_id")
        batch.alter_column("node_id", existing_type=sa.Uuid(), nullable=False)
    op.execute(
        "DELETE FROM blobs WHERE id IN (SELECT blob_id FROM dicom_objects WHERE node_id IS NULL)"
    )
    op.execute("DELETE FROM dicom_objects WHERE node_id IS NULL")
    with op.batch_alter_table("dicom_objects") as batch:
        batch.alter_column("node_id", existing_type=sa.Uuid(), nullable=False)


def _change_ends(ends: tuple[str, ...], before: str, after: str) -> None:
    """The ends that a rule may have, with one called another name."""
    listed = ", ".join(f"'{end}'" for end in ends)
    for table, name in CHECKED.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
        changed = f"""UPDATE {table} SET "end" = '{after}' WHERE "end" = '{before}'"""  # noqa: S608 constants
        op.execute(changed)
        with op.batch_alter_table(table) as batch:
            batch.create_check_constraint(op.f(f"ck_{table}_{name}"), f'"end" IN ({listed})')


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

"""DICOM nodes, objects that came back to their exam, and what was refused of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

KINDS = (
    *("source", "pixels", "preview", "thumb", "probability", "mask", "overlay", "review_mask"),
    *("report_content", "report", "filed_object"),
)
SEVERAL = "'review_mask', 'report_content', 'report'"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _change_files(KINDS, f"kind NOT IN ({SEVERAL}, 'filed_object')")
    op.create_table(
        "dicom_nodes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("ae_title", sa.String(16), nullable=False),
        sa.Column("sends", sa.Boolean(), nullable=False),
        sa.Column("receives", sa.Boolean(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("host", sa.String(253), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(host IS NULL) = (port IS NULL)", name=op.f("ck_dicom_nodes_host_and_port")
        ),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_dicom_nodes_port")),
        _reference("dicom_nodes", "user_id", "users"),
        _reference("dicom_nodes", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_nodes")),
        sa.UniqueConstraint("user_id", name=op.f("uq_dicom_nodes_user_id")),
        sa.UniqueConstraint("ae_title", name=op.f("uq_dicom_nodes_ae_title")),
    )
    op.create_index(op.f("ix_dicom_nodes_team_id"), "dicom_nodes", ["team_id"])
    op.create_table(
        "dicom_objects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("sop_key", sa.String(64), nullable=False),
        sa.Column("sop_class", sa.String(64), nullable=False),
        sa.Column("made_here", sa.Boolean(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("dicom_objects", "instance_id", "instances"),
        _reference("dicom_objects", "team_id", "teams"),
        _reference("dicom_objects", "node_id", "dicom_nodes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_objects")),
        sa.UniqueConstraint("blob_id", name=op.f("uq_dicom_objects_blob_id")),
        sa.UniqueConstraint("team_id", "sop_key", name=op.f("uq_dicom_objects_team_id_sop_key")),
    )
    op.create_index("ix_dicom_objects_instance", "dicom_objects", ["instance_id", "created"])
    op.create_table(
        "dicom_refusals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed_sop_uid", sa.LargeBinary(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _reference("dicom_refusals", "node_id", "dicom_nodes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dicom_refusals")),
    )
    op.create_index("ix_dicom_refusals_created", "dicom_refusals", ["created"])
    op.create_index("ix_dicom_refusals_node", "dicom_refusals", ["node_id", "created"])


def downgrade() -> None:
    for table in ("dicom_refusals", "dicom_objects", "dicom_nodes"):
        op.drop_table(table)
    # The sweep removes their files, which no row names any more.
    op.execute("DELETE FROM blobs WHERE kind = 'filed_object'")
    _change_files(KINDS[:-1], f"kind NOT IN ({SEVERAL})")


def _change_files(kinds: tuple[str, ...], one_each: str) -> None:
    """The kinds that a file may have, and those of which a picture has one that counts."""
    op.drop_index("uq_blobs_current", table_name="blobs")
    op.drop_index("ix_blobs_not_current", table_name="blobs")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    with op.batch_alter_table("blobs") as batch:
        batch.drop_constraint(op.f("ck_blobs_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_blobs_kind"), f"kind IN ({listed})")
    op.create_index(
        "uq_blobs_current",
        "blobs",
        ["instance_id", "kind"],
        unique=True,
        sqlite_where=sa.text(f"current = 1 AND {one_each}"),
        postgresql_where=sa.text(f"current AND {one_each}"),
    )
    op.create_index(
        "ix_blobs_not_current",
        "blobs",
        ["job_id"],
        sqlite_where=sa.text("current IS 0"),
        postgresql_where=sa.text("current IS false"),
    )


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)

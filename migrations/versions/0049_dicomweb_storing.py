"""Instances that come by DICOMweb have no node: who sent them is an account with a token."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0047"
branch_labels = None
depends_on = None


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


def downgrade() -> None:
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

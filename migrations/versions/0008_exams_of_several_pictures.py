"""Exams of several pictures: keys, files and predictions belong to the picture, reviews to the exam.

Tables only: what needs the key ring (the pictures' own keys, digests, order of acquisition, exams
that turn out to be one) is filled by `python -m portal upgrade`, which goes through the rows that
are marked here with `needs_upgrade`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = ("render", "segment", "measure", "encode", "report", "export", "send")
OLD_KINDS = ("render", "segment", "export", "send")
VIEWS = ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "unknown")
SEXES = ("F", "M", "O", "unknown")
# Columns that hold a job's kind, with the names of their checks.
KIND_CHECKS = (("workers", "queue"), ("worker_tokens", "queue"), ("jobs", "kind"))
LISTED = "purged_at IS NULL AND joined_into IS NULL"
PLACED = ["rank", "weight", "id", "is_read", "is_without_result", "band", "side"]


def upgrade() -> None:
    _studies()
    _instances()
    _jobs()
    _check_kinds(KINDS)
    op.drop_index(op.f("ix_blobs_study_id"), "blobs")
    op.drop_index("ix_predictions_study", "predictions")
    for table in ("blobs", "predictions"):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_study_id_studies"), type_="foreignkey")
            batch.drop_column("study_id")
    op.create_table(
        "review_seen",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Uuid(), nullable=False),
        sa.Column("prediction_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_seen_review_id_reviews")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_review_seen_instance_id_instances")
        ),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.id"],
            name=op.f("fk_review_seen_prediction_id_predictions"),
        ),
        sa.PrimaryKeyConstraint("review_id", "instance_id", name=op.f("pk_review_seen")),
    )
    op.create_index(op.f("ix_review_seen_instance_id"), "review_seen", ["instance_id"])
    _keep_append_only()


def downgrade() -> None:
    """Only before `upgrade`: the version before could open no picture with a key of its own."""
    bind = op.get_bind()
    if bind.scalar(sa.text("SELECT count(*) FROM instances WHERE wrapped_key IS NOT NULL")):
        raise RuntimeError(
            "Pictures have keys of their own, which the version before cannot open: restore the "
            "backup that was made before."
        )
    op.drop_table("review_seen")  # and its triggers with it
    for table, index in (("blobs", op.f("ix_blobs_study_id")), ("predictions", None)):
        op.add_column(table, sa.Column("study_id", sa.Uuid(), nullable=True))
        _fill(table, "study_id", "SELECT study_id FROM instances WHERE id = instance_id")
        with op.batch_alter_table(table) as batch:
            batch.alter_column("study_id", existing_type=sa.Uuid(), nullable=False)
            batch.create_foreign_key(
                op.f(f"fk_{table}_study_id_studies"), "studies", ["study_id"], ["id"]
            )
        op.create_index(index or "ix_predictions_study", table, ["study_id"])
    _check_kinds(OLD_KINDS)
    op.drop_index("ix_jobs_instance", "jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_constraint(op.f("uq_jobs_idempotency_key"), type_="unique")
        batch.drop_column("idempotency_key")
        batch.drop_column("target")
        batch.alter_column("instance_id", existing_type=sa.Uuid(), nullable=False)
        batch.create_unique_constraint(op.f("uq_jobs_instance_id_kind"), ["instance_id", "kind"])
    for name in ("study", "sender", "series", "key_id"):
        op.drop_index(f"ix_instances_{name}", "instances")
    with op.batch_alter_table("instances") as batch:
        for column, target in (("arrived_in", "studies"), ("uploaded_by", "users")):
            batch.drop_constraint(op.f(f"fk_instances_{column}_{target}"), type_="foreignkey")
        batch.drop_constraint(op.f("ck_instances_view"), type_="check")
        for column in (
            *("arrived_in", "uploaded_by", "wrapped_key", "key_id", "series_uid_key"),
            *("view", "acquired", "sealed_phi"),
        ):
            batch.drop_column(column)
        batch.create_unique_constraint(op.f("uq_instances_study_id"), ["study_id"])
    for name in (
        *("uq_studies_uid", "ix_studies_uid", "ix_studies_joined", "ix_studies_upgrade"),
        *("ix_studies_patient_id", "ix_studies_patient", "ix_studies_team"),
    ):
        op.drop_index(name, "studies")
    with op.batch_alter_table("studies") as batch:
        batch.drop_constraint(op.f("fk_studies_joined_into_studies"), type_="foreignkey")
        for name in ("sex", "age_band"):
            batch.drop_constraint(op.f(f"ck_studies_{name}"), type_="check")
        for column in (
            *("joined_into", "patient_id_key", "acquired", "sex", "age_band", "needs_upgrade"),
        ):
            batch.drop_column(column)
    _old_indexes()


def _studies() -> None:
    for index in ("ix_studies_team", "ix_studies_uploader", "ix_studies_arrival"):
        op.drop_index(index, "studies")
    op.drop_index("ix_studies_patient", "studies")
    # By hand: SQLite can add a column with its check, Alembic would copy the table for it.
    op.execute(
        "ALTER TABLE studies ADD COLUMN sex VARCHAR(32) NOT NULL DEFAULT 'unknown' "
        f"CONSTRAINT ck_studies_sex CHECK (sex IN ({_listed(SEXES)}))"
    )
    op.execute(
        "ALTER TABLE studies ADD COLUMN age_band SMALLINT CONSTRAINT ck_studies_age_band "
        "CHECK (age_band IN (0, 10, 20, 30, 40, 50, 60, 70, 80, 90))"
    )
    op.add_column("studies", sa.Column("joined_into", sa.Uuid(), nullable=True))
    op.add_column("studies", sa.Column("patient_id_key", sa.String(length=64), nullable=True))
    op.add_column("studies", sa.Column("acquired", sa.BigInteger(), nullable=True))
    op.add_column(
        "studies",
        sa.Column("needs_upgrade", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute(
        sa.text("UPDATE studies SET needs_upgrade = :yes WHERE purged_at IS NULL").bindparams(
            sa.bindparam("yes", True, sa.Boolean())
        )
    )
    with op.batch_alter_table("studies") as batch:
        batch.create_foreign_key(
            op.f("fk_studies_joined_into_studies"),
            "studies",
            ["joined_into"],
            ["id"],
            deferrable=True,
            initially="DEFERRED",
        )
    op.create_index(
        "ix_studies_team",
        "studies",
        ["team_id", *PLACED],
        sqlite_where=sa.text(LISTED),
        postgresql_where=sa.text(LISTED),
    )
    op.create_index(
        "uq_studies_uid",
        "studies",
        ["team_id", "study_uid_key"],
        unique=True,
        sqlite_where=sa.text("joined_into IS NULL AND needs_upgrade = 0"),
        postgresql_where=sa.text("joined_into IS NULL AND NOT needs_upgrade"),
    )
    op.create_index("ix_studies_uid", "studies", ["team_id", "study_uid_key"])
    op.create_index("ix_studies_joined", "studies", ["joined_into"])
    op.create_index("ix_studies_upgrade", "studies", ["needs_upgrade", "created", "id"])
    op.create_index("ix_studies_patient", "studies", ["team_id", "patient_key", "acquired"])
    op.create_index("ix_studies_patient_id", "studies", ["team_id", "patient_id_key"])


def _instances() -> None:
    op.execute(
        "ALTER TABLE instances ADD COLUMN view VARCHAR(32) NOT NULL DEFAULT 'unknown' "
        f"CONSTRAINT ck_instances_view CHECK (view IN ({_listed(VIEWS)}))"
    )
    for column in (
        sa.Column("arrived_in", sa.Uuid(), nullable=True),
        sa.Column("uploaded_by", sa.Uuid(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("series_uid_key", sa.String(length=64), nullable=True),
        sa.Column("acquired", sa.BigInteger(), nullable=True),
        sa.Column("sealed_phi", sa.LargeBinary(), nullable=True),
    ):
        op.add_column("instances", column)
    op.execute("UPDATE instances SET arrived_in = study_id")
    _fill("instances", "uploaded_by", "SELECT uploaded_by FROM studies WHERE id = study_id")
    with op.batch_alter_table("instances") as batch:
        batch.drop_constraint(op.f("uq_instances_study_id"), type_="unique")
        for column, target in (("arrived_in", "studies"), ("uploaded_by", "users")):
            batch.alter_column(column, existing_type=sa.Uuid(), nullable=False)
            batch.create_foreign_key(
                op.f(f"fk_instances_{column}_{target}"), target, [column], ["id"]
            )
    op.create_index("ix_instances_study", "instances", ["study_id", "created", "id"])
    op.create_index("ix_instances_sender", "instances", ["uploaded_by", "study_id"])
    op.create_index("ix_instances_series", "instances", ["team_id", "series_uid_key"])
    op.create_index("ix_instances_key_id", "instances", ["key_id"])


def _jobs() -> None:
    op.add_column("jobs", sa.Column("target", sa.String(length=200), nullable=True))
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(length=300), nullable=True))
    op.execute(
        "UPDATE jobs SET idempotency_key = kind || ':' || "
        "replace(CAST(instance_id AS VARCHAR(36)), '-', '')"
    )
    with op.batch_alter_table("jobs") as batch:
        batch.drop_constraint(op.f("uq_jobs_instance_id_kind"), type_="unique")
        batch.alter_column("instance_id", existing_type=sa.Uuid(), nullable=True)
        batch.alter_column("idempotency_key", existing_type=sa.String(300), nullable=False)
        batch.create_unique_constraint(op.f("uq_jobs_idempotency_key"), ["idempotency_key"])
    op.create_index("ix_jobs_instance", "jobs", ["instance_id", "kind"])


def _check_kinds(kinds: tuple[str, ...]) -> None:
    for table, column in KIND_CHECKS:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"ck_{table}_{column}"), type_="check")
            batch.create_check_constraint(
                op.f(f"ck_{table}_{column}"), f"{column} IN ({_listed(kinds)})"
            )


def _fill(table: str, column: str, query: str) -> None:
    op.execute(f"UPDATE {table} SET {column} = ({query})")


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _old_indexes() -> None:
    for name, owner in (("ix_studies_team", "team_id"), ("ix_studies_uploader", "uploaded_by")):
        op.create_index(
            name,
            "studies",
            [owner, *PLACED],
            sqlite_where=sa.text("purged_at IS NULL"),
            postgresql_where=sa.text("purged_at IS NULL"),
        )
    op.create_index("ix_studies_arrival", "studies", ["uploaded_by", "created"])
    op.create_index("ix_studies_patient", "studies", ["team_id", "patient_key"])


def _keep_append_only() -> None:
    """As revision 0001 does for reviews; its function is there on PostgreSQL."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER review_seen_{verb.lower()} BEFORE {verb} ON review_seen "
                "BEGIN SELECT RAISE(ABORT, 'review_seen is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER review_seen_rows BEFORE UPDATE OR DELETE ON review_seen "
        "FOR EACH ROW EXECUTE FUNCTION pleura_append_only()"
    )
    op.execute(
        "CREATE TRIGGER review_seen_whole BEFORE TRUNCATE ON review_seen "
        "FOR EACH STATEMENT EXECUTE FUNCTION pleura_append_only()"
    )

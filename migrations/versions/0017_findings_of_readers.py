"""Reviews state a finding, and where a study stands: the oldest first, read ones last.

SQLite copies `reviews` for its checks and forgets its triggers, so those of revisions 0001 and 0014
are made again. Reviews from before keep their verdict and have no finding.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

OLD_VERDICTS = ("agree", "disagree", "unsure")
CHECKS = {
    "verdict": (*OLD_VERDICTS, "unaided"),
    "finding": ("none", "right", "left", "both", "unsure"),
    "size": ("below_10", "10_to_30", "above_30", "unknown"),
}
SIZE_OF_FINDING = "size IS NULL OR finding IN ('right', 'left', 'both')"
# As `portal.studies.worklist_order` counts them: the groups, and what puts every possible finding
# behind every likely one.
POSITIVE, UNAIDED, REST, READ = 0, 1, 2, 3
BEHIND = 1e10
AT_ONCE = 5000

_STUDIES = sa.table(
    "studies",
    sa.column("id", sa.Uuid()),
    sa.column("created", sa.DateTime(timezone=True)),
    sa.column("rank", sa.SmallInteger()),
    sa.column("weight", sa.Float()),
    sa.column("is_read", sa.Boolean()),
    sa.column("is_without_result", sa.Boolean()),
    sa.column("band", sa.String()),
)


def upgrade() -> None:
    with op.batch_alter_table("reviews") as batch:
        batch.drop_constraint(op.f("ck_reviews_verdict"), type_="check")
        for name in ("finding", "size"):
            batch.add_column(sa.Column(name, sa.String(length=32), nullable=True))
        for name, words in CHECKS.items():
            listed = _listed(words)
            batch.create_check_constraint(op.f(f"ck_reviews_{name}"), f"{name} IN ({listed})")
        batch.create_check_constraint(op.f("ck_reviews_size_of_finding"), SIZE_OF_FINDING)
    _keep_append_only()
    _place(_new_place)


def downgrade() -> None:
    stated = op.get_bind().scalar(sa.text("SELECT count(*) FROM reviews WHERE finding IS NOT NULL"))
    if stated:
        raise RuntimeError("reviews state findings, which the version before cannot store")
    with op.batch_alter_table("reviews") as batch:
        for name in ("size_of_finding", *CHECKS):
            batch.drop_constraint(op.f(f"ck_reviews_{name}"), type_="check")
        for name in ("finding", "size"):
            batch.drop_column(name)
        batch.create_check_constraint(
            op.f("ck_reviews_verdict"), f"verdict IN ({_listed(OLD_VERDICTS)})"
        )
    _keep_append_only()
    found = op.get_bind().execute(
        sa.text(
            "SELECT i.study_id, p.band, max(p.probability) FROM predictions p "
            "JOIN instances i ON i.id = p.instance_id GROUP BY i.study_id, p.band"
        ).columns(study_id=sa.Uuid())
    )
    probabilities = {(study_id, band): highest for study_id, band, highest in found}
    _place(lambda row: _old_place(row, probabilities.get((row.id, row.band)) or 0.0))


def _place(place: Any) -> None:
    """Put every study where it belongs."""
    connection = op.get_bind()
    for rows in _batches(connection):
        connection.execute(
            sa.update(_STUDIES)
            .where(_STUDIES.c.id == sa.bindparam("key"))
            .values(rank=sa.bindparam("new_rank"), weight=sa.bindparam("new_weight")),
            [
                {"key": row.id, "new_rank": rank, "new_weight": weight}
                for row in rows
                for rank, weight in [place(row)]
            ],
        )


def _batches(connection: sa.Connection) -> Iterator[list[Any]]:
    last = None
    while True:
        query = sa.select(_STUDIES).order_by(_STUDIES.c.id).limit(AT_ONCE)
        rows = connection.execute(query if last is None else query.where(_STUDIES.c.id > last))
        found = rows.all()
        if not found:
            return
        last = found[-1].id
        yield list(found)


def _new_place(row: Any) -> tuple[int, float]:
    arrived = _seconds(row.created)
    if row.is_read:
        return READ, -arrived
    if row.band in ("likely", "possible"):
        return POSITIVE, arrived + (BEHIND if row.band == "possible" else 0)
    return (UNAIDED if row.is_without_result else REST), arrived


def _old_place(row: Any, probability: float) -> tuple[int, float]:
    arrived = _seconds(row.created)
    if not row.is_read and row.band in ("likely", "possible"):
        return POSITIVE, -probability - (1 if row.band == "likely" else 0)
    is_unaided = not row.is_read and row.is_without_result
    return (UNAIDED if is_unaided else REST), -arrived


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _keep_append_only() -> None:
    """The triggers of `reviews` on SQLite; those of PostgreSQL stay."""
    if op.get_bind().dialect.name != "sqlite":
        return
    taken = " OR ".join(
        f"EXISTS (SELECT 1 FROM reviews WHERE {key} = NEW.{key})" for key in ("rowid", "id")
    )
    for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", f"WHEN {taken} ")):
        op.execute(
            f"CREATE TRIGGER reviews_{verb.lower()} BEFORE {verb} ON reviews {when}"
            "BEGIN SELECT RAISE(ABORT, 'reviews is append-only'); END"
        )

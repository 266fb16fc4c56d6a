"""Tables: aware times, CHECKed enums, migrations up and down, append-only logs."""

import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from portal import audit, database
from portal.audit import chain
from portal.models import Base, Job, JobKind, SizeClass, Study, Team
from portal.reading import reviews, worklist
from tests.support import version_before
from tests.support.clinic import Clinic
from tests.support.core import NOW, Core
from tests.support.jobs import prediction_of
from worker.contract.job import OF_NO_EXAM


def test_a_time_comes_back_aware_and_in_utc(core: Core) -> None:
    berlin = timezone(timedelta(hours=2))
    with core.sessions() as session:
        team = Team(id=uuid4(), name="Times", created=datetime(2026, 7, 1, 12, 30, tzinfo=berlin))
        session.add(team)
        session.commit()
    with core.sessions() as session:
        created = session.get_one(Team, team.id).created
    assert created == datetime(2026, 7, 1, 10, 30, tzinfo=UTC)
    assert created.utcoffset() == timedelta(0)


def test_a_naive_time_is_refused(core: Core) -> None:
    with core.sessions() as session:
        session.add(Team(id=uuid4(), name="Naive", created=datetime(2026, 7, 1)))  # noqa: DTZ001 on purpose
        with pytest.raises(StatementError, match="zone"):
            session.commit()


def test_the_database_itself_refuses_an_unknown_role(clinic: Clinic) -> None:
    with clinic.session as session, pytest.raises(IntegrityError):
        session.execute(text("UPDATE users SET role = 'owner'"))


def test_the_database_itself_refuses_an_address_with_capitals(clinic: Clinic) -> None:
    with clinic.session as session, pytest.raises(IntegrityError):
        session.execute(text("UPDATE users SET email = 'Owner@example.org' WHERE role = 'admin'"))


def test_migrations_go_up_down_and_up_again(core: Core) -> None:
    engine = core.engine
    assert database.schema_is_current(engine)
    database.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    assert not database.schema_is_current(engine)
    database.upgrade(engine)
    assert database.schema_is_current(engine)


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        return {
            name: connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in names
        }


def test_the_record_of_the_version_before_goes_up_down_and_up_again(tmp_path: Path) -> None:
    """On SQLite as that version left it; `test_upgrade` does the same on PostgreSQL."""
    before = version_before.unpack(tmp_path)
    engine = create_engine(before.database_url)
    rows = counts(engine)
    assert min(rows["predictions"], rows["blobs"], rows["jobs"]) > 0
    database.upgrade(engine)
    with engine.connect() as connection:
        again = select(func.count()).where(Study.needs_upgrade)
        assert connection.scalar(again) == rows["studies"] - 1  # one was purged
        keys = connection.execute(select(Job.idempotency_key, Job.kind, Job.instance_id)).all()
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    assert all(key == f"{kind}:{instance.hex}" for key, kind, instance in keys)
    database.downgrade(engine, "0006")
    assert counts(engine) == rows
    with engine.connect() as connection:
        for table in ("predictions", "blobs"):
            strays = f"SELECT count(*) FROM {table} t JOIN instances i ON i.id = t.instance_id "
            assert connection.scalar(text(f"{strays} WHERE i.study_id <> t.study_id")) == 0
    database.upgrade(engine)
    assert database.schema_is_current(engine)
    engine.dispose()


def test_pictures_that_the_version_before_cannot_open_are_not_taken_back_to_it(
    clinic: Clinic,
) -> None:
    clinic.done()
    with pytest.raises(RuntimeError, match="keys of their own"):
        database.downgrade(clinic.core.engine, "0006")
    assert database.schema_is_current(clinic.core.engine)


def test_cases_that_were_read_before_the_result_come_back_with_the_migration(
    clinic: Clinic,
) -> None:
    """As the version before left them: read, although the AI had found something later."""
    late, seen, unread = clinic.submit().study_id, clinic.done(), clinic.done()
    segment = clinic.render(late)
    for study_id in (late, seen):
        with clinic.session as session:
            reviews.add_review(
                session, clinic.vault, clinic.mate, study_id, finding="none", now=NOW
            )
    clinic.segment(segment)
    placed = select(Study.id, Study.is_read, Study.rank, Study.weight).order_by(Study.id)
    with clinic.session as session:
        today = session.execute(placed).all()
        session.execute(text("UPDATE studies SET is_read = true, rank = 3 WHERE rank = 0"))
        session.commit()
    database.downgrade(clinic.core.engine, "0020")
    database.upgrade(clinic.core.engine)
    with clinic.session as session:
        found = {row.id: row for row in session.execute(placed)}
        assert not found[late].is_read
        assert found[late] == {row.id: row for row in today}[late]
        assert found[seen].is_read
        assert found[unread].is_read  # nobody has read it: no work of this migration


def test_size_classes_are_those_that_results_store_after_the_migration(clinic: Clinic) -> None:
    """As the version before placed them: by the share of the larger outline."""
    measured = prediction_of()["measurements"]
    stored = clinic.done(measurements=measured | {"severity": "large"})
    older = clinic.done(measurements=measured | {"severity": None})
    database.downgrade(clinic.core.engine, "0031")
    with clinic.session as session:
        session.execute(text("UPDATE studies SET size = 'below_10'"))
        session.commit()
    database.upgrade(clinic.core.engine)
    with clinic.session as session:
        assert session.get_one(Study, stored).size is SizeClass.ABOVE_30
        assert session.get_one(Study, older).size is SizeClass.BELOW_10  # as it was


def test_the_database_itself_refuses_an_unknown_kind_of_job(clinic: Clinic) -> None:
    clinic.submit()
    for kind in JobKind:
        with clinic.session as session:
            about = "NULL" if kind in OF_NO_EXAM else "study_id"
            changed = text(f"UPDATE jobs SET kind = :kind, study_id = {about}")
            session.execute(changed, {"kind": kind.value})
    with clinic.session as session, pytest.raises(IntegrityError):
        session.execute(text("UPDATE jobs SET kind = 'forward'"))


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # of SQLite, not compared
def test_migrations_make_exactly_the_tables_of_the_models(core: Core) -> None:
    with core.engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


@pytest.mark.parametrize(
    "table", ["audit_events", "audit_links", "audit_subjects", "reviews", "review_seen"]
)
@pytest.mark.parametrize(
    "verb", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"]
)
def test_log_and_reviews_can_only_grow(clinic: Clinic, table: str, verb: str) -> None:
    if verb.startswith("TRUNCATE") and clinic.core.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=NOW)
        worklist.worklist(session, clinic.vault, clinic.mate, now=NOW)
        chain.link(session)
    column = {"reviews": "verdict", "review_seen": "prediction_id"}.get(table, "seq")
    with clinic.session as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(verb.format(table, column)))


def test_writers_wait_for_each_other_on_sqlite(clinic: Clinic) -> None:
    """A transaction that begins by reading can still write, whoever wrote meanwhile."""
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("about SQLite")
    with clinic.session as session:
        session.execute(text("SELECT count(*) FROM users"))
        audit.append(session, "tried", now=NOW)
        session.commit()
    with clinic.session as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert session.execute(text("PRAGMA busy_timeout")).scalar() == 10000


def test_a_writer_gets_in_beside_one_that_hardly_lets_go(clinic: Clinic) -> None:
    engine = clinic.core.engine
    if engine.dialect.name != "sqlite":
        pytest.skip("about SQLite")
    ended, held = threading.Event(), threading.Event()

    def hold() -> None:
        """Always writing, but for a millisecond after a third of a second."""
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as connection:
            while not ended.is_set():
                connection.execute("BEGIN IMMEDIATE")
                held.set()
                time.sleep(0.3)
                connection.execute("COMMIT")
                time.sleep(0.001)

    greedy = threading.Thread(target=hold)
    greedy.start()
    try:
        assert held.wait(30)
        for _ in range(3):
            with clinic.session as session:
                audit.append(session, "tried", now=NOW)
                session.commit()
    finally:
        ended.set()
        greedy.join()

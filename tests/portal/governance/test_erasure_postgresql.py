"""On PostgreSQL: whatever may keep old row versions holds up the proof of a purge.

What the proof states is compared with what the server itself reports of row versions.
"""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from portal import database
from portal.governance import erasure
from portal.governance.erasure import NotErased
from portal.models import Purge
from tests.portal.governance.test_erasure import erasure_of, finish, purge, reading
from tests.support.clinic import Clinic
from tests.support.wait import only_on_postgresql, stopped_once, until


def test_on_postgresql_the_proof_states_what_it_cannot_promise(clinic: Clinic) -> None:
    only_on_postgresql(clinic.core.engine)
    proof = purge(clinic, clinic.done())
    assert proof is not None
    done = erasure_of(proof)
    assert done["done"] == ["vacuumed"]
    assert "write_ahead_log" in str(done["not_covered"])
    assert "row_versions" not in str(done["not_covered"])


@contextmanager
def weak_role(engine: Engine) -> Iterator[tuple[str, Engine]]:
    """A role that sees of others' sessions what everybody sees, and an engine that uses it."""
    role = f"weak_{uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    other = create_engine(make_url(str(engine.url)).set(username=role))
    try:
        yield role, other
    finally:
        other.dispose()
        with engine.begin() as connection:
            connection.execute(text(f"REASSIGN OWNED BY {role} TO CURRENT_USER"))
            connection.execute(text(f"DROP ROLE {role}"))


def erase_as(engine: Engine) -> dict[str, object]:
    with database.sessions(engine)() as session:
        return erasure.erase(session, [])


def test_a_user_who_may_not_vacuum_is_not_said_to_have_done_it(clinic: Clinic) -> None:
    only_on_postgresql(clinic.core.engine)
    with weak_role(clinic.core.engine) as (_role, other):
        found = erase_as(other)
    assert found["done"] == []
    assert "row_versions" in str(found["not_covered"])


def test_an_older_transaction_is_seen_by_a_role_that_may_not_see_the_sessions_of_others(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_on_postgresql(clinic.core.engine)
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    engine, study_id = clinic.core.engine, clinic.done()
    with weak_role(engine) as (role, other):
        with engine.begin() as connection:
            for table in erasure.TABLES:
                connection.execute(text(f"ALTER TABLE {table} OWNER TO {role}"))
        with reading(clinic):
            assert purge(clinic, study_id) is None
            with pytest.raises(NotErased):
                erase_as(other)
        assert erase_as(other)["done"] == ["vacuumed"]


@contextmanager
def writing(clinic: Clinic) -> Iterator[None]:
    """A transaction that has written and waits: it holds no snapshot until its next statement."""
    with clinic.core.engine.connect() as connection:
        connection.execute(text("SELECT pg_current_xact_id()"))
        yield


@contextmanager
def prepared(clinic: Clinic) -> Iterator[None]:
    """A transaction that was prepared and that no session belongs to."""
    with clinic.core.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in ("BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION 'older'"):
            connection.execute(text(statement))
        try:
            yield
        finally:
            connection.execute(text("ROLLBACK PREPARED 'older'"))


@contextmanager
def standby(clinic: Clinic, *, slot: bool, stays: bool = True) -> Iterator[None]:
    """A standby that still reads what was there, and whether it stays connected meanwhile."""
    engine, name = clinic.core.engine, f"slot_{uuid4().hex}"
    url = make_url(str(engine.url))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if slot:
            connection.execute(text(f"SELECT pg_create_physical_replication_slot('{name}', true)"))
        at = connection.scalar(text("SELECT pg_current_wal_flush_lsn()::text"))
        xmin = connection.scalar(text("SELECT xid(pg_snapshot_xmin(pg_current_snapshot()))::text"))
        words = f"host={url.query['host']} user={url.username} replication=true"
        sender = psycopg.pq.PGconn.connect(words.encode())
        of = f"SLOT {name} " if slot else ""
        sender.exec_(f"START_REPLICATION {of}PHYSICAL {at}".encode())
        # Hot standby feedback: the oldest transaction that the standby's readers need.
        sender.put_copy_data(b"h" + struct.pack("!qIIII", 0, int(xmin), 0, 0, 0))
        sender.flush()
        held = (
            f"SELECT xmin FROM pg_replication_slots WHERE slot_name = '{name}'"
            if slot
            else "SELECT backend_xmin FROM pg_stat_replication WHERE backend_xmin IS NOT NULL"
        )
        assert until(lambda: connection.scalar(text(held)) is not None)
        active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{name}'"
        if not stays:
            sender.finish()
            assert until(lambda: not connection.scalar(text(active)))
        try:
            yield
        finally:
            sender.finish()
            if slot:
                assert until(lambda: not connection.scalar(text(active)))
                connection.execute(text(f"SELECT pg_drop_replication_slot('{name}')"))
            else:
                assert until(lambda: connection.scalar(text(held)) is None)


Holder = Callable[[Clinic], AbstractContextManager[None]]
HOLDERS: dict[str, Holder] = {
    "a transaction that writes": writing,
    "a prepared transaction": prepared,
    "a standby": lambda clinic: standby(clinic, slot=False),
    "the slot of a standby": lambda clinic: standby(clinic, slot=True),
    "the slot of a standby that is away": lambda clinic: standby(clinic, slot=True, stays=False),
}


@pytest.mark.parametrize("holder", list(HOLDERS))
def test_what_makes_postgresql_keep_old_row_versions_holds_up_the_proof(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, holder: str
) -> None:
    only_on_postgresql(clinic.core.engine)
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    study_id = clinic.done()
    with HOLDERS[holder](clinic):
        assert purge(clinic, study_id) is None
        assert finish(clinic) == 0
        assert unremovable(clinic) > 0
    assert finish(clinic) == 1
    assert unremovable(clinic) == 0
    with clinic.session as session:
        assert erasure_of(session.get_one(Purge, study_id))["done"] == ["vacuumed"]


def test_the_proof_names_pages_that_another_connection_reads(clinic: Clinic) -> None:
    """VACUUM passes them over and reports nothing: their old versions are still there."""
    engine = clinic.core.engine
    only_on_postgresql(engine)
    study_id = clinic.done()
    with engine.connect() as reader:

        def read() -> None:  # of a snapshot that sees no old version; it stays at its page
            reader.execute(text("DECLARE one CURSOR FOR SELECT id FROM studies"))
            assert len(reader.execute(text("FETCH 1 FROM one")).all()) == 1

        with stopped_once(engine, "pg_snapshot_xmax(pg_current_snapshot())", read):
            proof = purge(clinic, study_id)
        assert proof is not None
        assert erasure_of(proof)["done"] == ["vacuumed"]
        assert "pages_in_use" in erasure_of(proof)["not_covered"]
        assert passed_over(clinic) > 0
    assert passed_over(clinic) == 0


def vacuumed(clinic: Clinic) -> str:
    """What PostgreSQL itself reports of the vacuum of the tables that hold patients' data."""
    reports = list[str]()
    with clinic.core.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        raw.add_notice_handler(lambda notice: reports.append(notice.message_primary or ""))
        connection.execute(text(f"VACUUM (VERBOSE) {', '.join(erasure.TABLES)}"))
    return " ".join(reports)


def passed_over(clinic: Clinic) -> int:
    """The dead row versions in pages that it could not clean as somebody had them in use."""
    return sum(int(n) for n in re.findall(r"tuples missed: (\d+) dead", vacuumed(clinic)))


def unremovable(clinic: Clinic) -> int:
    """The row versions that PostgreSQL itself reports as dead and not removable."""
    found = [int(n) for n in re.findall(r"(\d+) are dead but not yet removable", vacuumed(clinic))]
    assert len(found) >= 2
    return sum(found)

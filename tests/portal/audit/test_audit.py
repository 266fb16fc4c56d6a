"""The access log: rows written in their transaction, also concurrently, and found."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Denied
from portal.models import AuditEvent, AuditSubject, AuditWriter
from tests.support.audit_log import check, fill, tamper
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core


def test_a_row_goes_with_its_transaction(core: Core) -> None:
    fill(core, 2)
    with core.sessions() as session:
        audit.append(session, "tested", now=NOW, detail={"studies": [uuid4().hex]})
        session.rollback()
        assert session.scalars(select(AuditSubject)).all() == []
    fill(core, 1)
    found = check(core)
    assert found.is_whole
    assert found.count == 3


@contextmanager
def writing(core: Core, **more: bool) -> Iterator[Session]:
    """A transaction that has written to the log and goes on."""
    with core.sessions() as session:
        audit.append(session, "tested", now=NOW, **more)
        yield session


def on_postgres(core: Core) -> None:
    if core.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite there is one transaction at a time")


def test_transactions_that_write_at_once_do_not_wait_for_each_other(core: Core) -> None:
    on_postgres(core)
    with ExitStack() as open_together:
        sessions = [open_together.enter_context(writing(core)) for _ in range(5)]
        for number, session in enumerate(reversed(sessions)):
            if number == 2:
                session.rollback()  # leaves a number out, and no gap
            else:
                session.commit()
    found = check(core)
    assert found.is_whole
    assert found.count == 4
    with core.sessions() as session:
        used = session.scalars(select(AuditWriter.id).where(AuditWriter.count > 0)).all()
    assert len(used) == 4


def test_who_finds_all_writers_taken_waits_for_one(core: Core) -> None:
    on_postgres(core)
    with core.sessions() as session:
        session.execute(text("DELETE FROM audit_writers WHERE id > 1"))
        session.commit()
    done = threading.Event()

    def write() -> None:
        with writing(core) as session:
            session.commit()
        done.set()

    with writing(core) as session:
        other = threading.Thread(target=write)
        other.start()
        assert not done.wait(0.3)
        session.commit()
    other.join(timeout=30)
    assert done.is_set()
    assert check(core).count == 2


def test_one_transaction_may_write_many_rows(core: Core) -> None:
    with core.sessions() as session:
        for in_order in (False, True, False):
            audit.append(session, "tested", now=NOW, in_order=in_order)
        session.commit()
    found = check(core)
    assert (found.is_whole, found.count) == (True, 3)


def test_rows_in_order_wait_for_each_other(core: Core) -> None:
    """None becomes visible behind one that was seen: alarms are marked as seen by their number."""
    on_postgres(core)
    seen = list[int]()

    def write() -> None:
        with writing(core, in_order=True) as session:
            session.commit()
        seen.append(2)

    with writing(core, in_order=True) as session:
        other = threading.Thread(target=write)
        other.start()
        other.join(timeout=0.3)
        seen.append(1)
        session.commit()
    other.join(timeout=30)
    assert seen == [1, 2]


def test_a_log_without_its_writers_takes_no_row(core: Core) -> None:
    tamper(core, "DELETE FROM audit_writers")
    with core.sessions() as session, pytest.raises(RuntimeError, match="can't be written"):
        audit.append(session, "tested", now=NOW)


def test_an_event_is_a_plain_word(core: Core) -> None:
    for event in ("", "Opened", "a b", "study.opened", "x" * 65, "né"):
        with core.sessions() as session, pytest.raises(ValueError, match="small letters"):
            audit.append(session, event, now=NOW)


def test_only_an_auditor_reads_the_log_and_that_is_written_down(clinic: Clinic) -> None:
    fill(clinic.core)
    for actor in (clinic.owner, clinic.mate, clinic.admin):
        with clinic.session as session, pytest.raises(Denied):
            audit.search(session, actor, now=NOW)
    with clinic.session as session:
        rows = audit.search(
            session,
            clinic.auditor,
            now=NOW,
            criteria=audit.AuditFilter(event="tested"),
            before=5,
            limit=2,
        )
        assert [row.seq for row in rows] == [4, 3]
    with clinic.session as session:
        last = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(1)).one()
        assert last.event == "log_read"
        assert last.actor_id == clinic.auditor.user_id
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == 6


def test_whoever_saw_a_case_in_a_list_is_found_by_the_case(clinic: Clinic) -> None:
    seen, other = uuid4(), uuid4()
    with clinic.session as session:
        audit.append(session, "worklist_read", now=NOW, detail={"studies": [other.hex, seen.hex]})
        audit.append(session, "study_opened", now=NOW, study_id=seen)
        audit.append(session, "worklist_read", now=NOW, detail={"studies": [other.hex]})
        session.commit()
        rows = audit.search(
            session, clinic.auditor, now=NOW, criteria=audit.AuditFilter(study_ids=(seen,))
        )
        assert [row.event for row in rows] == ["study_opened", "worklist_read"]


def test_who_saw_a_case_is_read_from_indexes(clinic: Clinic) -> None:
    """However long the log is: no row is read that is not about the case."""
    with clinic.session as session:
        studies = [uuid4() for _ in range(40)]
        for number in range(400):
            shown = [studies[(number + i) % 40].hex for i in range(3)]
            audit.append(
                session, "worklist_read", now=after(seconds=number), detail={"studies": shown}
            )
        session.commit()
        query = audit.matching(audit.AuditFilter(study_ids=(studies[0],))).order_by(
            AuditEvent.seq.desc()
        )
        assert len(session.scalars(query).all()) == 30
        literal = query.limit(100).compile(
            session.get_bind(), compile_kwargs={"literal_binds": True}
        )
        if clinic.core.engine.dialect.name == "sqlite":
            plan = "\n".join(
                row[-1] for row in session.execute(text(f"EXPLAIN QUERY PLAN {literal}"))
            )
            assert "SCAN audit_events" not in plan
            assert "SCAN audit_subjects" not in plan
        else:
            session.execute(text("ANALYZE audit_events, audit_subjects"))
            plan = "\n".join(row[0] for row in session.execute(text(f"EXPLAIN {literal}")))
            assert "Seq Scan on audit_subjects" not in plan
        assert "audit_subjects" in plan


def test_a_row_put_into_the_index_from_outside_names_nobody(clinic: Clinic) -> None:
    """The index leads to a row; that the row names the case is read from the row itself."""
    case = uuid4()
    with clinic.session as session:
        row = audit.append(session, "worklist_read", now=NOW, detail={"studies": [uuid4().hex]})
        session.add(AuditSubject(study_id=case, seq=row.seq))
        session.commit()
        about = audit.AuditFilter(study_ids=(case,))
        assert audit.search(session, clinic.auditor, now=NOW, criteria=about) == []

"""The chain: every committed row gets one link, whoever links, and whatever is stopped half-way."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.audit import chain
from portal.models import AuditEvent, AuditHead, AuditLink
from tests.support.audit_log import check, fill, link, tamper
from tests.support.core import NOW, Core


def links(core: Core) -> list[tuple[int, int]]:
    """Position and row of every link."""
    with core.sessions() as session:
        rows = session.execute(select(AuditLink.position, AuditLink.seq).order_by("position"))
        return [(position, seq) for position, seq in rows]


def test_rows_are_linked_once_in_their_order(core: Core) -> None:
    assert link(core) == 0
    fill(core, 3)
    assert link(core) == 3
    assert link(core) == 0
    fill(core, 2)
    assert link(core) == 2
    assert links(core) == [(n, n) for n in range(1, 6)]
    with core.sessions() as session:
        count, mac = chain.head(session)
        last = session.scalars(select(AuditLink.mac).where(AuditLink.position == 5)).one()
        assert (count, mac) == (5, last)


def test_many_writers_at_once_make_one_chain(core: Core) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            with core.sessions() as session:
                audit.append(
                    session, "tested", now=NOW, detail={"writer": writer, "number": number}
                )
                if number == 4:
                    session.rollback()
                else:
                    session.commit()
            if number == 7:
                link(core)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    link(core)
    found = check(core)
    assert (found.is_whole, found.count, found.unlinked) == (True, 72, ())
    with core.sessions() as session:
        rows = session.scalars(
            select(AuditEvent.detail)
            .join(AuditLink, AuditLink.seq == AuditEvent.seq)
            .order_by(AuditLink.position)
        ).all()
    # What one writer wrote later stands later in the chain.
    for writer in range(8):
        own = [row for row in rows if row.endswith(f'"writer":{writer}}}')]
        assert own == sorted(own)


def test_a_row_that_was_begun_first_and_committed_last_is_linked_too(core: Core) -> None:
    if core.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite there is one transaction at a time")
    with core.sessions() as slow:
        audit.append(slow, "slow", now=NOW)
        fill(core, 3)
        assert link(core) == 3
        slow.commit()
    assert link(core) == 1
    assert links(core) == [(1, 2), (2, 3), (3, 4), (4, 1)]
    assert check(core).is_whole


def test_of_two_that_link_at_once_one_does_it(core: Core) -> None:
    fill(core, 50)
    together = threading.Barrier(4)

    def race() -> int:
        together.wait(timeout=20)
        return link(core)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: race(), range(4)))
    assert sum(done) == 50
    assert [n for n in done if n] == [50]
    assert check(core).is_whole


def test_what_is_stopped_between_commit_and_link_is_linked_by_the_next(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(core)

    class Killed(BaseException):
        """As if the process ended before its commit."""

    def killed(_session: Session) -> None:
        raise Killed

    with monkeypatch.context() as patched, core.sessions() as session:
        patched.setattr(Session, "commit", killed)
        with pytest.raises(Killed):
            chain.link(session)
        session.rollback()
    assert links(core) == []
    assert len(check(core).unlinked) == 5
    assert link(core) == 5
    assert check(core).is_whole


def test_a_backlog_is_linked_in_parts(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linker was down for a while, and several writers went on."""
    monkeypatch.setattr(chain, "_AT_ONCE", 7)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fill(core, 10), range(4)))
    assert link(core) == 40
    found = check(core)
    assert (found.is_whole, found.count, found.unlinked) == (True, 40, ())


def test_linking_nothing_reads_no_row_of_the_log(core: Core) -> None:
    fill(core)
    link(core)
    asked = list[str]()
    with core.sessions() as session:
        connection = session.connection()
        connection.exec_driver_sql("SELECT 1")
        from sqlalchemy import event

        event.listen(core.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
        assert chain.link(session) == 0
    assert len(asked) == 2
    assert not any("audit_events" in statement for statement in asked)


def test_a_log_without_its_head_is_not_linked_anew(core: Core) -> None:
    """A new head would hide that the old one is gone."""
    fill(core)
    link(core)
    tamper(core, "DELETE FROM audit_head")
    fill(core)
    assert link(core) == 0
    with core.sessions() as session:
        assert session.scalar(select(func.count()).select_from(AuditHead)) == 0
    assert not check(core).is_whole

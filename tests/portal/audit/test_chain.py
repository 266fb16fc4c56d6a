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
from tests.support.place import NOW, Place


def links(place: Place) -> list[tuple[int, int]]:
    """Position and row of every link."""
    with place.sessions() as session:
        rows = session.execute(select(AuditLink.position, AuditLink.seq).order_by("position"))
        return [(position, seq) for position, seq in rows]


def test_rows_are_linked_once_in_their_order(place: Place) -> None:
    assert link(place) == 0
    fill(place, 3)
    assert link(place) == 3
    assert link(place) == 0
    fill(place, 2)
    assert link(place) == 2
    assert links(place) == [(n, n) for n in range(1, 6)]
    with place.sessions() as session:
        count, mac = chain.head(session)
        assert (count, mac) == (5, chain.mac_at(session, 5))
        assert chain.mac_at(session, 6) is None


def test_many_writers_at_once_make_one_chain(place: Place) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            with place.sessions() as session:
                audit.append(
                    session, "tested", now=NOW, detail={"writer": writer, "number": number}
                )
                if number == 4:
                    session.rollback()
                else:
                    session.commit()
            if number == 7:
                link(place)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    link(place)
    found = check(place)
    assert (found.is_whole, found.count, found.unlinked) == (True, 72, ())
    with place.sessions() as session:
        rows = session.scalars(
            select(AuditEvent.detail)
            .join(AuditLink, AuditLink.seq == AuditEvent.seq)
            .order_by(AuditLink.position)
        ).all()
    # What one writer wrote later stands later in the chain.
    for writer in range(8):
        own = [row for row in rows if row.endswith(f'"writer":{writer}}}')]
        assert own == sorted(own)


def test_a_row_that_was_begun_first_and_committed_last_is_linked_too(place: Place) -> None:
    if place.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite there is one transaction at a time")
    with place.sessions() as slow:
        audit.append(slow, "slow", now=NOW)
        fill(place, 3)
        assert link(place) == 3
        slow.commit()
    assert link(place) == 1
    assert links(place) == [(1, 2), (2, 3), (3, 4), (4, 1)]
    assert check(place).is_whole


def test_of_two_that_link_at_once_one_does_it(place: Place) -> None:
    fill(place, 50)
    together = threading.Barrier(4)

    def race() -> int:
        together.wait(timeout=20)
        return link(place)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: race(), range(4)))
    assert sum(done) == 50
    assert [n for n in done if n] == [50]
    assert check(place).is_whole


def test_what_is_stopped_between_commit_and_link_is_linked_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place)

    class Killed(BaseException):
        """As if the process ended before its commit."""

    def killed(_session: Session) -> None:
        raise Killed

    with monkeypatch.context() as patched, place.sessions() as session:
        patched.setattr(Session, "commit", killed)
        with pytest.raises(Killed):
            chain.link(session)
        session.rollback()
    assert links(place) == []
    assert len(check(place).unlinked) == 5
    assert link(place) == 5
    assert check(place).is_whole


def test_a_backlog_is_linked_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linker was down for a while, and several writers went on."""
    monkeypatch.setattr(chain, "_AT_ONCE", 7)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fill(place, 10), range(4)))
    assert link(place) == 40
    found = check(place)
    assert (found.is_whole, found.count, found.unlinked) == (True, 40, ())


def test_a_look_that_finds_nothing_reads_no_row_of_the_log(place: Place) -> None:
    fill(place)
    link(place)
    asked = list[str]()
    with place.sessions() as session:
        connection = session.connection()
        connection.exec_driver_sql("SELECT 1")
        from sqlalchemy import event

        event.listen(place.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
        assert chain.link(session) == 0
    assert len(asked) == 2
    assert not any("audit_events" in statement for statement in asked)


def test_a_log_without_its_head_is_not_linked_anew(place: Place) -> None:
    """A new head would hide that the old one is gone."""
    fill(place)
    link(place)
    tamper(place, "DELETE FROM audit_head")
    fill(place)
    assert link(place) == 0
    with place.sessions() as session:
        assert session.scalar(select(func.count()).select_from(AuditHead)) == 0
    assert not check(place).is_whole

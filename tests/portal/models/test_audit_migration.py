"""The log of the version before stays as it is, goes on in writers and links, and can go back."""

import hmac
import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from portal import audit, database
from portal.audit import first_seals
from portal.models import AuditLink, AuditSubject
from tests.support.audit_log import check, fill, link, tamper
from tests.support.clinic import Clinic
from tests.support.core import NOW, Core

BEFORE = "0006"
SEEN, OTHER, TWIN = UUID(int=1), UUID(int=2), UUID(int=3)
DETAILS = [
    {"studies": [SEEN.hex, OTHER.hex]},
    {"number": 7},
    {"studies": []},
    {"same_uid_as": TWIN.hex},
    {"studies": [SEEN.hex], "more": "x"},
]


def old_log(core: Core) -> list[tuple[object, ...]]:
    """Rows as version 0.1 wrote them, with its own MACs, in its own schema."""
    database.downgrade(core.engine, BEFORE)
    key, mac = core.vault.audit_key(), ""
    with core.engine.begin() as connection:
        for seq, content in enumerate(DETAILS, 1):
            at, detail = NOW + timedelta(minutes=seq), json.dumps(content, separators=(",", ":"))
            fields = (mac, seq, at.isoformat(), "tested", None, None, "cli", "", None, None, detail)
            mac = hmac.new(key, json.dumps(fields).encode(), "sha256").hexdigest()
            stored = at.replace(tzinfo=None) if connection.dialect.name == "sqlite" else at
            connection.execute(
                text(
                    "INSERT INTO audit_events (seq, at, event, via, address, detail, mac) "
                    "VALUES (:seq, :at, 'tested', 'cli', '', :detail, :mac)"
                ),
                {"seq": seq, "at": str(stored), "detail": detail, "mac": mac},
            )
        seal = hmac.new(key, f"head:{seq}:{mac}".encode(), "sha256").hexdigest()
        connection.execute(
            text("UPDATE audit_head SET count = :count, mac = :mac, seal = :seal"),
            {"count": seq, "mac": mac, "seal": seal},
        )
    return as_it_was(core)


def to_this_version(core: Core) -> None:
    """What `migrate` and `upgrade` do with the log."""
    database.upgrade(core.engine)
    with core.sessions() as session:
        assert first_seals.seal(session)


def as_it_was(core: Core) -> list[tuple[object, ...]]:
    with core.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT seq, at, event, via, detail, mac FROM audit_events ORDER BY seq")
        )
        head = connection.execute(text("SELECT id, count, mac, seal FROM audit_head"))
        return [tuple(row) for row in (*rows, *head)]


def test_the_old_chain_stays_whole_and_goes_on(core: Core) -> None:
    before = old_log(core)
    database.upgrade(core.engine)
    assert as_it_was(core) == before
    to_this_version(core)
    found = check(core)
    assert (found.is_whole, found.count, found.unlinked) == (True, 5, ())
    fill(core, 3)
    assert check(core).unlinked == (6, 7, 8)
    assert link(core) == 3
    found = check(core)
    assert (found.is_whole, found.count) == (True, 8)
    with core.sessions() as session:
        links = session.execute(select(AuditLink.position, AuditLink.seq).order_by("position"))
        assert [tuple(row) for row in links] == [(n, n) for n in range(1, 9)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize(
    ("tampering", "first_bad"),
    [
        ("UPDATE audit_events SET event = 'other' WHERE seq = 3", 3),
        ("UPDATE audit_events SET mac = 'ff' WHERE seq = 5", 5),
        ("DELETE FROM audit_events WHERE seq = 2", 2),
        ("DELETE FROM audit_events WHERE seq = 5", 5),
        ("DELETE FROM audit_links WHERE position = 5", 5),
        ("UPDATE audit_events SET writer = 1, writer_seq = 1 WHERE seq = 1", 1),
        ("DELETE FROM audit_subjects WHERE seq = 4", 4),
    ],
)
def test_tampering_with_old_rows_is_found(
    core: Core, tampering: str, first_bad: int, goes_on: bool
) -> None:
    old_log(core)
    to_this_version(core)
    if goes_on and "writer" not in tampering:
        fill(core)
        link(core)
    tamper(core, tampering)
    assert check(core).first_bad == first_bad


def test_old_rows_that_were_cut_off_are_missed_when_the_chain_goes_on(core: Core) -> None:
    """The head was made to fit by hand; linking the rows behind it anew does not seal it again."""
    old_log(core)
    to_this_version(core)
    fill(core)
    link(core)
    tamper(
        core,
        "DELETE FROM audit_links WHERE position > 3",
        "DELETE FROM audit_events WHERE seq IN (4, 5)",
        "DELETE FROM audit_subjects WHERE seq IN (4, 5)",
        "UPDATE audit_head SET count = 3, linked = '{}', "
        "mac = (SELECT mac FROM audit_links WHERE position = 3)",
    )
    assert link(core) == 5
    assert check(core).problem == "the head of the log was changed"


def test_who_saw_a_case_is_known_of_old_rows_too(clinic: Clinic) -> None:
    core = clinic.core
    old_log(core)
    to_this_version(core)
    with core.sessions() as session:
        rows = session.execute(select(AuditSubject.seq, AuditSubject.study_id)).all()
        assert sorted((seq, study) for seq, study in rows) == [
            (1, SEEN),
            (1, OTHER),
            (4, TWIN),
            (5, SEEN),
        ]
        about = audit.AuditFilter(study_ids=(SEEN,))
        found = audit.search(session, clinic.auditor, now=NOW, criteria=about)
        assert [row.seq for row in found] == [5, 1]


def test_it_goes_back_as_long_as_nothing_new_was_written(core: Core) -> None:
    before = old_log(core)
    for _ in range(2):
        database.upgrade(core.engine)
        database.downgrade(core.engine, BEFORE)
        assert as_it_was(core) == before
        with core.engine.begin() as connection, pytest.raises(Exception, match="append-only"):
            connection.execute(text("DELETE FROM audit_events"))
    to_this_version(core)
    with core.sessions() as session:
        audit.append(session, "tested", now=NOW, detail={"studies": [uuid4().hex]})
        session.commit()
    with pytest.raises(RuntimeError, match="1 rows that the version before can't check"):
        database.downgrade(core.engine, BEFORE)
    assert check(core).count == 6

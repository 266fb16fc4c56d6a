"""Who was informed: what a record must have, that it closes the finding, and that it stays."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal.access import Denied
from portal.critical import case_view, communications, findings, open_findings
from portal.critical.communications import Stated
from portal.errors import Conflict, Invalid
from portal.governance import purges
from portal.models import AuditEvent, Communication, PurgeReason
from tests.portal.critical.test_findings import exam, read, states, verified
from tests.support.clinic import Clinic, after

PERSON = "Dr Grün, ward 7"
STATED = Stated(PERSON, "phone", "yes", minutes_ago="3")


def record(clinic: Clinic, study_id: UUID, stated: Stated = STATED, minutes: int = 15) -> UUID:
    with clinic.session as session:
        made = communications.record(
            session, clinic.vault, clinic.mate, study_id, stated, after(minutes=minutes)
        )
        return made.id


@pytest.fixture
def study_id(clinic: Clinic) -> UUID:
    found = exam(clinic)
    read(clinic, found)
    return found


def test_the_record_closes_it_and_is_sealed(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id)
    assert states(clinic, study_id) == [("right", "closed")]
    with clinic.session as session:
        assert open_findings.of_actor(session, clinic.mate).count == 0
        (row,) = session.scalars(select(Communication))
        assert b"Gr" not in row.sealed_person
        (shown,) = case_view.of_case(session, clinic.vault, clinic.mate, study_id).findings
        log = session.scalars(select(AuditEvent.detail)).all()
    (one,) = shown.communications
    assert (one.person, one.informed_by, one.means.value) == (PERSON, "Test mate", "phone")
    assert (one.read_back, one.informed_at) == (True, after(minutes=12))
    assert not any("Gr" in detail for detail in log)
    assert verified(clinic)


def test_a_further_record_is_added_to_a_closed_one(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id)
    surgeon = replace(STATED, person="The surgeon", read_back="no")
    record(clinic, study_id, surgeon, minutes=16)
    with clinic.session as session:
        (shown,) = case_view.of_case(session, clinic.vault, clinic.mate, study_id).findings
    assert [one.person for one in shown.communications] == [PERSON, "The surgeon"]
    read(clinic, study_id, now=after(minutes=17), comment="Seen again.")
    assert states(clinic, study_id) == [("right", "closed")]
    read(clinic, study_id, "left", now=after(minutes=18))  # nobody was informed of this side
    assert states(clinic, study_id) == [("right", "closed"), ("left", "open")]


def test_a_colleague_of_the_team_may_have_informed_them(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id, replace(STATED, informed_by=clinic.colleague.user_id.hex))
    with clinic.session as session:
        (shown,) = case_view.of_case(session, clinic.vault, clinic.mate, study_id).findings
    assert shown.communications[0].informed_by == "Test colleague"
    assert shown.communications[0].author == "Test mate"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("person", ""),
        ("person", " \u202e\n"),
        ("person", "x" * 121),
        ("means", "pigeon"),
        ("means", ""),
        ("read_back", ""),
        ("read_back", "perhaps"),
        ("minutes_ago", "-1"),
        ("minutes_ago", "1441"),
        ("minutes_ago", "9" * 5000),
        ("minutes_ago", "soon"),
        ("informed_by", str(UUID(int=7))),
        ("informed_by", "nobody"),
        ("informed_by", "admin"),
        ("informed_by", "outsider"),
    ],
)
def test_what_is_not_complete_is_refused(
    clinic: Clinic, study_id: UUID, field: str, value: str
) -> None:
    if value in ("admin", "outsider"):
        value = str(getattr(clinic, value).user_id)
    with pytest.raises(Invalid) as refused:
        record(clinic, study_id, replace(STATED, **{field: value}))
    assert refused.value.code == field
    assert states(clinic, study_id) == [("right", "open")]
    with clinic.session as session:
        assert session.scalars(select(Communication)).all() == []


def test_without_a_critical_finding_there_is_nothing_to_record(clinic: Clinic) -> None:
    other = exam(clinic, "B", 2)
    with pytest.raises(Conflict):
        record(clinic, other)
    read(clinic, other)
    read(clinic, other, "none", now=after(minutes=11))
    with pytest.raises(Conflict):
        record(clinic, other)
    with clinic.session as session, pytest.raises(Conflict):
        findings.acknowledge(session, clinic.mate, other, after(minutes=12))


def test_others_cannot_record(clinic: Clinic, study_id: UUID) -> None:
    with clinic.session as session:
        for actor in (clinic.outsider, clinic.owner, clinic.admin):
            with pytest.raises(Denied):
                communications.record(
                    session, clinic.vault, actor, study_id, STATED, after(minutes=15)
                )


def test_a_record_is_never_changed_or_removed(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id)
    for statement in (
        "UPDATE communications SET read_back = NOT read_back",
        "DELETE FROM communications",
    ):
        with clinic.session as session, pytest.raises(DBAPIError):
            session.execute(text(statement))


def test_after_a_purge_the_name_can_not_be_read(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id)
    with clinic.session as session:
        now = after(minutes=20)
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, now), reason=PurgeReason.TEST_DATA
        )
        rows = findings.of_exam(session, study_id)
        records = communications.of_findings(session, clinic.vault, rows)
    assert [one.person for one in records[rows[0].id]] == ["(not readable)"]


def test_the_times_of_a_record_are_those_that_were_stated(clinic: Clinic, study_id: UUID) -> None:
    record(clinic, study_id, replace(STATED, minutes_ago="65"))  # before it was written down here
    with clinic.session as session:
        (row,) = session.scalars(select(Communication))
    assert (row.informed_at, row.created) == (after(minutes=-50), after(minutes=15))

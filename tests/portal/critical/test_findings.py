"""A critical finding: when it opens, when it ends, and what of it stands in the log."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal.access import Denied
from portal.critical import case_view, findings, open_findings
from portal.errors import Conflict
from portal.governance import purges
from portal.models import (
    AuditEvent,
    CriticalFinding,
    CriticalState,
    Notification,
    NotificationState,
    PurgeReason,
    Study,
)
from portal.reading import reviews
from tests.support.audit_log import check, link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom

OPEN, CLOSED, WITHDRAWN = CriticalState.OPEN, CriticalState.CLOSED, CriticalState.WITHDRAWN


def exam(clinic: Clinic, patient: str | None = "A", day: int = 1) -> UUID:
    data = dicom(PatientID=patient, StudyTime=f"0{day}0000")
    study_id = clinic.submit(data, now=after(minutes=day)).study_id
    clinic.render(study_id)
    return study_id


def read(clinic: Clinic, study_id: UUID, finding: str = "right", **more: Any) -> None:
    with clinic.session as session:
        now = more.pop("now", after(minutes=10))
        reviews.add_review(
            session, clinic.vault, clinic.mate, study_id, finding=finding, now=now, **more
        )


def states(clinic: Clinic, study_id: UUID) -> list[tuple[str, str]]:
    with clinic.session as session:
        return [(row.finding.value, row.state.value) for row in findings.of_exam(session, study_id)]


def verified(clinic: Clinic) -> bool:
    link(clinic.core)
    return check(clinic.core).findings == []


def events(clinic: Clinic) -> list[str]:
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent.event).order_by(AuditEvent.seq))
        return [event for event in rows if event.startswith("critical_")]


@pytest.mark.parametrize("finding", ["right", "left", "both"])
def test_a_new_pneumothorax_opens_one(clinic: Clinic, finding: str) -> None:
    study_id = exam(clinic)
    read(clinic, study_id, finding)
    assert states(clinic, study_id) == [(finding, "open")]
    assert events(clinic) == ["critical_opened"]
    read(clinic, study_id, finding, comment="Said once more.")
    assert states(clinic, study_id) == [(finding, "open")]


@pytest.mark.parametrize("finding", ["none", "unsure"])
def test_another_finding_opens_none(clinic: Clinic, finding: str) -> None:
    study_id = exam(clinic)
    read(clinic, study_id, finding)
    assert states(clinic, study_id) == []


def test_one_that_is_unmarked_opens_none_and_ends_the_one_that_is_open(clinic: Clinic) -> None:
    study_id, other = exam(clinic, "A"), exam(clinic, "B", 2)
    read(clinic, study_id, critical=False)
    assert states(clinic, study_id) == []
    with clinic.session as session:  # the box stays as the reader left it
        assert not case_view.of_case(session, clinic.vault, clinic.mate, study_id).is_marked
    read(clinic, other)
    read(clinic, other, critical=False, now=after(minutes=11))  # the same finding once more
    assert states(clinic, other) == [("right", "withdrawn")]
    assert events(clinic) == ["critical_opened", "critical_withdrawn"]


def test_a_finding_that_is_taken_back_ends_it(clinic: Clinic) -> None:
    study_id = exam(clinic)
    read(clinic, study_id)
    read(clinic, study_id, "none", now=after(minutes=11))
    assert states(clinic, study_id) == [("right", "withdrawn")]


def test_another_side_is_another_critical_finding(clinic: Clinic) -> None:
    study_id = exam(clinic)
    read(clinic, study_id, "right")
    read(clinic, study_id, "left", now=after(minutes=11))
    assert states(clinic, study_id) == [("right", "withdrawn"), ("left", "open")]


def test_a_pneumothorax_that_an_earlier_exam_has_is_not_new(clinic: Clinic) -> None:
    first, second = exam(clinic, "A", 1), exam(clinic, "A", 3)
    stranger = exam(clinic, "B", 2)
    read(clinic, stranger)
    read(clinic, first, critical=False)
    read(clinic, second)
    assert states(clinic, second) == []
    with clinic.session as session:
        shown = case_view.of_case(session, clinic.vault, clinic.mate, second)
        first_shown = case_view.of_case(session, clinic.vault, clinic.mate, first)
        number = session.get_one(Study, first).case_number
    assert shown.earlier is not None
    assert (shown.earlier.case_number, shown.earlier.finding.value) == (number, "right")
    assert not shown.is_marked
    assert first_shown.earlier is None  # the other one was taken later
    read(clinic, second, critical=True, now=after(minutes=12))  # it has grown, say
    assert states(clinic, second) == [("right", "open")]


def test_an_earlier_exam_counts_as_it_was_read_last(clinic: Clinic) -> None:
    first, second = exam(clinic, "A", 1), exam(clinic, "A", 3)
    read(clinic, first)
    read(clinic, first, "none", now=after(minutes=11))
    read(clinic, second, now=after(minutes=12))
    assert states(clinic, second) == [("right", "open")]


def test_an_old_exam_never_alarms(clinic: Clinic) -> None:
    study_id = exam(clinic)
    with clinic.session as session:
        session.get_one(Study, study_id).is_old = True
        session.commit()
    read(clinic, study_id, critical=True)
    assert states(clinic, study_id) == []
    with clinic.session as session:
        shown = case_view.of_case(session, clinic.vault, clinic.mate, study_id)
        assert (shown.is_old, shown.is_marked) == (True, False)
        with pytest.raises(Conflict) as refused:
            findings.mark(session, clinic.mate, study_id, True, after(minutes=11))
    assert refused.value.code == "old_exam"


def test_it_is_marked_and_unmarked_after_the_verdict(clinic: Clinic) -> None:
    study_id = exam(clinic)
    with clinic.session as session, pytest.raises(Conflict) as refused:
        findings.mark(session, clinic.mate, study_id, True, NOW)
    assert refused.value.code == "no_finding"
    read(clinic, study_id, critical=False)
    for marked, expected in ((True, "open"), (True, "open"), (False, "withdrawn")):
        with clinic.session as session:
            findings.mark(session, clinic.mate, study_id, marked, after(minutes=11))
        assert states(clinic, study_id) == [("right", expected)]
    with clinic.session as session:
        assert not case_view.of_case(session, clinic.vault, clinic.mate, study_id).is_marked


def test_only_the_team_sees_and_changes_it(clinic: Clinic) -> None:
    study_id = exam(clinic)
    read(clinic, study_id)
    with clinic.session as session:
        for actor in (clinic.outsider, clinic.owner, clinic.admin, clinic.auditor):
            with pytest.raises(Denied):
                findings.acknowledge(session, actor, study_id, NOW)
            with pytest.raises(Denied):
                findings.mark(session, actor, study_id, False, NOW)
        for actor in (clinic.outsider, clinic.admin):
            with pytest.raises(Denied):
                case_view.of_case(session, clinic.vault, actor, study_id)
        counts = {
            name: open_findings.of_actor(session, getattr(clinic, name)).count
            for name in ("owner", "mate", "outsider", "colleague", "admin", "auditor")
        }
    # The colleague sent no picture of it.
    assert {name for name, count in counts.items() if count} == {"owner", "mate"}


def test_the_strip_has_the_oldest_first_and_who_is_asked(clinic: Clinic) -> None:
    ids = [exam(clinic, str(day), day) for day in range(1, 8)]
    for minute, study_id in enumerate(ids, 10):
        read(clinic, study_id, now=after(minutes=minute))
    with clinic.session as session:
        strip = open_findings.of_actor(session, clinic.mate)
    assert (strip.count, strip.since) == (7, after(minutes=10))
    assert [one.study_id for one in strip.oldest] == ids[:5]
    assert {one.asked for one in strip.oldest} == {"Test mate"}
    with clinic.session as session:
        findings.acknowledge(session, clinic.mate, ids[0], after(minutes=20))
        strip = open_findings.of_actor(session, clinic.mate)
    assert strip.oldest[0].acknowledged == "Test mate"


def test_a_purge_ends_it_and_nobody_is_notified(clinic: Clinic) -> None:
    study_id = exam(clinic)
    read(clinic, study_id)
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW), reason=PurgeReason.TEST_DATA
        )
        (row,) = session.scalars(select(CriticalFinding))
        assert (row.state, row.due) == (WITHDRAWN, None)
        assert set(session.scalars(select(Notification.state))) == {NotificationState.DROPPED}
        assert open_findings.of_actor(session, clinic.mate).count == 0
    assert verified(clinic)


def test_each_change_is_bound_to_the_log(clinic: Clinic) -> None:
    study_id = exam(clinic)
    read(clinic, study_id)
    with clinic.session as session:
        findings.acknowledge(session, clinic.mate, study_id, after(minutes=11))
    assert verified(clinic)
    with clinic.session as session:
        (row,) = session.scalars(select(CriticalFinding))
        row.state = CLOSED  # from outside
        session.commit()
    with clinic.session as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text("UPDATE critical_findings SET state = 'open'"))
    assert not verified(clinic)

"""A critical finding: when it opens, when it ends, and what of it stands in the log."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal.access import Actor, Denied
from portal.critical import case_view, communications, findings, open_findings
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
from tests.portal.teams.test_ai_visibility import AFTER, set_policy
from tests.support.audit_log import check, link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom
from tests.support.second_reads.readers import ask, colleague, state

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


def test_one_that_had_gone_and_has_come_back_is_new(clinic: Clinic) -> None:
    first, gone, unread, unsure, back = (exam(clinic, "A", day) for day in range(1, 6))
    read(clinic, first)
    read(clinic, gone, "none")
    read(clinic, unsure, "unsure")
    read(clinic, back)
    assert states(clinic, back) == [("right", "open")]
    assert states(clinic, unread) == []
    with clinic.session as session:
        shown = case_view.of_case(session, clinic.vault, clinic.mate, unread)
    assert (shown.earlier, shown.is_marked) == (None, True)


@pytest.mark.parametrize(("day", "is_new"), [("20251130", True), ("20251225", False)])
def test_one_of_months_ago_is_another_one(clinic: Clinic, day: str, is_new: bool) -> None:
    before = clinic.submit(dicom(PatientID="A", StudyDate=day)).study_id
    clinic.render(before)
    read(clinic, before)
    now = exam(clinic, "A")
    read(clinic, now)
    assert states(clinic, now) == ([("right", "open")] if is_new else [])


@pytest.mark.parametrize(
    ("before", "now", "is_new"),
    [
        ("right", "left", True),
        ("right", "both", True),
        ("right", "right", False),
        ("both", "left", False),
        ("both", "both", False),
    ],
)
def test_a_pneumothorax_on_another_side_than_the_known_one_is_new(
    clinic: Clinic, before: str, now: str, is_new: bool
) -> None:
    first, second = exam(clinic, "A", 1), exam(clinic, "A", 2)
    read(clinic, first, before, critical=False)
    with clinic.session as session:
        shown = case_view.of_case(session, clinic.vault, clinic.mate, second)
    assert (shown.is_marked, shown.by_side) == (False, before != "both")
    read(clinic, second, now)
    assert states(clinic, second) == ([(now, "open")] if is_new else [])


def test_a_finding_of_the_other_side_ends_where_the_one_that_was_closed_is_stated_again(
    clinic: Clinic,
) -> None:
    study_id = exam(clinic)
    read(clinic, study_id, "right")
    with clinic.session as session:
        stated = communications.Stated("Ward 7", "phone", "yes")
        communications.record(
            session, clinic.vault, clinic.mate, study_id, stated, after(minutes=11)
        )
    read(clinic, study_id, "left", now=after(minutes=12))
    read(clinic, study_id, "right", now=after(minutes=13))
    assert states(clinic, study_id) == [("right", "closed"), ("left", "withdrawn")]


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


@pytest.mark.parametrize("why", ["second_read", "policy"])
def test_what_is_new_reveals_no_finding_that_is_hidden_from_the_reader(
    clinic: Clinic, why: str
) -> None:
    second, earlier, later = colleague(clinic, "second"), exam(clinic), exam(clinic, day=2)
    read(clinic, earlier)
    if why == "policy":
        set_policy(clinic, AFTER)
    else:
        ask(clinic, clinic.mate, earlier)

    def known(actor: Actor) -> UUID | None:
        with clinic.session as session:
            found = case_view.of_case(session, clinic.vault, actor, later).earlier
        return found.study_id if found else None

    assert known(clinic.mate) == earlier
    assert known(second) is None
    state(clinic, second, later, "right", after(minutes=20))  # as for a patient without another
    assert states(clinic, later) == [("right", "open")]
    state(clinic, second, earlier, "right", after(minutes=30))
    assert known(second) == earlier

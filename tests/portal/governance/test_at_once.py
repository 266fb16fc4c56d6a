"""Two schedulers, or one beside an administrator, at once: as if one had come after the other.

The first stops after a statement until the other has ended, or waits for it.
"""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portal.governance import clock, integrity_state, purges, quarantine, retention
from portal.governance.quarantine import Reason
from portal.models import (
    AuditEvent,
    ClockState,
    HospitalOrder,
    HospitalReport,
    IntegrityCheck,
    PurgeReason,
    QuarantinedFile,
    Study,
)
from tests.portal.accounts.test_at_once import beside
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, give

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_clock_is_judged_for_the_first_time_by_two_at_once(
    clinic: Clinic, by_hand: bool
) -> None:
    def judge() -> None:
        with clinic.session as session:
            clock.judge(session, NOW, MINUTE)

    def confirm() -> None:
        with clinic.session as session:
            clock.confirm(session, clinic.admin, NOW)

    beside(clinic, "FROM clock_states", judge, confirm if by_hand else judge)
    with clinic.session as session:
        assert session.scalars(select(ClockState.trusted_at)).all() == [NOW]


def test_stored_data_is_checked_for_the_first_time_by_two_at_once(clinic: Clinic) -> None:
    def save(problem: str) -> None:
        with clinic.session as session:
            integrity_state.save(session, [problem], NOW)

    beside(clinic, "integrity_checks", lambda: save("one"), lambda: save("other"))
    with clinic.session as session:
        assert session.scalars(select(IntegrityCheck.problems)).all() == [["other"]]


def run(clinic: Clinic, days: float) -> retention.Done:
    settings = clinic.core.settings.model_copy(update={"retention_unreviewed_days": 30})
    with clinic.session as session:
        clock.judge(session, after(days=days), timedelta(days=days))
    with clinic.session as session:
        return retention.run(session, clinic.vault, settings, after(days=days))


def test_two_schedulers_at_once_announce_each_purge_once(clinic: Clinic) -> None:
    for _ in range(3):
        clinic.done()
    for days in (6, 12, 18):
        run(clinic, days)
    beside(
        clinic, "NOT IN (SELECT announced_purges", lambda: run(clinic, 24), lambda: run(clinic, 24)
    )
    rows = select(func.count()).where(AuditEvent.event == "purge_announced")
    with clinic.session as session:
        assert retention.announced(session, clinic.admin)[1] == 3
        assert session.scalar(rows) == 3


def test_what_is_announced_anew_while_it_is_due_is_not_purged(clinic: Clinic) -> None:
    """An administrator confirms the clock between the list of what is due and its purge."""
    clinic.done()
    for days in (6, 12, 18, 24, 30):
        run(clinic, days)

    def confirm() -> None:
        with clinic.session as session:
            clock.confirm(session, clinic.admin, after(days=35))

    done, _ = beside(clinic, "studies.id IN (", lambda: run(clinic, 35), confirm)
    assert (len(done.purged), len(done.left)) == (0, 1)
    with clinic.session as session:
        assert session.scalars(select(Study.purged_at)).all() == [None]


def purge(clinic: Clinic) -> None:
    with clinic.session as session:
        study_id = session.scalars(select(Study.id)).one()
        purges.purge(session, clinic.vault, clinic.admin, study_id, NOW, reason=PurgeReason.OTHER)


def left(clinic: Clinic) -> list[int]:
    """How many rows there are of what a purge takes with it."""
    tables = (HospitalOrder, HospitalReport, QuarantinedFile)
    with clinic.session as session:
        counts = (session.scalar(select(func.count()).select_from(table)) for table in tables)
        return [count or 0 for count in counts]


@pytest.mark.parametrize("message", [made.orm(), made.oru()])
def test_what_the_hospital_states_while_its_exam_is_purged_does_not_survive_that(
    clinic: Clinic, message: bytes
) -> None:
    add_node(clinic)
    clinic.done()

    def take() -> list[str]:
        return [ack.code for ack in give(clinic.core, message)]

    # After the look at the exams, and before anything is stored.
    codes, _ = beside(clinic, "studies.accession_key = ", take, lambda: purge(clinic))
    assert codes == ["AA"]
    assert left(clinic) == [0, 0, 0]


def test_what_is_stated_after_a_purge_has_looked_is_of_no_exam(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.done()
    beside(
        clinic,
        "FROM hospital_reports",
        lambda: purge(clinic),
        lambda: give(clinic.core, made.oru()),
    )
    taken = select(AuditEvent.detail).where(AuditEvent.event == "hl7_message_taken")
    with clinic.session as session:
        assert session.scalars(taken).one() == '{"studies":[],"type":"ORU^R01"}'


def test_a_file_that_is_kept_in_quarantine_beside_a_purge_of_its_exam_goes_with_it(
    clinic: Clinic,
) -> None:
    clinic.submit(StudyInstanceUID="1.2.3")

    def keep() -> bool:
        with clinic.session as session:
            reason = Reason("not_single_frame", study_uid="1.2.3")
            return quarantine.keep(session, clinic.vault, clinic.owner, b"one", reason, NOW)

    # Of the transaction that stores the row: it has locked the team.
    assert beside(clinic, "FROM teams", keep, lambda: purge(clinic))[0]
    assert left(clinic) == [0, 0, 0]

"""A picture that a rule puts into quarantine, and what administrators do with it."""

from typing import Any

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.governance import quarantine
from portal.governance.quarantine import Reason
from portal.intake import quarantined, submission
from portal.intake.check import Limits
from portal.intake.stated import Stated
from portal.models import Arrival, ArrivalEnd, AuditEvent, Instance, QuarantinedFile, Study
from portal.studies import sealed_fields
from portal.teams.rules import changes
from portal.teams.rules.conditions import Conditions, Rule
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.pictures import dicom, picture

LIMITS = Limits(2**24)
HANDS = Rule("Hands", ArrivalEnd.QUARANTINE, "No chest", Conditions(body_parts=("HAND",)))


def add_rule(clinic: Clinic, rule: Rule = HANDS) -> None:
    with clinic.session as session:
        changes.store(session, clinic.admin, clinic.owner.team_id, rule, 0, NOW)


def put_there(clinic: Clinic, data: bytes | None = None) -> bytes:
    """A picture that the rule puts into quarantine."""
    data = data or dicom(BodyPartExamined="HAND")
    with pytest.raises(Refused, match="No chest") as refused:
        clinic.submit(data)
    assert refused.value.code == "quarantined"
    return data


def listed(clinic: Clinic) -> list[quarantined.Quarantined]:
    with clinic.session as session:
        return quarantined.listed(session, clinic.admin)


def release(clinic: Clinic, actor: Any = None) -> submission.Submitted:
    (one,) = listed(clinic)
    with clinic.session as session:
        return quarantined.release(
            *(session, clinic.vault, actor or clinic.admin, one.id, NOW),
            limits=LIMITS,
            old_exam_hours=24,
        )


def counted(clinic: Clinic, table: Any) -> int:
    with clinic.session as session:
        return len(session.scalars(select(table)).all())


def events(clinic: Clinic, name: str) -> list[AuditEvent]:
    with clinic.session as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.event == name)))


def test_what_a_rule_puts_there_is_no_exam_and_is_listed_with_its_reason(clinic: Clinic) -> None:
    add_rule(clinic)
    put_there(clinic)
    assert counted(clinic, Study) == 0
    (one,) = listed(clinic)
    assert (one.rule, one.reason, one.code, one.via) == (
        "Hands",
        "No chest",
        "quarantined",
        "session",
    )
    assert one.sender == "Test owner"
    assert "PHANTOM" not in repr(one)
    with clinic.session as session:
        (held,) = quarantined.held(session, clinic.admin)
    assert (held.files, held.size, held.is_full) == (1, one.size, False)


def test_a_released_picture_is_its_senders_and_analysed_whatever_the_rules_say(
    clinic: Clinic,
) -> None:
    add_rule(clinic)
    data = put_there(clinic)
    done = release(clinic)
    assert done.job_id is not None
    with clinic.session as session:
        instance = session.get_one(Instance, done.instance_id)
        arrived = session.get_one(Arrival, done.instance_id)
        assert instance.uploaded_by == clinic.owner.user_id
        assert (arrived.end, arrived.rule_id) == (ArrivalEnd.ANALYSE, None)
    assert counted(clinic, QuarantinedFile) == 0
    (row,) = events(clinic, "quarantine_released")
    assert (row.actor_id, row.study_id) == (clinic.admin.user_id, done.study_id)
    (sent,) = events(clinic, "study_submitted")
    assert (sent.actor_id, sent.via) == (clinic.owner.user_id, "release")
    # The rule holds for others as before, and this one is known.
    assert clinic.submit(data).duplicate
    put_there(clinic, dicom(BodyPartExamined="HAND"))


def test_what_was_typed_with_a_picture_comes_with_it(clinic: Clinic) -> None:
    add_rule(clinic, Rule("All", ArrivalEnd.QUARANTINE, "Stop"))
    with clinic.session as session, pytest.raises(Refused):
        submission.submit(
            *(session, clinic.vault, clinic.owner, "typed.png", picture(3), NOW),
            stated=Stated(patient_id="P-7", patient_name="CANARY"),
        )
    done = release(clinic)
    with clinic.session as session:
        study = session.get_one(Study, done.study_id)
        key = sealed_fields.key_of(clinic.vault, study)
        patient = sealed_fields.open_patient(clinic.vault, key, study)
    assert (patient.patient_id, patient.patient_name) == ("P-7", "CANARY")


def test_the_checks_hold_for_a_released_file_and_it_stays(clinic: Clinic) -> None:
    with clinic.session as session:
        quarantine.keep(
            *(session, clinic.vault, clinic.owner, dicom(NumberOfFrames=3)),
            Reason("not_single_frame"),
            NOW,
        )
    with pytest.raises(Refused) as refused:
        release(clinic)
    assert refused.value.code == "not_single_frame"
    assert (counted(clinic, QuarantinedFile), counted(clinic, Study)) == (1, 0)


def test_one_that_came_another_way_meanwhile_is_released_without_a_second_picture(
    clinic: Clinic,
) -> None:
    add_rule(clinic)
    data = put_there(clinic)
    with clinic.session as session:
        changes.restore(session, clinic.admin, clinic.owner.team_id, 0, 1, NOW)
    first = clinic.submit(data)
    done = release(clinic)
    assert (done.duplicate, done.study_id) == (True, first.study_id)
    assert counted(clinic, Instance) == 1
    assert counted(clinic, QuarantinedFile) == 0


def test_a_discarded_file_is_gone_with_its_key(clinic: Clinic) -> None:
    add_rule(clinic)
    put_there(clinic)
    (one,) = listed(clinic)
    with clinic.session as session:
        quarantined.discard(session, clinic.vault, clinic.admin, one.id, NOW)
        with pytest.raises(Denied):
            quarantined.discard(session, clinic.vault, clinic.admin, one.id, NOW)
    assert counted(clinic, QuarantinedFile) == 0
    assert not [f for f in (clinic.core.data_dir / "blobs").rglob("*") if f.is_file()]
    assert [row.subject_id for row in events(clinic, "quarantine_discarded")] == [one.id]


def test_a_damaged_file_is_not_released(clinic: Clinic) -> None:
    add_rule(clinic)
    put_there(clinic)
    (path,) = [f for f in (clinic.core.data_dir / "blobs").rglob("*") if f.is_file()]
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(Conflict) as refused:
        release(clinic)
    assert refused.value.code == "damaged"


@pytest.mark.parametrize("who", ["owner", "mate", "auditor"])
def test_administrators_alone_see_and_release(clinic: Clinic, who: str) -> None:
    add_rule(clinic)
    put_there(clinic)
    actor = getattr(clinic, who)
    with clinic.session as session, pytest.raises(Denied):
        quarantined.listed(session, actor)
    with pytest.raises(Denied):
        release(clinic, actor)
    assert counted(clinic, QuarantinedFile) == 1

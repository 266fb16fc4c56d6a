"""Rules at work: what arrives meets the first that fits, and ends as it says."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.governance import purges
from portal.intake import arrival, check
from portal.intake.stated import Stated
from portal.jobs import analysis, claims, sweeper
from portal.jobs.broker import Broker
from portal.models import (
    Arrival,
    ArrivalEnd,
    ArrivalRule,
    AuditEvent,
    Instance,
    Job,
    JobKind,
    JobState,
    PurgeReason,
    Study,
    TeamChoices,
)
from portal.reading import case, worklist
from portal.studies import sealed_fields, status
from portal.studies.status import State
from portal.teams.rules import changes
from portal.teams.rules.conditions import Conditions, Facts, Rule
from portal.web.present.reports import text as report_text
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, facts_of, rendered
from tests.support.pictures import dicom, png
from worker.contract.job import ADULT_YEARS

LATERAL = Rule(
    "Lateral", ArrivalEnd.KEEP, "The model reads frontal views", Conditions(views=("LL",))
)


def add_rule(clinic: Clinic, rule: Rule, shown: int = 0) -> None:
    with clinic.session as session:
        changes.store(session, clinic.admin, clinic.owner.team_id, rule, shown, NOW)


def arrival_of(clinic: Clinic, study_id: UUID) -> Arrival:
    with clinic.session as session:
        return session.scalars(
            select(Arrival)
            .join(Instance, Instance.id == Arrival.instance_id)
            .where(Instance.study_id == study_id)
        ).one()


def state_of(clinic: Clinic, study_id: UUID) -> status.StudyState:
    with clinic.session as session:
        return status.of_studies(session, [study_id])[study_id]


def render(clinic: Clinic, study_id: UUID, now: datetime = NOW) -> UUID | None:
    """Do the render job; the job that follows, if one does."""
    ticket = clinic.claim(clinic.job(study_id).id, now)
    assert ticket is not None
    clinic.store(ticket, now, **rendered(8, 6))
    return clinic.finish(ticket, {"facts": facts_of(8, 6)}, now)


def test_without_rules_everything_is_analysed_and_the_facts_are_kept(clinic: Clinic) -> None:
    study_id = clinic.submit(ViewPosition="LL").study_id
    row = arrival_of(clinic, study_id)
    assert (row.rule_id, row.version, row.end) == (None, 0, ArrivalEnd.ANALYSE)
    assert render(clinic, study_id) is not None
    assert state_of(clinic, study_id).state is State.ANALYSING


def test_the_facts_are_those_of_the_header_the_sender_and_the_clock(clinic: Clinic) -> None:
    here = NOW.astimezone()
    taken = here - timedelta(hours=3)
    data = dicom(
        Modality="CR",
        ViewPosition="PA",
        BodyPartExamined="chest",
        StationName="ROOM 2",
        PatientAge="008M",
        AcquisitionDate=f"{taken:%Y%m%d}",
        AcquisitionTime=f"{taken:%H%M%S}",
    )
    upload = check.check("x.dcm", data, check.Limits(10_000_000))
    found = arrival.facts_of(upload, Stated(ae_title="XRAY1"), NOW)
    assert found == Facts(
        ae_title="XRAY1",
        modality="CR",
        body_part="CHEST",
        view="PA",
        station="ROOM 2",
        age_years=0.67,
        hours=3.0,
        minute=here.hour * 60 + here.minute,
    )


def test_of_a_file_without_a_header_only_what_was_typed_is_known() -> None:
    upload = check.check("x.png", png(), check.Limits(10_000_000))
    typed = Stated(birth_date="2020-01-01", age="6Y")
    found = arrival.facts_of(typed.added_to(upload), typed, NOW)
    assert (found.age_years, found.modality, found.ae_title, found.hours) == (6.0, "", "", None)


def test_the_facts_are_sealed_under_the_key_of_the_picture(clinic: Clinic) -> None:
    study_id = clinic.submit(StationName="ROOM CANARY").study_id
    row = arrival_of(clinic, study_id)
    assert b"CANARY" not in row.sealed_facts
    with clinic.session as session:
        instance = session.get_one(Instance, row.instance_id)
        key = sealed_fields.instance_key_of(clinic.vault, instance)
        facts = Facts.of(sealed_fields.open_arrival(clinic.vault, key, row))
    assert facts.station == "ROOM CANARY"


def test_what_a_rule_keeps_is_prepared_and_not_analysed_and_is_no_failure(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="LL").study_id
    assert render(clinic, study_id) is None
    state = state_of(clinic, study_id)
    assert (state.state, state.skipped_for) == (State.SKIPPED, LATERAL.reason)
    assert state.is_settled
    assert state.has_picture
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        assert not study.is_without_result  # it is read like the others, by arrival
        listed = worklist.worklist(
            session, clinic.vault, clinic.mate, now=NOW, state=State.SKIPPED.value
        )
        assert [row.study_id for row in listed.rows] == [study_id]
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "study_submitted")
        ).one()
        assert json.loads(event.detail)["rule"] == session.scalars(select(ArrivalRule.id)).one().hex


def test_what_no_rule_fits_is_analysed_and_the_exam_shows_it(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="PA").study_id
    clinic.segment(render(clinic, study_id) or UUID(int=0))
    assert state_of(clinic, study_id).state is State.DONE
    met = opened(clinic, study_id).picture.arrival
    assert met is not None
    assert (met.name, met.version, met.end) == ("", 1, ArrivalEnd.ANALYSE)


def opened(clinic: Clinic, study_id: UUID) -> Any:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)


def test_a_later_change_of_the_rule_does_not_change_what_an_exam_shows(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="LL").study_id
    with clinic.session as session:
        stored = session.scalars(select(ArrivalRule)).one()
        renamed = Rule("Other", ArrivalEnd.ANALYSE, "", Conditions(), rule=stored.rule)
        changes.store(session, clinic.admin, clinic.owner.team_id, renamed, 1, NOW)
    met = opened(clinic, study_id).picture.arrival
    assert met is not None
    assert (met.name, met.version, met.reason) == ("Lateral", 1, LATERAL.reason)


def test_rules_are_those_of_the_senders_team(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(actor=clinic.outsider, ViewPosition="LL").study_id
    assert arrival_of(clinic, study_id).version == 0


def test_an_exam_has_the_result_of_one_picture_beside_another_that_is_kept(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    uids = {"StudyInstanceUID": "1.2.3.77"}
    study_id = clinic.submit(SOPInstanceUID="1.2.3.1", ViewPosition="PA", **uids).study_id
    render_all(clinic, study_id)
    clinic.submit(SOPInstanceUID="1.2.3.2", ViewPosition="LL", **uids)
    render_all(clinic, study_id)
    state = state_of(clinic, study_id)
    assert state.state is State.DONE
    assert sorted(one.state for one in state.pictures) == [State.DONE, State.SKIPPED]


def render_all(clinic: Clinic, study_id: UUID) -> None:
    """Do all jobs of an exam that wait."""
    while True:
        with clinic.session as session:
            waiting = session.scalars(
                select(Job).where(Job.study_id == study_id, Job.state == JobState.QUEUED)
            ).first()
        if waiting is None:
            return
        if waiting.kind is JobKind.SEGMENT:
            clinic.segment(waiting.id)
            continue
        ticket = clinic.claim(waiting.id, NOW)
        assert ticket is not None
        clinic.store(ticket, NOW, **rendered(8, 6))
        clinic.finish(ticket, {"facts": facts_of(8, 6)}, NOW)


def test_the_order_in_which_they_come_makes_no_difference(clinic: Clinic) -> None:
    """The picture that the gate refuses is the first, the one that is kept the last."""
    add_rule(clinic, LATERAL)
    uids = {"StudyInstanceUID": "1.2.3.79"}
    study_id = clinic.submit(SOPInstanceUID="1.2.3.5", ViewPosition="PA", **uids).study_id
    clinic.segment(render(clinic, study_id) or UUID(int=0), **REFUSED)
    clinic.submit(SOPInstanceUID="1.2.3.6", ViewPosition="LL", **uids)
    render_all(clinic, study_id)
    with clinic.session as session:
        assert session.get_one(Study, study_id).is_without_result


def test_a_report_states_the_reason_for_which_it_was_not_analysed(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="LL").study_id
    render(clinic, study_id)
    assert report_text.why(opened(clinic, study_id).picture) == [
        "Kept without analysis by a rule of the team: The model reads frontal views"
    ]


def test_beside_a_kept_picture_one_that_the_gate_refuses_is_without_a_result(
    clinic: Clinic,
) -> None:
    add_rule(clinic, LATERAL)
    uids = {"StudyInstanceUID": "1.2.3.78"}
    study_id = clinic.submit(SOPInstanceUID="1.2.3.3", ViewPosition="LL", **uids).study_id
    render_all(clinic, study_id)
    clinic.submit(SOPInstanceUID="1.2.3.4", ViewPosition="PA", **uids)
    with clinic.session as session:
        job = session.scalars(
            select(Job).where(Job.study_id == study_id, Job.state == JobState.QUEUED)
        ).one()
    ticket = clinic.claim(job.id, NOW)
    assert ticket is not None
    clinic.store(ticket, NOW, **rendered(8, 6))
    follower = clinic.finish(ticket, {"facts": facts_of(8, 6)}, NOW)
    assert follower is not None
    clinic.segment(follower, **REFUSED)
    assert state_of(clinic, study_id).state is State.NO_RESULT
    with clinic.session as session:
        assert session.get_one(Study, study_id).is_without_result


def test_a_rule_can_keep_a_picture_out_and_its_sender_gets_the_reason(clinic: Clinic) -> None:
    add_rule(
        clinic, Rule("Hands", ArrivalEnd.KEEP_OUT, "No chest", Conditions(body_parts=("HAND",)))
    )
    with pytest.raises(Refused, match="No chest") as refused:
        clinic.submit(BodyPartExamined="HAND")
    assert refused.value.code == "by_rule"
    with clinic.session as session:
        assert session.scalars(select(Study)).all() == []
        assert session.scalars(select(Arrival)).all() == []


def test_a_rule_lets_nothing_in_that_the_checks_refuse(clinic: Clinic) -> None:
    add_rule(clinic, Rule("All", ArrivalEnd.ANALYSE))
    with pytest.raises(Refused) as refused:
        clinic.submit(Modality="CT")
    assert refused.value.code == "unsupported_modality"


def test_the_quality_gate_gets_the_age_limit_of_the_team_whatever_a_rule_says(
    clinic: Clinic,
) -> None:
    """A rule analyses no child: the claim names the age, and the worker refuses below it."""
    add_rule(clinic, Rule("Children", ArrivalEnd.ANALYSE, "", Conditions(age_below=18)))
    study_id = clinic.submit(PatientAge="008Y").study_id
    job_id = render(clinic, study_id)
    assert job_id is not None
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, job_id, "w", NOW)
    assert claimed is not None
    assert claimed.claim.age_min == ADULT_YEARS


def off_peak_elsewhere(clinic: Clinic) -> None:
    """A team whose off-peak hours begin in some hours from now, by the database's clock too."""
    hour = (datetime.now(UTC).astimezone().hour + 3) % 24
    with clinic.session as session:
        session.merge(
            TeamChoices(
                team_id=clinic.owner.team_id, off_peak_from=hour, off_peak_until=(hour + 1) % 24
            )
        )
        session.commit()


def test_what_is_put_off_is_given_to_no_worker_and_announced_to_none_before_its_time(
    clinic: Clinic,
) -> None:
    off_peak_elsewhere(clinic)
    add_rule(clinic, Rule("All", ArrivalEnd.OFF_PEAK))
    now = datetime.now(UTC)
    study_id = clinic.submit(now=now).study_id
    job_id = render(clinic, study_id, now)
    assert job_id is not None
    assert state_of(clinic, study_id).waiting_for == "off_peak"
    assert clinic.claim(job_id, now) is None
    broker = Broker("redis://127.0.0.1:1/0")  # nobody is asked: there is nothing to be announced
    with clinic.session as session:
        settings = clinic.core.settings
        asked = (session, settings, clinic.vault, JobKind.SEGMENT, "w", now)
        assert claims.claim_next(*asked) is None
        assert not sweeper.notify(session, broker, job_id)
        broker.close()
        assert session.get_one(Job, job_id).rung_at is None
        session.get_one(Job, job_id).not_before = now - timedelta(seconds=5)
        session.commit()
    assert clinic.claim(job_id, now) is not None


def test_a_person_has_it_analysed_at_once(clinic: Clinic) -> None:
    off_peak_elsewhere(clinic)
    add_rule(clinic, Rule("All", ArrivalEnd.OFF_PEAK))
    now = datetime.now(UTC)
    study_id = clinic.submit(now=now).study_id
    job_id = render(clinic, study_id, now)
    with clinic.session as session:
        assert analysis.analyse_now(session, clinic.mate, study_id, now) == [job_id]
        with pytest.raises(Conflict):
            analysis.analyse_now(session, clinic.mate, study_id, now)
    assert job_id is not None
    clinic.segment(job_id, now)
    met = opened(clinic, study_id).picture.arrival
    assert met is not None
    assert (met.end, met.asked_by) == (ArrivalEnd.OFF_PEAK, "Test mate")


def test_what_a_rule_keeps_can_be_analysed_too_before_and_after_it_is_prepared(
    clinic: Clinic,
) -> None:
    add_rule(clinic, LATERAL)
    early = clinic.submit(ViewPosition="LL").study_id
    with clinic.session as session:
        assert analysis.analyse_now(session, clinic.owner, early, NOW) == []
    assert render(clinic, early) is not None
    late = clinic.submit(SOPInstanceUID="1.2.3.9", ViewPosition="LL").study_id
    assert render(clinic, late) is None
    with clinic.session as session:
        (job_id,) = analysis.analyse_now(session, clinic.mate, late, after(minutes=1))
    clinic.segment(job_id, after(minutes=2))
    assert state_of(clinic, late).state is State.DONE


def test_nobody_of_another_team_asks_for_an_analysis(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="LL").study_id
    with clinic.session as session, pytest.raises(Denied):
        analysis.analyse_now(session, clinic.outsider, study_id, NOW)


def test_a_purge_takes_the_facts_with_it(clinic: Clinic) -> None:
    add_rule(clinic, LATERAL)
    study_id = clinic.submit(ViewPosition="LL").study_id
    with clinic.session as session:
        purges.purge(
            session, clinic.vault, clinic.admin, study_id, NOW, reason=PurgeReason.TEST_DATA
        )
        assert session.scalars(select(Arrival)).all() == []

"""The ledger: who gets a job, who may end it, and what becomes of what a lost attempt stored."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from portal import errors
from portal.access import Denied
from portal.audit import verification
from portal.database import DatabaseTime
from portal.jobs import claims, overview, sweeper, worker_tokens, workers
from portal.jobs.broker import Broker
from portal.jobs.errors import BadResult, BadTicket, Lost
from portal.jobs.files import Output, read_input, store_output
from portal.jobs.tickets import Ticket
from portal.models import (
    UNAIDED,
    AuditEvent,
    Blob,
    Instance,
    Job,
    JobKind,
    JobState,
    MissingModel,
    ModelVersion,
    Prediction,
    Study,
    Team,
    Worker,
    WorkerToken,
)
from portal.reading import case
from portal.studies import presence, status
from portal.vault import StorageFull
from tests.portal.vault.test_vault import file_limit, files
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import (
    REFUSED,
    facts_of,
    hello_of,
    prediction_of,
    rendered,
    segmented,
)
from tests.support.pictures import jpeg, png
from tests.support.queries.query_plan import plan_of, selects
from tests.support.wait import only_on_postgresql, only_on_sqlite, stopped_once, until_it_waits
from worker.contract.clock import LEASE_SECONDS


def started(clinic: Clinic) -> Ticket:
    """A render job that a worker has just claimed."""
    ticket = clinic.claim(clinic.job(clinic.submit().study_id).id)
    assert ticket is not None
    return ticket


def test_a_picture_goes_from_upload_to_prediction(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, after(minutes=1))
        assert verification.verify(session).is_whole
    assert view.state.state is status.State.DONE
    assert view.picture.prediction is not None
    assert view.picture.prediction.result.probability == 0.91
    assert view.patient.patient_name == "PHANTOM, ONE"
    assert view.facts is not None
    assert view.facts["view"] == "PA"
    assert len(files(clinic.core.data_dir)) == 6


def test_a_claim_holds_everything_that_the_worker_needs(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    settings = clinic.core.settings
    with clinic.session as session:
        claimed = claims.claim(session, settings, clinic.vault, clinic.job(study_id).id, "w", NOW)
    assert claimed is not None
    answer = claimed.claim.as_json()
    assert answer["kind"] == "render"
    assert answer["attempt"] == 1
    assert answer["lease_seconds"] == LEASE_SECONDS
    assert answer["inputs"]["source"]["media_type"] == "application/dicom"
    assert answer["facts"] is None
    segment = None
    ticket = claims.open_ticket(settings, claimed.claim.ticket, claimed.claim.job)
    clinic.store(ticket, **rendered(8, 6))
    segment = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert segment is not None
    with clinic.session as session:
        claimed = claims.claim(session, settings, clinic.vault, segment, "w", NOW)
    assert claimed is not None
    assert claimed.claim.as_json()["inputs"] == {
        "pixels": {"bytes": 96, "media_type": "application/octet-stream"}
    }
    assert claimed.claim.as_json()["facts"] == facts_of(8, 6)


@pytest.mark.parametrize(("chosen", "age_min"), [(None, 18), (12, 12), (0, 0)])
def test_a_claim_has_the_age_of_the_pictures_own_team(
    clinic: Clinic, chosen: int | None, age_min: int
) -> None:
    segment = clinic.render(clinic.submit().study_id)
    with clinic.session as session:
        for team in session.scalars(select(Team)):
            team.age_min = chosen if team.id == clinic.owner.team_id else 5
        session.commit()
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, segment, "w", NOW)
    assert claimed is not None
    assert claimed.claim.age_min == age_min


def test_of_twenty_workers_at_once_one_gets_the_job(clinic: Clinic) -> None:
    job_id = clinic.job(clinic.submit().study_id).id
    with ThreadPoolExecutor(10) as pool:
        tickets = list(pool.map(lambda _: clinic.claim(job_id), range(20)))
    assert sum(ticket is not None for ticket in tickets) == 1


def test_an_unknown_job_is_nothing_to_do(clinic: Clinic) -> None:
    assert clinic.claim(uuid4()) is None


def test_a_running_job_is_taken_over_once_its_lease_has_ended(clinic: Clinic) -> None:
    first = started(clinic)
    lease = timedelta(seconds=LEASE_SECONDS)
    assert clinic.claim(first.job_id, NOW + lease / 2) is None
    with clinic.session as session:
        assert claims.heartbeat(session, clinic.core.settings, first)
    assert clinic.claim(first.job_id, NOW + lease) is None, "it was renewed at its half"
    second = clinic.claim(first.job_id, NOW + lease * 2)
    assert second is not None
    assert second.attempt == 2
    with clinic.session as session:
        assert not claims.heartbeat(session, clinic.core.settings, first)


def test_a_portal_with_a_wrong_clock_takes_no_job_from_another_worker(clinic: Clinic) -> None:
    """Leases run by the database's clock, whatever the process believes that the time is."""
    first = started(clinic)
    wrong = after(days=4000)
    with clinic.session as session:
        taken = claims.claim(
            session, clinic.core.settings, clinic.vault, first.job_id, "ahead", wrong
        )
        assert taken is None
        assert sweeper.sweep(session, Broker(""), wrong).requeued == 0
        job = session.get_one(Job, first.job_id, populate_existing=True)
        assert (job.state, job.attempts) == (JobState.RUNNING, 1)
        assert job.lease_until is not None
        left = job.lease_until - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=LEASE_SECONDS)


def test_attempts_that_are_ended_from_outside_have_a_limit_of_their_own(clinic: Clinic) -> None:
    job_id = clinic.job(clinic.submit().study_id).id
    for attempt in range(1, 11):
        ticket = clinic.claim(job_id, after(hours=attempt))
        assert ticket is not None, "nine lost attempts do not end a job"
        assert ticket.attempt == attempt
    clinic.pass_time(after(hours=11))
    with clinic.session as session:
        assert sweeper.sweep(session, Broker(""), after(hours=11)).gave_up == 1
        job = session.get_one(Job, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "gave_up")
        assert (job.failures, job.losses) == (0, 10)


def test_failures_count_up_to_three_however_often_the_job_was_lost_between(clinic: Clinic) -> None:
    job_id = clinic.job(clinic.submit().study_id).id
    for failed in range(3):
        assert clinic.claim(job_id, after(hours=2 * failed)) is not None
        taken_over = clinic.claim(job_id, after(hours=2 * failed + 1))
        assert taken_over is not None
        clinic.fail(taken_over, "process_lost", "transient", after(hours=2 * failed + 1))
    assert clinic.state_of(job_id) is JobState.FAILED
    with clinic.session as session:
        job = session.get_one(Job, job_id)
        assert (job.failures, job.losses, job.error_code) == (3, 3, "gave_up")


def test_a_portal_that_was_away_fails_no_job_that_is_well(clinic: Clinic) -> None:
    ticket = started(clinic)
    for _ in range(9):
        clinic.fail(ticket, "portal_unreachable", "transient")
        again = clinic.claim(ticket.job_id)
        assert again is not None
        ticket = again
    clinic.fail(ticket, "portal_unreachable", "transient")
    assert clinic.state_of(ticket.job_id) is JobState.FAILED


def next_job(clinic: Clinic, queue: JobKind = JobKind.RENDER) -> UUID | None:
    """The job that a worker gets which asks for the next one of its queue."""
    with clinic.session as session:
        found = claims.claim_next(session, clinic.core.settings, clinic.vault, queue, "w", NOW)
    return found.claim.job if found is not None else None


def test_a_worker_that_asks_gets_the_job_that_comes_first(clinic: Clinic) -> None:
    late, early = (clinic.submit(now=after(minutes=minutes)).study_id for minutes in (2, 1))
    urgent = clinic.job(clinic.submit(now=after(minutes=3)).study_id).id
    with clinic.session as session:
        session.get_one(Job, urgent).priority = 5
        session.commit()
    got = [next_job(clinic) for _ in range(4)]
    assert got == [urgent, clinic.job(early).id, clinic.job(late).id, None]
    assert next_job(clinic, JobKind.SEGMENT) is None


def test_workers_that_ask_at_once_get_different_jobs(clinic: Clinic) -> None:
    jobs = {clinic.job(clinic.submit().study_id).id for _ in range(6)}
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: next_job(clinic), range(8)))
    assert {job for job in got if job is not None} == jobs
    assert got.count(None) == 2


def test_a_worker_that_asks_gets_a_lost_job_too_when_no_other_waits(clinic: Clinic) -> None:
    lost = started(clinic)
    assert next_job(clinic) is None
    clinic.pass_time(after(hours=1))
    waiting = clinic.job(clinic.submit(now=after(hours=1)).study_id).id
    assert [next_job(clinic), next_job(clinic), next_job(clinic)] == [waiting, lost.job_id, None]


def test_a_job_whose_record_is_damaged_does_not_keep_workers_from_the_others(
    clinic: Clinic,
) -> None:
    damaged, well = (clinic.render(clinic.submit().study_id) for _ in range(2))
    with clinic.session as session:
        instance = session.get_one(Instance, session.get_one(Job, damaged).instance_id)
        instance.sealed_facts = b"no longer what it was"
        session.commit()
    assert next_job(clinic, JobKind.SEGMENT) == well
    assert clinic.state_of(damaged) is JobState.FAILED


def test_the_next_job_is_found_by_its_index(clinic: Clinic) -> None:
    """However many jobs there are: each idle worker asks every few seconds."""
    clinic.submit()
    engine = clinic.core.engine
    with selects(engine) as statements:
        assert next_job(clinic) is not None
    first = next(one for one in statements if "ORDER BY" in one.text)
    plan = plan_of(engine, first)
    assert "ix_jobs_waiting" in plan
    assert "TEMP B-TREE" not in plan


def test_only_the_latest_attempt_can_store_finish_or_fail(clinic: Clinic) -> None:
    zombie = started(clinic)
    clinic.store(zombie, **rendered(8, 6))
    later = after(hours=1)
    current = clinic.claim(zombie.job_id, later)
    assert current is not None
    with pytest.raises(Lost):
        clinic.store(zombie, later, thumb=jpeg(inside=b"old"))
    with pytest.raises(Lost):
        clinic.finish(zombie, {"facts": facts_of(8, 6)}, later)
    with clinic.session as session, pytest.raises(Lost):
        read_input(session, clinic.vault, zombie, "source")
    clinic.fail(zombie, "decode_failed", "permanent", later)
    assert clinic.state_of(zombie.job_id) is JobState.RUNNING
    clinic.store(current, later, **(rendered(8, 6) | {"thumb": jpeg(inside=b"new")}))
    assert clinic.finish(current, {"facts": facts_of(8, 6)}, later) is not None
    with clinic.session as session:
        job = session.get_one(Job, zombie.job_id)
        found = case.read_blob(session, clinic.vault, clinic.mate, job.study_id, "thumb", later)
    assert found.data == jpeg(inside=b"new")
    assert len(files(clinic.core.data_dir)) == 4, "what the lost attempt stored is removed"


def test_two_attempts_that_finish_at_once_make_one_prediction(clinic: Clinic) -> None:
    segment = clinic.render(clinic.submit().study_id)
    first = clinic.claim(segment)
    assert first is not None
    clinic.store(first, **segmented())
    second = clinic.claim(segment, after(hours=1))
    assert second is not None
    clinic.store(second, after(hours=1), **segmented())

    def end(ticket: Ticket) -> bool:
        try:
            clinic.finish(ticket, {"prediction": prediction_of()}, after(hours=1))
        except Lost:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(end, (first, second))) == [False, True]
    with clinic.session as session:
        assert session.scalars(select(Prediction)).one().attempt == 2


def test_an_attempt_whose_result_is_being_stored_is_not_taken_over(clinic: Clinic) -> None:
    """Its lease has ended. Who claims it waits, and finds the job done."""
    only_on_postgresql(clinic.core.engine)
    segment = clinic.render(clinic.submit().study_id)
    ticket = clinic.claim(segment)
    assert ticket is not None
    clinic.store(ticket, **segmented())
    with ThreadPoolExecutor(1) as pool:
        running = list[Future[Ticket | None]]()

        def claim_too() -> None:
            running.append(pool.submit(clinic.claim, segment, after(hours=1)))
            until_it_waits(clinic.core.engine, running[0])
            assert not running[0].done()

        with stopped_once(clinic.core.engine, "FROM blobs", claim_too):
            clinic.finish(ticket, {"prediction": prediction_of()})
        assert running[0].result(60) is None
    assert clinic.state_of(segment) is JobState.DONE


def test_finishing_twice_changes_nothing(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.store(ticket, **rendered(8, 6))
    assert clinic.finish(ticket, {"facts": facts_of(8, 6)}) is not None
    assert clinic.finish(ticket, {"facts": facts_of(8, 6)}) is None
    clinic.fail(ticket, "decode_failed", "permanent")
    assert clinic.state_of(ticket.job_id) is JobState.DONE
    with clinic.session as session:
        assert len(session.scalars(select(Job)).all()) == 2


def test_an_output_sent_twice_is_stored_once(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.store(ticket, thumb=jpeg(inside=b"one"))
    clinic.store(ticket, thumb=jpeg(inside=b"two"))
    assert len(files(clinic.core.data_dir)) == 2
    with clinic.session as session:
        assert len(session.scalars(select(Blob).where(Blob.job_id == ticket.job_id)).all()) == 1


def test_a_transient_failure_is_tried_again_until_three_attempts_are_spent(clinic: Clinic) -> None:
    ticket = started(clinic)
    job_id = ticket.job_id
    for attempt in (1, 2, 3):
        assert ticket.attempt == attempt
        clinic.store(ticket, thumb=jpeg())
        clinic.fail(ticket, "engine_failed", "transient")
        if attempt < 3:
            assert clinic.state_of(job_id) is JobState.QUEUED
            again = clinic.claim(job_id)
            assert again is not None
            ticket = again
    with clinic.session as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "gave_up")
    assert clinic.claim(job_id) is None
    assert len(files(clinic.core.data_dir)) == 1, "nothing but the source is left"


def test_a_permanent_failure_ends_the_job_at_once(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.fail(ticket, "decode_failed", "permanent")
    assert clinic.state_of(ticket.job_id) is JobState.FAILED
    assert clinic.claim(ticket.job_id) is None


def test_an_admin_tries_a_failed_job_again_and_old_attempts_stay_fenced(clinic: Clinic) -> None:
    zombie = started(clinic)
    clinic.fail(zombie, "decode_failed", "permanent")
    with clinic.session as session:
        claims.retry(session, clinic.admin, zombie.job_id, NOW)
    with clinic.session as session, pytest.raises(errors.Conflict):
        claims.retry(session, clinic.admin, zombie.job_id, NOW)
    ticket = clinic.claim(zombie.job_id)
    assert ticket is not None
    assert ticket.attempt == 2
    with pytest.raises(Lost):
        clinic.store(zombie, thumb=jpeg())
    clinic.store(ticket, **rendered(8, 6))
    assert clinic.finish(ticket, {"facts": facts_of(8, 6)}) is not None


@pytest.mark.parametrize("person", ["owner", "mate", "auditor"])
def test_only_an_admin_tries_a_job_again(clinic: Clinic, person: str) -> None:
    ticket = started(clinic)
    clinic.fail(ticket, "decode_failed", "permanent")
    with clinic.session as session, pytest.raises(Denied):
        claims.retry(session, getattr(clinic, person), ticket.job_id, NOW)


def test_a_refused_picture_needs_no_outputs_and_may_have_none(clinic: Clinic) -> None:
    segment = clinic.render(clinic.submit().study_id)
    ticket = clinic.claim(segment)
    assert ticket is not None
    clinic.store(ticket, mask=png())
    with pytest.raises(BadResult, match="no outputs"):
        clinic.finish(ticket, {"prediction": prediction_of(**REFUSED)})
    assert clinic.state_of(segment) is JobState.RUNNING


BAD_FACTS: dict[str, dict[str, Any]] = {
    "no rows": {"rows": None},
    "rows as text": {"rows": "8"},
    "rows as truth": {"rows": True},
    "other rows than pixels": {"rows": 9},
    "endless spacing": {"spacing": {"row_mm": float("inf"), "column_mm": 1.0, "source": "x"}},
    "spacing of nothing": {"spacing": {"row_mm": 0, "column_mm": 1.0, "source": "x"}},
    "spacing as a list": {"spacing": [1, 2]},
    "windows as text": {"windows": "wide"},
    "a window of two": {"windows": [[1, 2]]},
    "a window that is no number": {"windows": [[float("nan"), 1.0, "x"]]},
    "17 bits": {"bits": 17},
    "a long view": {"view": "P" * 100},
    "a heap of text": {"notes": ["x" * 300_000]},
    "a number that is none": {"patient_age_years": float("nan")},
    "an age in words": {"patient_age_years": "old"},
    "a sex of many": {"patient_sex": ["F"]},
    "one direction": {"orientation": ["L"]},
    "a direction that is none": {"orientation": [1, 2]},
    "a place as a list": {"body_part": ["CHEST"]},
    "a name that no database keeps": {"modality": "D\x00X"},
    "half a character": {"windows": [[1.0, 1.0, "\ud83d"]]},
    "more digits than a number has": {"windows": [[10**400, 1.0, "x"]]},
}


def test_facts_that_cannot_be_true_are_refused(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.store(ticket, **rendered(8, 6))
    for name, wrong in BAD_FACTS.items():
        with pytest.raises(BadResult):
            clinic.finish(ticket, {"facts": facts_of(8, 6) | wrong})
        assert clinic.state_of(ticket.job_id) is JobState.RUNNING, name
    assert clinic.finish(ticket, {"facts": facts_of(8, 6)}) is not None


@pytest.mark.parametrize("what", ["key", "facts"])
def test_a_job_whose_record_does_not_open_fails_with_a_code(clinic: Clinic, what: str) -> None:
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    with clinic.session as session:
        instance = session.scalars(select(Instance).where(Instance.study_id == study_id)).one()
        if what == "key":
            instance.wrapped_key = b"x" * 60
        else:
            instance.sealed_facts = b"x" * 60
        session.commit()
    assert clinic.claim(segment) is None
    with clinic.session as session:
        job, study = session.get_one(Job, segment), session.get_one(Study, study_id)
        assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "record_damaged", 1)
        assert (job.finished_at, job.lease_until) == (NOW, None)
        assert (study.is_without_result, study.rank) == (True, UNAIDED)
        last = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(1)).one()
        assert (last.event, last.subject_id) == ("job_failed", segment)
        assert sweeper.sweep(session, Broker(""), after(hours=1)).notified == 0
    assert clinic.claim(segment, after(hours=1)) is None


def test_two_first_predictions_of_a_model_at_once_are_both_stored(clinic: Clinic) -> None:
    tickets = []
    for minute in range(2):
        ticket = clinic.claim(clinic.render(clinic.submit(now=after(minutes=minute)).study_id))
        assert ticket is not None
        clinic.store(ticket, **segmented())
        tickets.append(ticket)
    gate = threading.Barrier(2)

    def end(ticket: Ticket) -> None:
        gate.wait()
        clinic.finish(ticket, {"prediction": prediction_of()})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(end, tickets))
    with clinic.session as session:
        assert len(session.scalars(select(Prediction)).all()) == 2
        assert len(session.scalars(select(ModelVersion)).all()) == 1


def test_a_first_prediction_waits_for_another_that_adds_the_model(clinic: Clinic) -> None:
    ticket = clinic.claim(clinic.render(clinic.submit().study_id))
    assert ticket is not None
    clinic.store(ticket, **segmented())
    known = prediction_of()["model"]
    with clinic.session as other, ThreadPoolExecutor(1) as pool:
        other.add(ModelVersion(id=uuid4(), created=NOW, **known))
        other.flush()
        ending = pool.submit(clinic.finish, ticket, {"prediction": prediction_of()})
        time.sleep(0.7)
        assert not ending.done()
        other.commit()
        assert ending.result() is None
    assert clinic.state_of(ticket.job_id) is JobState.DONE


def test_a_worker_that_says_hello_twice_at_once_is_one_worker(clinic: Clinic) -> None:
    def hello(model: str) -> None:
        with clinic.session as session:
            workers.hello(session, hello_of("segment", model=model))

    with clinic.session as other, ThreadPoolExecutor(1) as pool:
        other.add(Worker(name="w", queue=JobKind.SEGMENT, last_seen=NOW))
        other.flush()
        greeting = pool.submit(hello, "m 1")
        time.sleep(0.7)
        assert not greeting.done()
        other.commit()
        greeting.result()
    hello("m 2")
    with clinic.session as session:
        worker = session.scalars(select(Worker)).one()
        assert (worker.queue, worker.engine, worker.model) == (JobKind.SEGMENT, "cpu", "m 2")


def test_workers_of_two_queues_may_have_one_name(clinic: Clinic) -> None:
    for queue in ("segment", "render"):
        with clinic.session as session:
            workers.hello(session, hello_of(queue))
    with clinic.session as session:
        assert {worker.queue for worker in session.scalars(select(Worker))} == {
            JobKind.RENDER,
            JobKind.SEGMENT,
        }


def test_a_token_has_a_limited_number_of_workers(clinic: Clinic) -> None:
    """Those that were silent for longest make place; another token's rows stay."""
    with clinic.session as session:
        token, _ = worker_tokens.create(
            session, name="own", queue=JobKind.RENDER, lifetime=timedelta(days=1), now=NOW
        )
        workers.hello(session, hello_of("segment", name="shared"))
        for number in range(workers.MOST_PER_TOKEN + 5):
            sent = hello_of("render", name=f"w{number}")
            workers.hello(session, sent, token)
        names = set(session.scalars(select(Worker.name)))
    assert names == {"shared", *(f"w{n}" for n in range(5, workers.MOST_PER_TOKEN + 5))}


def test_the_shared_token_has_a_limited_number_of_workers_too(clinic: Clinic) -> None:
    """Also of those that another token has reported first, again and again."""
    most, rounds = workers.MOST_PER_TOKEN, 3
    with clinic.session as session:
        token, _ = worker_tokens.create(
            session, name="own", queue=JobKind.RENDER, lifetime=timedelta(days=1), now=NOW
        )
        for number in range(most + 5):
            workers.hello(session, hello_of("segment", name=f"s{number}"))
        assert session.scalar(select(func.count()).select_from(Worker)) == most
        for number in range(rounds * most):
            for by in (token, None):
                workers.hello(session, hello_of("render", name=f"w{number}"), by)
        names = set(session.scalars(select(Worker.name)))
    assert names == {f"w{number}" for number in range((rounds - 1) * most, rounds * most)}


BAD_PREDICTIONS: dict[str, dict[str, Any]] = {
    "more than certain": {"probability": 1.01},
    "no number": {"probability": float("nan")},
    "a text": {"probability": "0.9"},
    "no probability": {"probability": None},
    "an unknown band": {"band": "certain"},
    "no pneumothorax": {"band": "no_pneumothorax"},
    "a model without a digest": {"model": {"name": "m", "version": "1", "sha256": "x"}},
    "no model": {"model": None},
    "a map of another size": {"map": {"rows": 5, "columns": 4}},
    "a map of nothing": {"map": None},
    "an unknown side": {"measurements": {"side": "up"}},
    "a negative area": {"measurements": {"side": "left", "area_mm2": -1}},
    "an unknown verdict": {"quality": {"verdict": "superb", "reasons": []}},
    "refused with a result": {"quality": {"verdict": "refused", "reasons": []}},
    "a reason without words": {"quality": {"verdict": "fit", "reasons": [{"code": "x"}]}},
    "endless statistics": {"statistics": {"mean": float("-inf")}},
    "statistics as a list": {"statistics": [1]},
    "statistics of statistics": {"statistics": {"mean": {"of": 1}}},
    "a statistic with a hostile name": {"statistics": {"<b>": 1}},
    "zones as a number": {"measurements": {"side": "left", "zones": 3}},
    "spacing as a text": {"measurements": {"side": "left", "spacing": "0.1"}},
    "half a spacing": {"measurements": {"side": "left", "spacing": {"row_mm": 0.1}}},
    "a line of three": {"measurements": {"side": "left", "distance_line": [1, 2, 3]}},
    "components as a count": {"measurements": {"side": "left", "components": 1}},
    "a component without a box": {"measurements": {"components": [{"area_px": 1, "zones": []}]}},
    "more area than the picture has": {"measurements": {"area_px": 49}},
    "a distance longer than the picture": {"measurements": {"distance_px": 15.0}},
    "a line far away": {"measurements": {"distance_line": [1, 2, 1e6, -1e6]}},
    "a line below the picture": {"measurements": {"distance_line": [1, 2, 3, 10]}},
    "a component outside": {
        "measurements": {"components": [{"area_px": 1, "zones": [], "box": [0, 0, 7, 8]}]}
    },
    "a component larger than the picture": {
        "measurements": {"components": [{"area_px": 49, "zones": [], "box": [0, 0, 6, 8]}]}
    },
    "a level outside": {
        "measurements": {
            "extents": [
                prediction_of()["measurements"]["extents"][0]
                | {"upper": {"px": 1.0, "mm": None, "line": [0, 0, 8, 8]}}
            ]
        }
    },
    "a region outside": {"region": {"box": [0, 0, 7, 8], "probability": 0.5}},
    "a region inside out": {"region": {"box": [5, 0, 4, 8], "probability": 0.5}},
    "an outline of what was not found": {
        "band": "none_found",
        "measurements": {"area_px": 9, "side": "left"},
    },
    "words that no database keeps": {
        "quality": {"verdict": "fit", "reasons": [{"code": "x", "message": "a\x00b"}]}
    },
    "a point with half a character": {"operating_point": "x\udc00"},
    "a model with half a character": {
        "model": {"name": "m\ud800", "version": "1", "sha256": "ab" * 32}
    },
}


def test_predictions_that_cannot_be_true_are_refused(clinic: Clinic) -> None:
    segment = clinic.render(clinic.submit().study_id)
    ticket = clinic.claim(segment)
    assert ticket is not None
    clinic.store(ticket, **segmented())
    for name, wrong in BAD_PREDICTIONS.items():
        with pytest.raises(BadResult):
            clinic.finish(ticket, {"prediction": prediction_of(**wrong)})
        with clinic.session as session:
            assert session.scalars(select(Prediction)).all() == [], name


def test_an_empty_result_is_refused(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.store(ticket, **rendered(8, 6))
    results: list[dict[str, Any]] = [{}, {"facts": None}, {"facts": []}, {"prediction": {}}]
    for result in results:
        with pytest.raises(BadResult):
            clinic.finish(ticket, result)


def test_a_result_without_its_outputs_is_refused(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.store(ticket, thumb=jpeg(), preview=jpeg())
    with pytest.raises(BadResult, match="pixels was not stored"):
        clinic.finish(ticket, {"facts": facts_of(8, 6)})


@pytest.mark.parametrize(
    ("kind", "data", "media_type"),
    [
        ("mask", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("source", b"x", "application/octet-stream"),
        ("nonsense", b"x", "image/png"),
        ("thumb", b"\xff\xd8\xff", "image/png"),
        ("thumb", b"<html>", "image/jpeg"),
        ("thumb", b"", "image/jpeg"),
        ("thumb", jpeg(inside=bytes(2_000_000)), "image/jpeg"),
        ("thumb", b"\xff\xd8\xffthumb", "image/jpeg"),
        ("thumb", jpeg(rows=257), "image/jpeg"),
        ("preview", jpeg(columns=65_500), "image/jpeg"),
        ("pixels", bytes(8 * 6 * 8 + 1), "application/octet-stream"),
    ],
)
def test_an_output_of_the_wrong_kind_or_size_is_refused(
    clinic: Clinic, kind: str, data: bytes, media_type: str
) -> None:
    ticket = started(clinic)
    with clinic.session as session, pytest.raises(BadResult):
        store_output(session, clinic.vault, ticket, Output(kind, media_type, data), NOW)
    assert len(files(clinic.core.data_dir)) == 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("mask", png(rows=65_000, columns=65_000)),
        ("mask", png(rows=9)),
        ("mask", png(rows=6, columns=8)),
        ("mask", png()[:-12]),
        ("overlay", png(columns=7, colour=2)),
        ("overlay", b"\x89PNG\r\n\x1a\noverlay"),
    ],
)
def test_an_outline_of_another_size_than_the_picture_is_refused(
    clinic: Clinic, kind: str, data: bytes
) -> None:
    ticket = clinic.claim(clinic.render(clinic.submit().study_id))
    assert ticket is not None
    with pytest.raises(BadResult, match="must be image/"):
        clinic.store(ticket, **{kind: data})
    clinic.store(ticket, **segmented())


def test_a_full_disk_fails_one_output_and_leaves_nothing_of_it(clinic: Clinic) -> None:
    ticket = started(clinic)
    with file_limit(100_000), pytest.raises(StorageFull):
        clinic.store(ticket, thumb=jpeg(inside=bytes(500_000)))
    assert len(files(clinic.core.data_dir)) == 1
    clinic.store(ticket, thumb=jpeg(inside=bytes(500_000)))


def test_a_job_reads_its_own_inputs_alone(clinic: Clinic) -> None:
    ticket = started(clinic)
    with clinic.session as session:
        data, media_type = read_input(session, clinic.vault, ticket, "source")
    assert data[128:132] == b"DICM"
    assert media_type == "application/dicom"
    for kind in ("pixels", "thumb", "../source", ""):
        with clinic.session as session, pytest.raises(BadResult):
            read_input(session, clinic.vault, ticket, kind)


def test_tickets_are_for_one_job_and_one_attempt(clinic: Clinic) -> None:
    settings = clinic.core.settings
    with clinic.session as session:
        job_id = clinic.job(clinic.submit().study_id).id
        claimed = claims.claim(session, settings, clinic.vault, job_id, "w", NOW)
    assert claimed is not None
    text = claimed.claim.ticket
    assert claims.open_ticket(settings, text, job_id) == Ticket(job_id, 1)
    forged = text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB")
    for bad, asked in (
        (text, uuid4()),
        (forged, job_id),
        ("", job_id),
        ("a.b.c", job_id),
        (settings.worker_token, job_id),
        ("é" * 20, job_id),
    ):
        with pytest.raises(BadTicket):
            claims.open_ticket(settings, bad, asked)


def test_an_attempt_is_not_prolonged_for_longer_than_a_job_may_take(clinic: Clinic) -> None:
    """Whoever has its ticket renews its lease in vain then, by the database's clock."""
    ticket, settings = started(clinic), clinic.core.settings
    for seconds, is_prolonged in ((settings.visibility_seconds - 5, True), (5, False)):
        with clinic.session as session:
            job = session.get_one(Job, ticket.job_id)
            assert job.started_at is not None
            job.started_at -= timedelta(seconds=seconds)
            session.commit()
            assert claims.heartbeat(session, settings, ticket) is is_prolonged


def test_the_board_shows_queues_failures_and_workers_without_patients(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.fail(ticket, "decode_failed", "permanent")
    clinic.submit()
    clinic.done()
    with clinic.session as session:
        for _ in range(2):
            workers.hello(session, hello_of("render"))
        with pytest.raises(BadResult):
            workers.hello(session, hello_of("render", name="\u200e"))
    clinic.pass_time(after(seconds=31))
    with clinic.session as session:
        board = overview.board(session)
        assert [w.is_present for w in board.workers] == [True]
        assert board.stalled == frozenset({JobKind.RENDER})
    clinic.pass_time(after(minutes=3))
    with clinic.session as session:
        assert not overview.board(session).workers[0].is_present
    render, segment, measure, encode, report, drift = board.queues
    assert (render.kind, render.queued, render.failed, render.done) == (JobKind.RENDER, 1, 1, 1)
    assert render.oldest is not None
    assert 31 <= (datetime.now(UTC) - render.oldest).total_seconds() < 120
    assert (segment.kind, segment.done, segment.oldest) == (JobKind.SEGMENT, 1, None)
    assert (measure.kind, measure.queued) == (JobKind.MEASURE, 0)
    assert (report.kind, report.queued) == (JobKind.REPORT, 0)
    assert (encode.kind, encode.queued) == (JobKind.ENCODE, 0)
    assert (drift.kind, drift.queued) == (JobKind.DRIFT, 0)
    assert [(job.job_id, job.error_code) for job in board.failed] == [
        (ticket.job_id, "decode_failed")
    ]
    assert "PHANTOM" not in repr(board)


def test_a_job_whose_worker_lacks_a_required_output_waits_for_a_newer_worker(
    clinic: Clinic,
) -> None:
    """As with a worker of a version in which the output was not made yet."""
    study_id = clinic.submit().study_id
    job_id = clinic.job(study_id).id
    older = {kind: data for kind, data in rendered(8, 6).items() if kind != "thumb"}
    result = {"facts": facts_of(8, 6)}
    ticket = clinic.claim(job_id)
    assert ticket is not None
    clinic.store(ticket, **older)
    with pytest.raises(BadResult, match="thumb was not stored, which this portal requires"):
        clinic.finish(ticket, result)
    clinic.fail(ticket, "result_refused", "permanent")  # what a worker does then
    job = clinic.job(study_id)
    assert (job.state, job.error_code) == (JobState.QUEUED, "worker_too_old")
    clinic.render(study_id, after(minutes=1))  # by a newer one
    assert clinic.job(study_id).state is JobState.DONE


def test_where_every_worker_is_too_old_the_job_ends_with_that_reason(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    for _ in range(3):
        ticket = clinic.claim(clinic.job(study_id).id)
        assert ticket is not None
        with pytest.raises(BadResult):
            clinic.finish(ticket, {"facts": facts_of(8, 6)})
    job = clinic.job(study_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "worker_too_old")


def ask(
    clinic: Clinic, worker: str, now: datetime, token: WorkerToken | None = None
) -> Ticket | None:
    """A worker asks for the next segment job."""
    clinic.pass_time(now)
    settings, vault = clinic.core.settings, clinic.vault
    with clinic.session as session:
        found = claims.claim_next(session, settings, vault, JobKind.SEGMENT, worker, now, token)
    return claims.open_ticket(settings, found.claim.ticket, found.claim.job) if found else None


def lack_model(
    clinic: Clinic, worker: str, now: datetime, token: WorkerToken | None = None
) -> Ticket | None:
    """A worker asks for the next segment job and, where it gets one, lacks its model."""
    ticket = ask(clinic, worker, now, token)
    if ticket is not None:
        clinic.fail(ticket, "model_missing", "permanent", now)
    return ticket


def test_a_job_whose_model_a_worker_lacks_waits_for_one_that_has_it(clinic: Clinic) -> None:
    """As after an update: workers of the version before do not have the new version's model."""
    settings, vault = clinic.core.settings, clinic.vault
    first, second = (clinic.render(clinic.submit().study_id, after(minutes=m)) for m in (-9, -8))
    for minutes in range(5):  # more often than a job may fail
        ticket = lack_model(clinic, "segment@old", after(minutes=2 * minutes))
        assert ticket is not None
        assert ticket.job_id == first
    now = after(minutes=8, seconds=30)
    assert ask(clinic, "segment@old", now) is None
    with clinic.session as session:
        for job_id in (first, second):  # nor by a message
            assert claims.claim(session, settings, vault, job_id, "segment@old", now) is None
        job = session.get_one(Job, first)
        assert (job.state, job.failures, job.losses) == (JobState.QUEUED, 0, 0)
        board = overview.board(session)
    assert (board.waiting_for_model, board.without_model) == (1, ["segment@old"])
    assert (board.failed, board.queues[1].queued) == ([], 2)
    taken = [ask(clinic, "segment@new", now) for _ in range(2)]
    assert [ticket.job_id for ticket in taken if ticket] == [first, second]
    with clinic.session as session:
        assert overview.board(session).waiting_for_model == 0
    render = clinic.job(clinic.submit(now=now).study_id).id  # which needs no model
    with clinic.session as session:
        assert claims.claim(session, settings, vault, render, "segment@old", now) is not None


def test_a_job_that_was_passed_back_has_waited_since_it_was_queued_first(clinic: Clinic) -> None:
    job_id = clinic.render(clinic.submit().study_id)
    for minutes in (0, 2, 4):
        assert lack_model(clinic, "segment@old", after(minutes=minutes)) is not None
    with clinic.session as session:
        waits = datetime.now(UTC) - session.get_one(Job, job_id).queued_at
        assert overview.board(session).queues[1].oldest == session.get_one(Job, job_id).queued_at
    assert timedelta(minutes=4) <= waits < timedelta(minutes=6)


def test_a_worker_without_the_model_holds_no_other_one_back(clinic: Clinic) -> None:
    """Neither another one of its token, nor one of its name with another token."""
    for _ in range(3):
        clinic.render(clinic.submit().study_id)
    tokens = list[WorkerToken]()
    with clinic.session as session:
        for name in ("one", "other"):
            lifetime = timedelta(days=1)
            tokens.append(
                worker_tokens.create(
                    session, name=name, queue=JobKind.SEGMENT, lifetime=lifetime, now=NOW
                )[0]
            )
    one, other = tokens
    assert lack_model(clinic, "segment@a", NOW, one) is not None
    assert ask(clinic, "segment@a", NOW, one) is None
    assert lack_model(clinic, "segment@b", NOW, one) is not None
    assert ask(clinic, "segment@a", NOW, one) is None, "the other one's lack hides its own"
    assert ask(clinic, "segment@c", NOW, one) is not None
    assert ask(clinic, "segment@a", NOW, other) is not None
    assert ask(clinic, "segment@a", NOW) is not None


def test_a_refused_output_names_what_is_accepted(clinic: Clinic) -> None:
    ticket = started(clinic)
    for kind, data, words in (
        ("preview", png(), "must be image/jpeg of at most 2048 pixels a side"),
        ("mask", png(), "only: pixels, preview, thumb"),
    ):
        sent = Output(kind, "image/jpeg", data)
        with clinic.session as session, pytest.raises(BadResult, match=words):
            store_output(session, clinic.vault, ticket, sent, NOW)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("instances", "created", "xx"),
        ("instances", "view", "nonsense"),
        ("jobs", "created", "1xx"),  # which comes before all others
        ("blobs", "created", "xx"),
    ],
)
def test_a_job_that_cannot_be_read_ends_and_the_next_is_given(
    clinic: Clinic, table: str, column: str, value: str
) -> None:
    if value != "nonsense":
        only_on_sqlite(clinic.core.engine)
    damaged, well = (clinic.submit(now=after(minutes=m)) for m in (0, 1))
    assert damaged.job_id
    assert well.job_id
    key = "instance_id" if table == "blobs" else "study_id"
    with clinic.session as session:
        job = session.get_one(Job, damaged.job_id)
        of = job.instance_id if table == "blobs" else job.study_id
    assert of is not None
    where = f"{key} = '{of.hex}'"
    spoil(clinic.core, table, column, value, where)
    assert next_job(clinic) == well.job_id
    with clinic.session as session:
        ended = select(Job.state, Job.error_code, Job.attempts).where(Job.id == damaged.job_id)
        assert session.execute(ended).one() == (JobState.FAILED, "record_damaged", 1)
        logged = select(AuditEvent.study_id).where(AuditEvent.event == "job_failed")
        assert session.scalars(logged).all() == [damaged.study_id]
        board = overview.board(session)
    shown = board.unreadable if table == "jobs" else [one.job_id for one in board.failed]
    assert shown == [damaged.job_id]
    assert next_job(clinic) is None


def test_spent_jobs_end_although_the_study_of_one_cannot_be_read(clinic: Clinic) -> None:
    only_on_sqlite(clinic.core.engine)
    damaged, well = (clinic.submit() for _ in range(2))
    for sent in (damaged, well):
        assert sent.job_id is not None
        assert clinic.claim(sent.job_id) is not None
    with clinic.session as session:
        session.execute(update(Job).values(losses=9, lease_until=DatabaseTime(-1)))
        session.commit()
    spoil(clinic.core, "studies", "created", "xx", f"id = '{damaged.study_id.hex}'")
    with clinic.session as session:
        assert sweeper.sweep(session, Broker(""), NOW).gave_up == 2
        codes = dict(session.execute(select(Job.id, Job.error_code)).all())
    assert codes == {damaged.job_id: "record_damaged", well.job_id: "gave_up"}


def test_a_job_that_needs_no_model_cannot_lack_it(clinic: Clinic) -> None:
    ticket = started(clinic)
    clinic.fail(ticket, "model_missing", "permanent")
    assert clinic.state_of(ticket.job_id) is JobState.FAILED
    with clinic.session as session:
        assert session.scalars(select(MissingModel)).all() == []


def test_a_worker_that_takes_another_name_each_time_is_paused_too(clinic: Clinic) -> None:
    """As many names of a token as it may have workers."""
    clinic.render(clinic.submit().study_id)
    with clinic.session as session:
        token, _ = worker_tokens.create(
            session, name="one", queue=JobKind.SEGMENT, lifetime=timedelta(days=1), now=NOW
        )
        session.add_all(
            MissingModel(id=uuid4(), worker=f"w{n}", token_id=token.id, at=DatabaseTime())
            for n in range(presence.LACKING_NAMES - 1)
        )
        session.commit()
    assert lack_model(clinic, "last", NOW, token) is not None
    assert ask(clinic, "one-more", NOW, token) is None
    assert ask(clinic, "one-more", NOW) is not None, "another token's worker may have it"


def test_two_jobs_that_lack_the_model_at_once_leave_one_row(clinic: Clinic) -> None:
    only_on_postgresql(clinic.core.engine)
    tickets = [clinic.claim(clinic.render(clinic.submit().study_id)) for _ in range(2)]
    one, other = (ticket for ticket in tickets if ticket)
    with ThreadPoolExecutor(1) as pool:
        running = list[Future[None]]()

        def fail_too() -> None:
            running.append(pool.submit(clinic.fail, other, "model_missing", "permanent"))
            until_it_waits(clinic.core.engine, running[0])

        with stopped_once(clinic.core.engine, "DELETE FROM missing_models", fail_too):
            clinic.fail(one, "model_missing", "permanent")
        running[0].result(60)
    with clinic.session as session:
        assert len(session.scalars(select(MissingModel)).all()) == 1

"""Drift checks from the question to the history: who gets one, on what, and what is stored."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from portal.access import Denied
from portal.errors import Conflict
from portal.jobs import claims, drift_checks, files, overview, sweeper
from portal.jobs.broker import Broker
from portal.jobs.errors import BadResult
from portal.models import (
    AuditEvent,
    DriftCheck,
    Job,
    JobKind,
    JobState,
    ModelState,
    ModelVersion,
    Prediction,
)
from portal.performance import drift
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.drift.predictions import done, make_model, predict
from tests.support.wait import only_on_sqlite
from worker.contract.contents.drift import LEAST, WINDOW


def people(clinic: Clinic) -> tuple[UUID, UUID]:
    return clinic.owner.team_id, clinic.owner.user_id


@pytest.fixture
def model(clinic: Clinic) -> UUID:
    with clinic.session as session:
        return make_model(session)


def ask(clinic: Clinic, model: UUID, **passed: float) -> UUID:
    with clinic.session as session:
        return drift_checks.ask(session, clinic.admin, model, after(**passed)).id


def fill(clinic: Clinic, model: UUID, count: int = WINDOW, **how: Any) -> None:
    with clinic.session as session:
        predict(session, model, people(clinic), count, **how)


def checks(clinic: Clinic) -> list[DriftCheck]:
    with clinic.session as session:
        return list(session.scalars(select(DriftCheck).order_by(DriftCheck.computed_at)))


def test_a_check_from_the_question_to_the_history(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, WINDOW + 30, refused=20)
    job_id = ask(clinic, model)
    given = done(clinic, job_id, after(minutes=1))
    assert (given.window.predictions, given.window.refused) == (WINDOW, 0)
    assert {len(values) for values in given.columns.values()} == {WINDOW}
    (check,) = checks(clinic)
    assert (check.model_id, check.job_id) == (model, job_id)
    assert (check.predictions, check.last) == (WINDOW, NOW)
    assert check.alarms == []
    names = {one["name"] for one in check.numbers}
    assert names == {
        *("input_mean", "input_sharpness", "probability", "view_ap", "called", "prevalence")
    }
    with clinic.session as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.study_id, job.instance_id) == (JobState.DONE, None, None)
        of_it = select(AuditEvent.event).where(AuditEvent.subject_id == job_id)
        assert set(session.scalars(of_it)) == {"job_claimed", "job_finished"}
        board = drift.board(session, clinic.admin)
        assert (len(board.checks), board.job) == (1, "")


def test_darker_pictures_and_another_share_of_views_are_an_alarm_until_a_check_without(
    clinic: Clinic, model: UUID
) -> None:
    fill(clinic, model, shift=0.15, ap=0.7)
    done(clinic, ask(clinic, model), NOW)
    with clinic.session as session:
        (alarm,) = drift.alarms(session, NOW)
    assert set(alarm.numbers) == {"input_mean", "view_ap"}
    fill(clinic, model, until=after(days=1), seed=3)
    done(clinic, ask(clinic, model, days=1), after(days=1))
    with clinic.session as session:
        assert drift.alarms(session, after(days=1)) == []
    assert [bool(one.alarms) for one in checks(clinic)] == [True, False]


def test_an_alarm_is_of_the_model_in_use_and_grows_old(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, shift=0.15)
    done(clinic, ask(clinic, model))
    with clinic.session as session:
        assert drift.alarms(session, after(days=14))
        assert not drift.alarms(session, after(days=16))
        session.execute(update(ModelVersion).values(state=ModelState.RETIRED))
        session.commit()
        assert not drift.alarms(session, NOW)


def test_of_fewer_than_fifty_results_nothing_is_compared(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, LEAST + 9, refused=10, shift=1.0)
    done(clinic, ask(clinic, model))
    (check,) = checks(clinic)
    assert (check.predictions, check.refused) == (LEAST - 1, 0), "of before the first result"
    assert (check.numbers, check.alarms) == ([], [])
    done(clinic, ask(clinic, uuid_of_other(clinic)))
    assert [one.predictions for one in checks(clinic)] == [LEAST - 1, 0]


def uuid_of_other(clinic: Clinic) -> UUID:
    """A second model with a reference and without predictions."""
    with clinic.session as session:
        known = session.scalars(select(ModelVersion.card).where(ModelVersion.card.is_not(None)))
        row = ModelVersion(
            id=uuid4(), name="idle", version="1", sha256="ee" * 32, card=known.first(), created=NOW
        )
        session.add(row)
        session.commit()
        return row.id


def test_what_a_worker_gets_names_nobody(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, 60)
    ticket = clinic.claim(ask(clinic, model))
    assert ticket is not None
    with clinic.session as session:
        data, media_type = files.read_input(session, clinic.vault, ticket, "recent_numbers")
        ids = session.execute(select(Prediction.id, Prediction.instance_id)).all()
        with pytest.raises(BadResult, match="no such input"):
            files.read_input(session, clinic.vault, ticket, "pixels")
    given = json.loads(data)
    assert media_type == "application/json"
    assert set(given) == {"window", "reference", "columns"}
    found = data.decode()
    assert not [one for row in ids for one in row if str(one) in found or one.hex in found]
    assert all(isinstance(value, float) for part in given["columns"].values() for value in part)


def test_old_predictions_and_those_of_archives_are_left_out(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, 60)
    fill(clinic, model, 70, is_old=True, shift=1.0, seed=4)
    fill(clinic, model, 80, until=NOW - timedelta(days=91), shift=1.0, seed=5)
    given = done(clinic, ask(clinic, model))
    assert given.window.predictions == 60


def test_a_row_that_cannot_be_read_is_left_out(clinic: Clinic, model: UUID) -> None:
    only_on_sqlite(clinic.core.engine)  # PostgreSQL stores no text that is no JSON
    fill(clinic, model, 60)
    with clinic.session as session:
        newest = session.scalars(select(func.max(Prediction.created))).one()
        last = session.scalars(select(Prediction.id).where(Prediction.created == newest)).one()
    spoil(clinic.core, "predictions", "statistics", "{", f"id = '{last.hex}'")
    assert done(clinic, ask(clinic, model)).window.predictions == 59


def test_one_check_of_a_model_at_a_time(clinic: Clinic, model: UUID) -> None:
    job_id = ask(clinic, model)
    with clinic.session as session, pytest.raises(Conflict, match="already waiting"):
        drift_checks.ask(session, clinic.admin, model, NOW)
    assert clinic.claim(job_id) is not None
    with clinic.session as session, pytest.raises(Conflict, match="already waiting"):
        drift_checks.ask(session, clinic.admin, model, NOW)


def test_who_may_ask_and_of_which_model(clinic: Clinic, model: UUID) -> None:
    for actor in (clinic.mate, clinic.owner, clinic.auditor):
        with clinic.session as session, pytest.raises(Denied):
            drift_checks.ask(session, actor, model, NOW)
        with clinic.session as session, pytest.raises(Denied):
            drift.board(session, actor)
    with clinic.session as session:
        bare = make_model_without_reference(session)
        with pytest.raises(Conflict, match="no reference"):
            drift_checks.ask(session, clinic.admin, bare, NOW)
    with clinic.session as session, pytest.raises(Denied):
        drift_checks.ask(session, clinic.admin, uuid4(), NOW)
    with clinic.session as session:
        asked = select(func.count()).where(AuditEvent.event == "drift_check_asked")
        assert session.scalar(asked) == 0
    ask(clinic, model)
    with clinic.session as session:
        row = session.scalars(select(AuditEvent).where(AuditEvent.event == "drift_check_asked"))
        assert row.one().actor_id == clinic.admin.user_id


def make_model_without_reference(session: Any) -> UUID:
    row = ModelVersion(
        id=uuid4(), name="bare", version="1", sha256="ff" * 32, card={"name": "x"}, created=NOW
    )
    session.add(row)
    session.commit()
    return row.id


def test_the_daily_check_is_asked_for_once_a_day_and_only_of_something_new(
    clinic: Clinic, model: UUID
) -> None:
    def due(**passed: float) -> int:
        with clinic.session as session:
            return drift_checks.ask_due(session, after(**passed))

    fill(clinic, model, LEAST - 1)
    assert due() == 0, "too few to compare"
    fill(clinic, model, 30, seed=6)
    assert (due(), due(minutes=1)) == (1, 0)
    with clinic.session as session:
        job_id = session.scalars(select(Job.id).where(Job.kind == JobKind.DRIFT)).one()
    assert due(days=1) == 0, "the one of the day before still waits"
    done(clinic, job_id, after(hours=1))
    assert due(days=1) == 0, "nothing is new"
    fill(clinic, model, 5, until=after(days=1), seed=7)
    assert (due(days=1, minutes=1), due(days=1, minutes=2)) == (1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": [{"name": "made_up"}]},
        {"window": {"predictions": 49}},
        {"numbers": [{"n": 61}]},
        {"numbers": [{"p_value": 1.1}]},
        {"numbers": [{"psi": float("nan")}]},
        {"numbers": [{"bars": [{"low": 0, "high": 1, "reference": 2, "recent": 0}]}]},
        {"patient": "x"},
    ],
    ids=["unknown", "too few", "too many", "no p", "not finite", "bad bars", "unknown field"],
)
def test_a_result_that_cannot_be_is_refused_and_stores_nothing(
    clinic: Clinic, model: UUID, changes: dict[str, Any]
) -> None:
    fill(clinic, model, 60)
    job_id = ask(clinic, model)
    ticket = clinic.claim(job_id)
    assert ticket is not None
    number = {
        "name": "input_mean",
        "is_share": False,
        "n": 60,
        "reference_n": 292,
        "expected": 0.2,
        "recent": 0.3,
        "psi": 0.1,
        "psi_by_chance": 0.05,
        "distance": 0.2,
        "p_value": 0.5,
        "state": "watch",
        "is_alarm": False,
        "bars": [],
    }
    window = {"first": None, "last": None, "predictions": 60, "refused": 0}
    found: dict[str, Any] = {"window": window, "numbers": [number]}
    for key, value in changes.items():
        if key == "numbers":
            found[key] = [number | value[0]]
        elif key == "window":
            found[key] = window | value
        else:
            found[key] = value
    with pytest.raises(BadResult):
        clinic.finish(ticket, {"drift": found})
    assert checks(clinic) == []
    clinic.finish(ticket, {"drift": {"window": window, "numbers": [number]}})
    assert len(checks(clinic)) == 1


def test_a_drift_job_stores_no_file(clinic: Clinic, model: UUID) -> None:
    ticket = clinic.claim(ask(clinic, model))
    assert ticket is not None
    with pytest.raises(BadResult, match="no outputs"):
        clinic.store(ticket, mask=b"x")


def test_a_failed_check_is_listed_and_tried_again(clinic: Clinic, model: UUID) -> None:
    job_id = ask(clinic, model)
    ticket = clinic.claim(job_id)
    assert ticket is not None
    clinic.fail(ticket, "input_refused", "permanent")
    with clinic.session as session:
        assert drift.board(session, clinic.admin).job == "failed"
        (stuck,) = overview.board(session).failed
        assert (stuck.kind, stuck.case_number) == (JobKind.DRIFT, "—")
        claims.retry(session, clinic.admin, job_id, NOW)
    assert clinic.state_of(job_id) is JobState.QUEUED
    done(clinic, job_id, after(seconds=5))
    with clinic.session as session:
        assert drift.board(session, clinic.admin).job == ""


def test_a_lost_check_goes_back_to_the_queue_and_ends_after_ten_losses(
    clinic: Clinic, model: UUID
) -> None:
    job_id = ask(clinic, model)
    for hour in range(10):
        assert clinic.claim(job_id, after(hours=hour)) is not None
        clinic.pass_time(after(hours=hour, minutes=30))
        with clinic.session as session:
            sweeper.sweep(session, Broker(""), after(hours=hour, minutes=30))
    assert clinic.state_of(job_id) is JobState.FAILED


def test_old_checks_are_removed_with_their_jobs(clinic: Clinic, model: UUID) -> None:
    fill(clinic, model, 60)
    done(clinic, ask(clinic, model))
    later = after(days=400)
    fill(clinic, model, 60, until=later, seed=8)
    done(clinic, ask(clinic, model, days=400), later)
    with clinic.session as session:
        drift_checks.forget_old(session, after(days=799))
        assert session.scalar(select(func.count()).select_from(DriftCheck)) == 2
        drift_checks.forget_old(session, after(days=801))
        assert session.scalars(select(DriftCheck.computed_at)).all() == [later]
        jobs = select(func.count()).where(Job.kind == JobKind.DRIFT)
        assert session.scalar(jobs) == 1


def test_the_database_lets_no_other_job_be_without_an_exam(clinic: Clinic, model: UUID) -> None:
    clinic.submit()
    with clinic.session as session, pytest.raises(Exception, match="about"):
        session.execute(text("UPDATE jobs SET study_id = NULL WHERE kind = 'render'"))

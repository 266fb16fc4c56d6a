"""Workers' own tokens: stored as digests, for one queue, until they expire or are revoked."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from portal.access import Denied
from portal.accounts import api_tokens
from portal.jobs import claims, tickets, worker_tokens
from portal.models import AuditEvent, JobKind, WorkerToken
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

DAY = timedelta(days=1)


def made(clinic: Clinic, queue: JobKind = JobKind.RENDER) -> tuple[WorkerToken, str]:
    with clinic.session as session:
        return worker_tokens.create(session, name="gpu-1", queue=queue, lifetime=DAY, now=NOW)


def test_the_token_itself_is_not_in_the_database(clinic: Clinic) -> None:
    token, raw = made(clinic)
    assert raw.startswith("plw_")
    with clinic.session as session:
        row = session.execute(text("SELECT * FROM worker_tokens")).one()
        events = session.scalars(select(AuditEvent)).all()
    assert raw not in str(row)
    assert raw.removeprefix("plw_") not in str(row)
    assert [(e.event, e.subject_id) for e in events] == [("worker_token_made", token.id)]


def test_it_works_until_it_expires_and_its_last_use_is_shown(clinic: Clinic) -> None:
    token, raw = made(clinic)
    with clinic.session as session:
        found = worker_tokens.load(session, raw, after(hours=1))
        assert found is not None
        assert (found.id, found.queue) == (token.id, JobKind.RENDER)
        assert session.get_one(WorkerToken, token.id).last_seen == after(hours=1)
        assert worker_tokens.load(session, raw, after(days=1)) is None
        assert worker_tokens.working(session, after(days=1)) == []


@pytest.mark.parametrize("given", ["", "plw_", "plw_" + "a" * 43, "plr_" + "a" * 43, "ü", "\0"])
def test_what_nobody_made_opens_nothing(clinic: Clinic, given: str) -> None:
    _, raw = made(clinic)
    with clinic.session as session:
        for guess in (given, raw + "a", raw[:-1], raw.upper(), raw.replace("plw_", "plr_")):
            assert worker_tokens.load(session, guess, NOW) is None
            assert api_tokens.load_token(session, guess, NOW) is None


def test_a_revoked_one_opens_nothing_and_its_tickets_neither(clinic: Clinic) -> None:
    token, raw = made(clinic)
    with clinic.session as session:
        assert worker_tokens.still_works(session, token.id, NOW)
        worker_tokens.revoke(session, clinic.admin, token.id, NOW)
        assert worker_tokens.load(session, raw, NOW) is None
        assert not worker_tokens.still_works(session, token.id, NOW)
        event = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc())).first()
        assert event is not None
        assert (event.event, event.actor_id) == ("worker_token_revoked", clinic.admin.user_id)


@pytest.mark.parametrize("name", ["owner", "mate", "auditor"])
def test_only_who_minds_the_jobs_revokes(clinic: Clinic, name: str) -> None:
    token, raw = made(clinic)
    with clinic.session as session:
        with pytest.raises(Denied):
            worker_tokens.revoke(session, getattr(clinic, name), token.id, NOW)
        assert worker_tokens.load(session, raw, NOW) is not None


@pytest.mark.parametrize(
    ("name", "queue", "days"),
    [("", JobKind.RENDER, 1), ("w", JobKind.EXPORT, 1), ("w", JobKind.SEND, 1),
     ("w", JobKind.RENDER, 0), ("w", JobKind.RENDER, 400)],
)  # fmt: skip
def test_a_token_that_may_not_be_is_not_made(
    clinic: Clinic, name: str, queue: JobKind, days: int
) -> None:
    with clinic.session as session, pytest.raises(ValueError, match="token"):
        worker_tokens.create(session, name=name, queue=queue, lifetime=DAY * days, now=NOW)


def test_a_token_of_one_queue_claims_no_job_of_the_other(clinic: Clinic) -> None:
    render = clinic.job(clinic.submit().study_id).id
    wrong, right = made(clinic, JobKind.SEGMENT)[0], made(clinic)[0]
    settings = clinic.core.settings
    with clinic.session as session:
        assert claims.claim(session, settings, clinic.vault, render, "w", NOW, wrong) is None
        claimed = claims.claim(session, settings, clinic.vault, render, "w", NOW, right)
    assert claimed is not None
    assert claimed.claim.attempt == 1  # the wrong one's try has not counted
    ticket = claims.open_ticket(settings, claimed.claim.ticket, render)
    assert ticket == tickets.Ticket(render, 1, right.id)

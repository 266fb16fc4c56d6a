"""Two at once that change where a study stands: neither undoes the other, none waits for ever."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal import audit
from portal.governance import purges
from portal.jobs.errors import Lost
from portal.jobs.tickets import Ticket
from portal.models import (
    READ,
    Band,
    Instance,
    Job,
    PurgeReason,
    Review,
    ReviewSeen,
    Study,
    Verdict,
)
from portal.studies import worklist_order
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import prediction_of, segmented


def review(clinic: Clinic, study_id: UUID) -> Review:
    return Review(
        id=uuid4(),
        study_id=study_id,
        reader_id=clinic.mate.user_id,
        verdict=Verdict.UNSURE,
        created=NOW,
    )


@pytest.fixture
def analysed(clinic: Clinic) -> Ticket:
    """A segment job whose outputs are stored and whose result is still to come."""
    ticket = clinic.claim(clinic.render(clinic.submit().study_id))
    assert ticket is not None
    clinic.store(ticket, **segmented())
    return ticket


@pytest.mark.parametrize("placed_first", [True, False])
def test_a_review_and_a_result_at_once_are_both_seen(
    clinic: Clinic, analysed: Ticket, *, placed_first: bool
) -> None:
    """`placed_first`: the review has placed the study; else it has only added its row.

    Then both have a row that names the study, and neither may wait for the other's.
    """
    with clinic.session as session:
        study_id = session.get_one(Job, analysed.job_id).study_id
    with clinic.session as session, ThreadPoolExecutor(1) as pool:
        written = review(clinic, study_id)
        session.add(written)
        session.flush()
        picture = session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()
        session.add(ReviewSeen(review_id=written.id, instance_id=picture))
        session.flush()
        if placed_first:
            worklist_order.place(session, study_id)
            session.flush()
        found = prediction_of(band="none_found", probability=0.04)
        ending = pool.submit(clinic.finish, analysed, {"prediction": found})
        time.sleep(0.7)
        if not placed_first:
            worklist_order.place(session, study_id)
        audit.append(session, "review_added", now=NOW, study_id=study_id)
        session.commit()
        ending.result()
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        assert (study.is_read, study.band, study.side, study.rank) == (
            True,
            Band.NONE_FOUND,
            None,
            READ,
        )


def test_purging_while_results_come_in_ends(clinic: Clinic) -> None:
    """Purge and finish lock jobs and study in the same order."""
    tickets = []
    for minute in range(6):
        sent = clinic.submit(now=after(minutes=minute))
        ticket = clinic.claim(clinic.render(sent.study_id))
        assert ticket is not None
        clinic.store(ticket, **segmented())
        tickets.append((sent.study_id, ticket))

    def end(ticket: Ticket) -> None:
        try:
            clinic.finish(ticket, {"prediction": prediction_of()})
        except Lost:
            return

    def purge(study_id: UUID) -> None:
        with clinic.session as session:
            purges.purge(
                session,
                clinic.vault,
                clinic.admin,
                study_id,
                NOW,
                reason=PurgeReason.SENT_BY_MISTAKE,
            )

    for study_id, ticket in tickets:
        with ThreadPoolExecutor(2) as pool:
            both = pool.submit(end, ticket), pool.submit(purge, study_id)
            for one in both:
                one.result(timeout=60)
    with clinic.session as session:
        for study_id, _ in tickets:
            assert session.get_one(Study, study_id).wrapped_key is None

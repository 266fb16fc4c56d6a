"""The ledger as a state machine: whatever workers, clock and sweep do, the promises hold.

Each job is done at most once; an attempt number is never used twice; only the current attempt
ends a job; no job is lost; and the worklist's index agrees with the rows.
"""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import func, select

from portal.audit import verification
from portal.jobs import claims, sweeper
from portal.jobs.attempts import FAILURES, LOSSES, is_expired
from portal.jobs.broker import Broker
from portal.jobs.errors import Lost
from portal.jobs.tickets import Ticket
from portal.models import Job, JobKind, JobState, Prediction, Study
from portal.studies import worklist_order
from tests.support.clinic import Clinic, open_clinic
from tests.support.core import NOW, migrated_sqlite, open_core
from tests.support.jobs import facts_of, prediction_of, rendered, segmented

SILENT = Broker("")


class Ledger(RuleBasedStateMachine):
    """Workers that claim, linger, die and come back; a clock; a sweep; an admin."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        (self.folder / "pleura.db").write_bytes(migrated_sqlite())
        core = open_core(self.folder / "data", f"sqlite:///{self.folder / 'pleura.db'}")
        self.clinic: Clinic = open_clinic(core)
        self.now: datetime = NOW
        self.claimed: set[tuple[Any, int]] = set()
        self.ended: dict[Any, int] = {}
        self.clinic.submit(now=self.now)

    def teardown(self) -> None:
        with self.clinic.session as session:
            assert verification.verify(session).is_whole
        self.clinic.core.engine.dispose()
        shutil.rmtree(self.folder)

    def job(self, job_id: Any) -> Job:
        with self.clinic.session as session:
            return session.get_one(Job, job_id)

    @rule()
    def submit(self) -> None:
        with self.clinic.session as session:
            few = (session.scalar(select(func.count()).select_from(Study)) or 0) < 2
        if few:
            self.clinic.submit(now=self.now)

    @rule(target=tickets, choice=st.integers(0, 5))
    def claim(self, choice: int) -> Any:
        with self.clinic.session as session:
            ids = session.scalars(select(Job.id).order_by(Job.created, Job.kind)).all()
        return self.claim_job(ids[choice % len(ids)])

    def claim_job(self, job_id: Any) -> Ticket | None:
        self.clinic.pass_time(self.now)
        before = self.job(job_id)
        ticket = self.clinic.claim(before.id, self.now)
        expired = (
            before.state is JobState.RUNNING
            and before.lease_until is not None
            and before.lease_until < datetime.now(UTC)
            and before.losses < LOSSES - 1
        )
        assert (ticket is not None) == (before.state is JobState.QUEUED or expired)
        if ticket is not None:
            assert (ticket.job_id, ticket.attempt) not in self.claimed
            self.claimed.add((ticket.job_id, ticket.attempt))
        return ticket

    @rule(target=tickets, ticket=tickets)
    def another_worker_takes_over(self, ticket: Ticket | None) -> Any:
        """The hardest case, made likely: the lease ends, and the first worker is still there."""
        if ticket is None:
            return None
        self.now += timedelta(hours=1)
        second = self.claim_job(ticket.job_id)
        if second is not None:
            self.work_and_finish(ticket)  # which the first one did not see: it is refused
        return second

    @rule(ticket=tickets)
    def work_and_finish(self, ticket: Ticket | None) -> None:
        if ticket is None:
            return
        before = self.job(ticket.job_id)
        current = before.state is JobState.RUNNING and before.attempts == ticket.attempt
        render = before.kind is JobKind.RENDER
        try:
            self.clinic.store(ticket, self.now, **(rendered(8, 6) if render else segmented()))
            result = {"facts": facts_of(8, 6)} if render else {"prediction": prediction_of()}
            self.clinic.finish(ticket, result, self.now)
        except Lost:
            assert not current
            return
        assert current
        assert ticket.job_id not in self.ended, "a job is done once"
        self.ended[ticket.job_id] = ticket.attempt

    @rule(ticket=tickets, kind=st.sampled_from(["transient", "permanent"]))
    def fail(self, ticket: Ticket | None, kind: str) -> None:
        if ticket is None:
            return
        before = self.job(ticket.job_id)
        self.clinic.fail(ticket, "decoder_lost", kind, self.now)
        after = self.job(ticket.job_id)
        if before.state is not JobState.RUNNING or before.attempts != ticket.attempt:
            assert (before.state, before.attempts) == (after.state, after.attempts)
        elif kind == "permanent" or before.failures + 1 >= FAILURES:
            assert after.state is JobState.FAILED
        else:
            assert after.state is JobState.QUEUED

    @rule(ticket=tickets)
    def heartbeat(self, ticket: Ticket | None) -> None:
        if ticket is None:
            return
        before = self.job(ticket.job_id)
        with self.clinic.session as session:
            renewed = claims.heartbeat(session, self.clinic.core.settings, ticket)
        assert renewed == (before.state is JobState.RUNNING and before.attempts == ticket.attempt)

    @rule(minutes=st.sampled_from([1, 2, 5, 60]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def sweep(self) -> None:
        self.clinic.pass_time(self.now)
        with self.clinic.session as session:
            sweeper.sweep(session, SILENT, self.now)
            stuck = session.scalars(select(Job).where(*is_expired())).all()
        assert stuck == []

    @rule()
    def tidy(self) -> None:
        with self.clinic.session as session:
            sweeper.tidy(session, self.clinic.vault, self.now)

    @rule()
    def admin_retries(self) -> None:
        with self.clinic.session as session:
            failed = session.scalars(select(Job.id).where(Job.state == JobState.FAILED)).first()
            if failed is not None:
                claims.retry(session, self.clinic.admin, failed, self.now)

    @invariant()
    def what_is_done_stays_done_and_has_its_result(self) -> None:
        with self.clinic.session as session:
            rows = session.scalars(select(Job)).all()
            predictions = {row.job_id: row.attempt for row in session.scalars(select(Prediction))}
        done = {job.id for job in rows if job.state is JobState.DONE}
        assert done == set(self.ended)
        for job in rows:
            if job.kind is JobKind.SEGMENT:
                assert predictions.get(job.id) == self.ended.get(job.id)
            if job.kind is JobKind.RENDER and job.id in done:
                followers = [j for j in rows if j.study_id == job.study_id and j.id != job.id]
                assert len(followers) == 1, "a picture that was prepared is analysed"

    @invariant()
    def every_study_stands_where_it_belongs(self) -> None:
        with self.clinic.session as session:
            for study in session.scalars(select(Study)).all():
                placed = (study.rank, study.weight, study.is_without_result)
                worklist_order.place(session, study.id)
                assert (study.rank, study.weight, study.is_without_result) == placed
            session.rollback()


Ledger.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLedger = Ledger.TestCase

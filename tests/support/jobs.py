"""Jobs of a portal, done in this process as a worker would do them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.jobs import claims, files, outcomes, tickets
from portal.models import Job, JobKind, JobState
from tests.support.core import NOW, Core
from tests.support.job_results import MEDIA_TYPES
from worker.contract.job import Failure
from worker.contract.result import Output


@dataclass
class Jobs:
    """The jobs of a portal."""

    core: Core

    def job(self, study_id: UUID, kind: JobKind = JobKind.RENDER) -> Job:
        """The study's job of this kind."""
        with self.core.sessions() as session:
            return session.scalars(
                select(Job).where(Job.study_id == study_id, Job.kind == kind)
            ).one()

    def queued(self, study_id: UUID, kind: JobKind) -> Job:
        """The study's one job of this kind that waits; it may have others for other pictures."""
        with self.core.sessions() as session:
            return session.scalars(
                select(Job).where(
                    Job.study_id == study_id, Job.kind == kind, Job.state == JobState.QUEUED
                )
            ).one()

    def claim(self, job_id: UUID, now: datetime = NOW) -> tickets.Ticket | None:
        """Claim a job as a worker; the ticket, read back from its text."""
        settings, vault = self.core.settings, self.core.vault
        with self.core.sessions() as session:
            claimed = claims.claim(session, settings, vault, job_id, "worker-1", now)
        return claimed and claims.open_ticket(settings, claimed.ticket, job_id, now)

    def store(self, ticket: tickets.Ticket, now: datetime = NOW, **outputs: bytes) -> None:
        """Store outputs of an attempt, each with its right media type."""
        for kind, data in outputs.items():
            with self.core.sessions() as session:
                output = Output(kind, MEDIA_TYPES[kind], data)
                files.store_output(session, self.core.vault, ticket, output, now)

    def finish(
        self, ticket: tickets.Ticket, result: dict[str, Any], now: datetime = NOW
    ) -> UUID | None:
        """Finish an attempt; returns the job that follows."""
        with self.core.sessions() as session:
            return outcomes.finish(session, self.core.vault, ticket, result, now)

    def fail(self, ticket: tickets.Ticket, code: str, kind: str, now: datetime = NOW) -> None:
        """Let an attempt fail."""
        with self.core.sessions() as session:
            failure = Failure.parse({"code": code, "kind": kind})
            outcomes.fail(session, self.core.vault, ticket, failure, now)

    def state_of(self, job_id: UUID) -> JobState:
        """The stored state of a job."""
        with self.core.sessions() as session:
            return session.get_one(Job, job_id).state

"""Two teams for tests: people of every role, and jobs done as a worker would.

The owner uploads the picture, the team-mate reads in the same team, the outsider reads in another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.accounts.sessions import actor_of
from portal.intake import submission
from portal.models import Role
from tests.support.core import NOW, Core
from tests.support.jobs import Jobs, facts_of, prediction_of, rendered, segmented
from tests.support.people import add_person
from tests.support.pictures import dicom


@dataclass
class Clinic(Jobs):
    """The core of a portal and its people, each as an actor."""

    owner: Actor
    mate: Actor
    outsider: Actor
    colleague: Actor  # another technologist of the same team
    admin: Actor
    auditor: Actor

    @property
    def session(self) -> Session:
        return self.core.sessions()

    @property
    def vault(self) -> Any:
        return self.core.vault

    def submit(
        self,
        data: bytes | None = None,
        actor: Actor | None = None,
        now: datetime = NOW,
        **tags: Any,
    ) -> submission.Submitted:
        """Upload a picture."""
        with self.session as session:
            return submission.submit(
                session, self.vault, actor or self.owner, "x.dcm", data or dicom(**tags), now
            )

    def render(self, study_id: UUID, now: datetime = NOW, **facts: Any) -> UUID:
        """Do a study's render job; returns the segment job's id."""
        ticket = self.claim(self.job(study_id).id, now)
        assert ticket is not None
        self.store(ticket, now, **rendered(8, 6))
        follower = self.finish(ticket, {"facts": facts_of(8, 6, **facts)}, now)
        assert follower is not None
        return follower

    def segment(self, job_id: UUID, now: datetime = NOW, **changes: Any) -> None:
        """Do a segment job."""
        ticket = self.claim(job_id, now)
        assert ticket is not None
        prediction = prediction_of(**changes)
        if prediction["map"] is not None:
            self.store(ticket, now, **segmented())
        assert self.finish(ticket, {"prediction": prediction}, now) is None

    def done(self, now: datetime = NOW, actor: Actor | None = None, **changes: Any) -> UUID:
        """A study whose jobs are all done."""
        study_id = self.submit(now=now, actor=actor).study_id
        self.segment(self.render(study_id, now), now, **changes)
        return study_id


def open_clinic(core: Core) -> Clinic:
    """Two teams with people of every role."""
    with core.sessions() as session:

        def person(name: str, role: Role, team: str = "Here") -> Actor:
            email = f"{name}@example.org"
            user = add_person(session, role, email, name=f"Test {name}", team=team)
            return actor_of(user, uuid4())

        clinic = Clinic(
            core,
            owner=person("owner", Role.TECHNOLOGIST),
            mate=person("mate", Role.READER),
            outsider=person("outsider", Role.READER, "There"),
            colleague=person("colleague", Role.TECHNOLOGIST),
            admin=person("admin", Role.ADMIN),
            auditor=person("auditor", Role.AUDITOR),
        )
        session.commit()
    return clinic


def after(**amount: float) -> datetime:
    """Some time after NOW."""
    return NOW + timedelta(**amount)

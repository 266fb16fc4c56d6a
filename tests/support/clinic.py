"""Two teams for tests: people of every role, and jobs done as a worker would.

The owner uploads the picture, the team-mate reads in the same team, the outsider reads in another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, permissions_of
from portal.intake import submission
from portal.jobs import claims, files, outcomes, tickets
from portal.models import Job, JobKind, JobState, Role, Team, User
from tests.support.core import NOW, Core
from tests.support.pictures import dicom, jpeg, png
from worker.contract.job import Failure, Hello
from worker.contract.result import Output

SHA256 = "ab" * 32


@dataclass
class Clinic:
    """The core of a portal and its people, each as an actor."""

    core: Core
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

    def job(self, study_id: UUID, kind: JobKind = JobKind.RENDER) -> Job:
        """The study's job of this kind."""
        with self.session as session:
            return session.scalars(
                select(Job).where(Job.study_id == study_id, Job.kind == kind)
            ).one()

    def claim(self, job_id: UUID, now: datetime = NOW) -> tickets.Ticket | None:
        """Claim a job as a worker; the ticket, read back from its text."""
        with self.session as session:
            claimed = claims.claim(session, self.core.settings, self.vault, job_id, "worker-1", now)
        if claimed is None:
            return None
        return claims.open_ticket(self.core.settings, claimed.ticket, job_id, now)

    def store(self, ticket: tickets.Ticket, now: datetime = NOW, **outputs: bytes) -> None:
        """Store outputs of an attempt, each with its right media type."""
        for kind, data in outputs.items():
            with self.session as session:
                files.store_output(
                    session, self.vault, ticket, Output(kind, MEDIA_TYPES[kind], data), now
                )

    def finish(
        self, ticket: tickets.Ticket, result: dict[str, Any], now: datetime = NOW
    ) -> UUID | None:
        """Finish an attempt."""
        with self.session as session:
            return outcomes.finish(session, self.vault, ticket, result, now)

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

    def fail(self, ticket: tickets.Ticket, code: str, kind: str, now: datetime = NOW) -> None:
        """Let an attempt fail."""
        with self.session as session:
            failure = Failure.parse({"code": code, "kind": kind})
            outcomes.fail(session, self.vault, ticket, failure, now)

    def state_of(self, job_id: UUID) -> JobState:
        """The stored state of a job."""
        with self.session as session:
            return session.get_one(Job, job_id).state


MEDIA_TYPES = {
    "pixels": "application/octet-stream",
    "preview": "image/jpeg",
    "thumb": "image/jpeg",
    "probability": "application/octet-stream",
    "mask": "image/png",
    "overlay": "image/png",
}


def open_clinic(core: Core) -> Clinic:
    """Two teams with people of every role."""
    with core.sessions() as session:
        here, there = Team(id=uuid4(), name="Here", created=NOW), None
        there = Team(id=uuid4(), name="There", created=NOW)
        session.add_all([here, there])
        session.flush()

        def person(name: str, role: Role, team: Team = here) -> Actor:
            user = User(
                id=uuid4(),
                name=f"Test {name}",
                email=f"{name}@example.org",
                role=role,
                team_id=team.id,
                created=NOW,
            )
            session.add(user)
            return Actor(user.id, team.id, role, permissions_of(role), uuid4(), "session")

        clinic = Clinic(
            core,
            owner=person("owner", Role.TECHNOLOGIST),
            mate=person("mate", Role.READER),
            outsider=person("outsider", Role.READER, there),
            colleague=person("colleague", Role.TECHNOLOGIST),
            admin=person("admin", Role.ADMIN),
            auditor=person("auditor", Role.AUDITOR),
        )
        session.commit()
    return clinic


def rendered(rows: int, columns: int) -> dict[str, bytes]:
    """The outputs of a render job."""
    return {
        "pixels": bytes(rows * columns * 2),
        "preview": jpeg(rows=rows, columns=columns, inside=b"preview"),
        "thumb": jpeg(rows=rows, columns=columns, inside=b"thumb"),
    }


def segmented() -> dict[str, bytes]:
    """The outputs of a segment job."""
    return {
        "probability": bytes(4 * 4),
        "mask": png(),
        "overlay": png(colour=2),
    }


def hello_of(queue: str, name: str = "w", model: str = "") -> Hello:
    """What a worker of a queue reports when it starts."""
    return Hello.parse({"name": name, "queue": queue, "engine": "cpu", "model": model})


def facts_of(rows: int, columns: int, **changes: Any) -> dict[str, Any]:
    """The facts of a picture from a render job."""
    return {
        "rows": rows,
        "columns": columns,
        "bits": 12,
        "spacing": {"row_mm": 0.14, "column_mm": 0.14, "source": "detector"},
        "windows": [[2048.0, 4096.0, "automatic"]],
        "view": "PA",
        "modality": "DX",
        "body_part": "CHEST",
        "photometric": "MONOCHROME2",
        "orientation": ["L", "F"],
        "patient_age_years": 62.0,
        "patient_sex": "F",
        "media_type": "application/dicom",
        "colour": 0.0,
        "notes": [],
    } | changes


def prediction_of(**changes: Any) -> dict[str, Any]:
    """The prediction of a segment job; with `none_found` nothing is outlined."""
    if changes.get("band") == "none_found":
        changes = {"measurements": {"area_px": 0, "side": None}} | changes
    return {
        "model": {"name": "pleura-lite2", "version": "1.0", "sha256": SHA256},
        "probability": 0.91,
        "band": "likely",
        "threshold": 0.5,
        "operating_point": "balanced",
        "map": {"rows": 4, "columns": 4},
        "measurements": {
            "area_px": 9,
            "area_mm2": 310.5,
            "side": "right",
            "side_assumed": False,
            "zones": ["apical"],
            "distance_px": 5.0,
            "distance_mm": 17.5,
            "distance_line": [1, 2, 3, 4],
            "components": [
                {
                    "area_px": 9,
                    "area_mm2": 310.5,
                    "side": "right",
                    "zones": ["apical"],
                    "box": [1, 2, 5, 6],
                }
            ],
            "spacing": None,
            "lungs_found": True,
            "extents": [
                {
                    "side": "right",
                    "fraction": 0.12,
                    "apex": {"px": 4.0, "mm": 5.5, "line": [1, 2, 3, 4]},
                    "upper": {"px": 2.1, "mm": 2.9, "line": [1, 2, 3, 4]},
                    "middle": {"px": 1.2, "mm": 1.6, "line": [5, 6, 7, 8]},
                    "lower": {"px": 0.0, "mm": 0.0, "line": None},
                    "collins": {"percent": 12.0, "applies": True, "reason": None},
                    "rhea": {"percent": None, "applies": False, "reason": "not_pa"},
                    "light": {"percent": None, "applies": False, "reason": "not_pa"},
                }
            ],
        },
        "quality": {"verdict": "fit", "reasons": []},
        "statistics": {"mean": 0.4},
        "seconds": 0.31,
    } | changes


REFUSED = {
    "probability": None,
    "band": None,
    "threshold": None,
    "map": None,
    "measurements": None,
    "quality": {
        "verdict": "refused",
        "reasons": [{"code": "lateral_view", "message": "A lateral view."}],
    },
}


def after(**amount: float) -> datetime:
    """Some time after NOW."""
    return NOW + timedelta(**amount)

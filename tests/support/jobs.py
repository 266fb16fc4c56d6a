"""Jobs done in this process as a worker would do them, and what workers report, made up.

The defaults are those of a small DICOM picture; `PNG_FACTS` and `UNMEASURED` those of a PNG, whose
pixels have no size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.jobs import claims, files, outcomes, tickets
from portal.models import Job, JobKind, JobState, MissingModel, Worker
from tests.support.core import NOW, Core
from tests.support.pictures import jpeg, png
from worker.contract.files import OUTPUTS
from worker.contract.job import Failure, Hello
from worker.contract.result import Output

SHA256 = "ab" * 32
MEDIA_TYPES = {
    kind.value: rule.media_type
    for job, outputs in OUTPUTS.items()
    if job is not JobKind.ENCODE  # its report is a ZIP
    for kind, rule in outputs.items()
}


def rendered(rows: int, columns: int) -> dict[str, bytes]:
    """The outputs of a render job."""
    return {
        "pixels": bytes(rows * columns * 2),
        "preview": jpeg(rows=rows, columns=columns, inside=b"preview"),
        "thumb": jpeg(rows=min(rows, 96), columns=min(columns, 77), inside=b"thumb"),
    }


def segmented(rows: int = 8, columns: int = 6) -> dict[str, bytes]:
    """The outputs of a segment job."""
    return {
        "probability": bytes(4 * 4),
        "mask": png(rows=rows, columns=columns),
    }


def hello_of(queue: str, name: str = "w", model: str = "", **more: Any) -> Hello:
    """What a worker of a queue reports when it starts."""
    return Hello.parse({"name": name, "queue": queue, "engine": "cpu", "model": model} | more)


def facts_of(rows: int, columns: int, **changes: Any) -> dict[str, Any]:
    """The facts of a picture from a render job; by its spacing it is 320 x 270 mm large."""
    return {
        "rows": rows,
        "columns": columns,
        "bits": 12,
        "spacing": {"row_mm": 320 / rows, "column_mm": 270 / columns, "source": "detector"},
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


# What a network of two classes found beside a pneumothorax.
OTHER_FINDING = {
    "name": "pleural-effusion",
    "probability": 0.7,
    "threshold": 0.4,
    "found": True,
    "side": "left",
    "area_px": 6,
    "area_mm2": 207.0,
    "outlines": [[[1.5, 1.5], [4.5, 1.5], [4.5, 3.5]]],
}


def prediction_of(**changes: Any) -> dict[str, Any]:
    """The prediction of a segment job; with `none_found` nothing is outlined."""
    if changes.get("band") == "none_found":
        changes = {"measurements": {"area_px": 0, "side": None}} | changes
    return {
        "model": {"name": "pleura-lite2", "version": "1.0", "sha256": SHA256},
        "probability": 0.91,
        "band": "likely",
        "threshold": 0.5,
        "image_threshold": 0.21,
        "likely_threshold": 0.74,
        "operating_point": "balanced",
        "map": {"rows": 4, "columns": 4},
        "measurements": {
            "area_px": 9,
            "area_mm2": 310.5,
            "side": "right",
            "side_assumed": False,
            "zones": ["apical"],
            "zones_by": "lung_field",
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
            "spacing_problem": None,
            "island_px_min": 22,
            "islands_left_out": 1,
            "lungs_found": True,
            "lesions": 1,
            "severity": "moderate",
            "extents": [
                {
                    "side": "right",
                    "border_found": True,
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
    "image_threshold": None,
    "likely_threshold": None,
    "map": None,
    "measurements": None,
    "quality": {
        "verdict": "refused",
        "reasons": [{"code": "lateral_view", "message": "A lateral view."}],
    },
}

# What is different where the picture is a PNG: its file holds no sizes, views and patients.
PNG_FACTS: dict[str, Any] = {
    "bits": 8,
    "spacing": None,
    "windows": [[128.0, 256.0, "automatic"]],
    "view": None,
    "modality": None,
    "body_part": None,
    "orientation": [],
    "patient_age_years": None,
    "patient_sex": None,
    "media_type": "image/png",
}
UNMEASURED: dict[str, Any] = {
    "measurements": {"area_px": 900, "area_mm2": None, "side": "right", "distance_px": 120.0},
}


@dataclass
class Jobs:
    """The jobs of a portal."""

    core: Core
    # The test's time up to which that has aged which runs by the database's clock; None where the
    # test's time is the real one.
    time: datetime | None = field(default=NOW, init=False)

    def pass_time(self, now: datetime) -> None:
        """Let what runs by the database's clock be as much older as the test's time has gone on.

        Leases, waiting jobs, and what workers have reported.
        """
        if self.time is None:
            return
        passed, self.time = now - self.time, max(now, self.time)
        if passed > timedelta(0):
            with self.core.sessions() as session:
                for job in session.scalars(select(Job)):
                    job.queued_at -= passed
                    if job.rung_at is not None:
                        job.rung_at -= passed
                    if job.lease_until is not None:
                        job.lease_until -= passed
                for worker in session.scalars(select(Worker)):
                    worker.last_seen -= passed
                for missing in session.scalars(select(MissingModel)):
                    missing.at -= passed
                session.commit()

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
        self.pass_time(now)
        settings, vault = self.core.settings, self.core.vault
        with self.core.sessions() as session:
            claimed = claims.claim(session, settings, vault, job_id, "worker-1", now)
        if claimed is None:
            return None
        return claims.open_ticket(settings, claimed.claim.ticket, job_id)

    def store(
        self,
        ticket: tickets.Ticket,
        now: datetime = NOW,
        *,
        types: Mapping[str, str] | None = None,
        **outputs: bytes,
    ) -> None:
        """Store outputs of an attempt, each with its right media type, or one of `types`."""
        for kind, data in outputs.items():
            with self.core.sessions() as session:
                output = Output(kind, (types or MEDIA_TYPES)[kind], data)
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

"""A portal served over HTTP for browser tests.

Its jobs are done in this process as a worker would, with predictions computed from drawn phantoms.
"""

from __future__ import annotations

import functools
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
from flask import Flask
from numpy.typing import NDArray
from sqlalchemy import delete, update
from werkzeug.serving import make_server

from ml.images import overlay, reader
from ml.images.picture import Picture
from ml.inference import explain, predict, serving
from ml.preparation import phantom
from ml.preprocessing import transforms
from ml.quality import gate
from ml.runtime import lung_finder
from portal.accounts import invitations, sessions
from portal.ai_models import registry
from portal.database import DatabaseTime
from portal.governance import purges
from portal.intake import submission
from portal.intake.stated import Stated
from portal.jobs import files, sweeper, tickets, workers
from portal.models import Job, JobKind, JobState, PurgeReason, Role, Study, User, ViewerPreferences
from tests.support.core import make_settings
from tests.support.drift.predictions import card as drift_card
from tests.support.jobs import Jobs, hello_of
from tests.support.people import Person
from tests.support.portal_app import core_of, make_app, make_person, sign_in
from worker.contract.job import QUEUES

CARD: dict[str, Any] = {
    "name": "phantom",
    "version": "1.0",
    "sha256": "ab" * 32,
    "thresholds": {
        "mask": 0.45,
        "area_px_min": 0,
        "image": {"high_sensitivity": 0.2, "balanced": 0.4, "high_precision": 0.7},
    },
    "use": "Testing pages with drawn chests.",
    "metrics": {"auc": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 300}},
    "subgroups": {"view": {"AP": {"pictures": 9, "positives": 2, "auc": {"value": 0.8}}}},
    "limits": ["Drawn chests only."],
    "reference": drift_card()["reference"],
}
GRID = 384
# A prediction with this probability gets two readings that differ.
UNCERTAIN = 0.5


class BrowserPortal:
    """A portal at `url` with one reader, one technologist, one admin and one auditor."""

    def __init__(self, app: Flask, url: str) -> None:
        self.app = app
        self.url = url
        self.services = app.extensions["pleura"]
        self.core = core_of(app)
        self.jobs = Jobs(self.core)
        self.jobs.time = None  # the real one
        self.people = {role: make_person(app, role, name=_NAMES[role]) for role in Role}

    def second_reader(self) -> Person:
        """Another reader of the same team."""
        return make_person(self.app, Role.READER, name="Rob Reader")

    def cookie(self, who: Role | Person, *, proved: bool = True) -> dict[str, str]:
        """The cookie of a new session of this role or person; unless `proved`, before the code."""
        person = self.people[who] if isinstance(who, Role) else who
        client = sign_in(self.app, person, proved=proved)
        name = self.app.config["SESSION_COOKIE_NAME"]
        found = client.get_cookie(name)
        assert found is not None
        return {"name": name, "value": found.value, "url": self.url}

    def submit(
        self, data: bytes, who: Role | Person = Role.TECHNOLOGIST, name: str = "one.dcm"
    ) -> UUID:
        """Upload a file as this role or person; returns the study."""
        person = self.people[who] if isinstance(who, Role) else who
        with self.core.sessions() as session:
            actor = sessions.actor_of(session.get_one(User, person.id))
            now = datetime.now(UTC)
            young = Stated(old_after=timedelta(days=40_000))
            sent = submission.submit(
                *(session, self.services.vault, actor, name, data, now), stated=young
            )
            if sent.job_id is not None:
                sweeper.notify(session, self.services.broker, sent.job_id)
            return sent.study_id

    def team_of(self, person: Person) -> UUID:
        """The id of a person's team."""
        with self.core.sessions() as session:
            return session.get_one(User, person.id).team_id

    def add_card(self) -> UUID:
        """Register the model of the test predictions; returns its id."""
        with self.core.sessions() as session:
            return registry.add(session, CARD, source="test", now=datetime.now(UTC)).id

    def team(self) -> UUID:
        """The id of the reader's team."""
        with self.core.sessions() as session:
            return session.get_one(User, self.people[Role.READER].id).team_id

    def purge(self, study_id: UUID) -> None:
        """Destroy a study, as its administrator."""
        with self.core.sessions() as session:
            admin = sessions.actor_of(session.get_one(User, self.people[Role.ADMIN].id))
            purges.purge(
                *(session, self.core.vault, admin, study_id, datetime.now(UTC)),
                reason=PurgeReason.TEST_DATA,
            )

    def invite(self) -> str:
        """The path of an invitation that nobody has followed."""
        with self.core.sessions() as session:
            _, token = invitations.invite(
                session,
                None,
                name="New Person",
                email="new@example.org",
                role=Role.READER,
                now=datetime.now(UTC),
            )
        return f"/join/{token}"

    def study_of(self, study: str) -> UUID:
        """The study with this id, as text from a link; raises if there is none."""
        with self.core.sessions() as session:
            return session.get_one(Study, UUID(study)).id

    def forget_preferences(self) -> None:
        """Let the viewer be for everybody as at first."""
        with self.core.sessions() as session:
            session.execute(delete(ViewerPreferences))
            session.commit()

    def register_workers(self) -> None:
        """Register a worker for each queue.

        They take nothing by themselves: what waits does so from now on, or an earlier test's job
        would have waited for so long that its queue counts as one without workers.
        """
        with self.core.sessions() as session:
            waits = update(Job).where(Job.state == JobState.QUEUED)
            session.execute(waits.values(queued_at=DatabaseTime()))
            for queue in QUEUES:
                sent = hello_of(queue, f"test {queue}", "phantom 1.0")
                workers.hello(session, sent)

    def render(self, study_id: UUID) -> Picture:
        """Do the study's render job; nothing follows on a picture that a rule keeps."""
        ticket = self._claim(study_id, JobKind.RENDER)
        with self.core.sessions() as session:
            data, _ = files.read_input(session, self.core.vault, ticket, "source")
        picture = reader.read(data)
        following = self._finish(
            ticket,
            {"facts": picture.facts()},
            pixels=picture.canonical(),
            preview=reader.preview(picture),
            thumb=reader.thumb(picture),
        )
        if following is not None:
            with self.core.sessions() as session:
                sweeper.notify(session, self.services.broker, following)
        return picture

    def segment(
        self,
        study_id: UUID,
        picture: Picture,
        air: NDArray[np.bool_],
        probability: float,
        **more: Any,
    ) -> predict.Prediction:
        """Do the study's segment job, as if the network had found exactly this air; `more`: other
        parts of the prediction as they are sent.
        """
        found = predict_air(picture, air, probability)
        outputs = {}
        if found.probability_map is not None and found.mask is not None:
            outputs = {
                "probability": found.probability_map.tobytes(),
                "mask": overlay.mask_png(picture.as_in_source(found.mask)),
            }
        ticket = self._claim(study_id, JobKind.SEGMENT)
        self._finish(ticket, {"prediction": found.facts() | more}, **outputs)
        return found

    def complete(
        self, drawn: phantom.Phantom, *, probability: float = 0.91, **tags: Any
    ) -> tuple[UUID, predict.Prediction]:
        """Upload, render and segment a phantom."""
        study_id = self.submit(phantom.dicom(drawn, **tags))
        picture = self.render(study_id)
        return study_id, self.segment(study_id, picture, drawn.mask, probability)

    def fail(self, study_id: UUID, code: str) -> None:
        """Let the study's render job fail permanently."""
        ticket = self._claim(study_id, JobKind.RENDER)
        self.jobs.fail(ticket, code, "permanent", datetime.now(UTC))

    def _claim(self, study_id: UUID, kind: JobKind) -> tickets.Ticket:
        ticket = self.jobs.claim(self.jobs.queued(study_id, kind).id, datetime.now(UTC))
        assert ticket is not None
        return ticket

    def _finish(
        self, ticket: tickets.Ticket, result: dict[str, Any], **outputs: bytes
    ) -> UUID | None:
        """Finish with a result as it arrives over HTTP: tuples become lists."""
        self.jobs.store(ticket, datetime.now(UTC), **outputs)
        return self.jobs.finish(ticket, json.loads(json.dumps(result)), datetime.now(UTC))


_NAMES = {
    Role.READER: "Rita Reader",
    Role.TECHNOLOGIST: "Theo Technologist",
    Role.ADMIN: "Ada Admin",
    Role.AUDITOR: "Otto Auditor",
}


def predict_air(picture: Picture, air: NDArray[np.bool_], probability: float) -> predict.Prediction:
    """The prediction for a probability map that is this air with soft borders."""
    verdict = gate.check(picture)
    model = {key: str(CARD[key]) for key in ("name", "version", "sha256")}
    if verdict.verdict == "refused":
        return predict.Prediction(model, "balanced", verdict.facts(), 0.1)
    side = max(picture.rows, picture.columns)
    square = np.zeros((side, side), np.float32)
    top, left = (side - picture.rows) // 2, (side - picture.columns) // 2
    square[top : top + picture.rows, left : left + picture.columns] = air
    soft = cv2.GaussianBlur(
        cv2.resize(square, (GRID, GRID), interpolation=cv2.INTER_AREA), (0, 0), 3
    )
    canonical = transforms.canonical(picture.pixels, transforms.canonical_side(GRID))
    fields = _finder().find(canonical)
    seen = serving.PreparedPicture(transforms.place(canonical, GRID), None, fields)
    map_ = seen.map_of(soft * np.float32(0.96))
    conclusion = predict.conclude(picture, CARD, map_, probability, fields)
    uncertain = explain.Uncertainty(0.31, 0.42, True) if probability == UNCERTAIN else None
    return predict.Prediction(
        model,
        "balanced",
        verdict.facts(),
        0.1,
        uncertainty=(uncertain or explain.Uncertainty(0.03, 0.94, False)).facts(),
        region=_region_of(air),
        **conclusion,
    )


def _region_of(air: NDArray[np.bool_]) -> dict[str, Any] | None:
    """The region of patches that covers all of this air."""
    rows, columns = np.flatnonzero(air.any(1)), np.flatnonzero(air.any(0))
    if not len(rows):
        return None
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return explain.Region(box, 0.8).facts()


@functools.cache
def _finder() -> lung_finder.Finder:
    return lung_finder.Finder(threads=1)


@contextmanager
def open_browser_portal(
    folder: Path, redis_url: str, listener: socket.socket | None = None, **environ: str
) -> Iterator[BrowserPortal]:
    """A served portal for the duration of the block: on a listening socket, or on a free port."""
    # The drawn exams are of one day, which is long ago.
    given = {"REDIS_URL": redis_url, "PLEURA_OLD_EXAM_HOURS": "1000000"} | environ
    app = make_app(make_settings(folder, **given))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    descriptor = listener.fileno() if listener is not None else None
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=descriptor)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield BrowserPortal(app, f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join()

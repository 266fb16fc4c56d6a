"""Portals that differ in nothing but what became of one exam, and all that they answer a person."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts import sessions
from portal.formats import mask_png
from portal.intake import submission
from portal.intake.stated import Stated
from portal.models import AiShown, BlobKind, Job, JobKind, Role, Team, TeamChoices, User, db
from portal.web.present.list_filters import OPTIONS
from tests.support.core import NOW, Clock, make_settings
from tests.support.jobs import REFUSED, Jobs
from tests.support.people import Person
from tests.support.pictures import picture
from tests.support.portal_app import (
    PREDICTION,
    SEGMENTED,
    HttpWorker,
    core_of,
    csrf_of,
    job_of,
    make_app,
    make_token,
    sign_in,
)

Staffed = tuple[Path, dict[Role, Person]]
# What became of the exam in the middle; the others are the same in all portals.
OUTCOMES: dict[str, dict[str, Any] | None] = {
    "likely": {},
    "possible": {"band": "possible", "probability": 0.4},
    "none_found": {
        "band": "none_found",
        "probability": 0.03,
        "measurements": {"area_px": 0, "side": None},
    },
    "refused": None,
    "failed": None,
    "waiting": None,
}
# Nothing about an exam: the site's files, signing in, other people's work.
NO_EXAM = re.compile(
    r"static|auth\.|sso\.|account\.|passkeys\.|health\.|openapi|admin|teams|models"
)
# Filters that show most; of all others each run takes a share.
ALWAYS = {"result=positive", "side=right", "state=to_read", "state=all"}
STREAMS = {"list_events.events"}  # never ends; test_list_events and lists/test_feed read it


@dataclass
class Hospital:
    """A portal with three exams of one patient, the middle one analysed as `outcome` names."""

    app: Flask
    staff: dict[Role, Person]
    exams: list[UUID] = field(default_factory=list)
    is_asked: Callable[[str], bool] = lambda _: True  # which filters of lists

    @property
    def middle(self) -> UUID:
        return self.exams[1]


def open_hospital(
    staffed: Staffed, folder: Path, outcome: str, policy: AiShown = AiShown.WITH_PICTURE
) -> Hospital:
    clock = Clock(NOW)
    shutil.copytree(staffed[0], folder, dirs_exist_ok=True)
    app = make_app(make_settings(folder), clock)
    found = Hospital(app, staffed[1])
    with app.app_context():
        session = db.session()
        team = session.query(Team).filter_by(name="Radiology").one()
        session.add(TeamChoices(team_id=team.id, ai_shown=policy))
        session.commit()
    for number in range(3):
        found.exams.append(_send(found, number))
        clock.forward(minutes=1)
    worker = HttpWorker(app)
    for study in found.exams:
        worker.do(job_of(app, study))
    worker.do(job_of(app, found.exams[0], JobKind.SEGMENT), **OUTCOMES["none_found"] or {})
    analysed = job_of(app, found.middle, JobKind.SEGMENT)
    if outcome == "failed":
        jobs = Jobs(core_of(app))
        jobs.time = None
        ticket = jobs.claim(analysed, clock())
        assert ticket is not None
        jobs.fail(ticket, "engine_failed", "permanent", clock())
    elif outcome == "refused":
        claimed = worker.claim(analysed).get_json()
        result = {"prediction": PREDICTION | REFUSED}
        assert worker.finish(analysed, claimed["ticket"], result).status_code == 204
    elif outcome != "waiting":
        changes = OUTCOMES[outcome] or {}
        claimed = worker.claim(analysed).get_json()
        drawn = [] if outcome == "none_found" else [(1000, 1900)]
        outputs = SEGMENTED | {"mask": mask_png.write(drawn, 640, 512)}
        worker.store(analysed, claimed["ticket"], outputs)
        result = {"prediction": PREDICTION | changes}
        assert worker.finish(analysed, claimed["ticket"], result).status_code == 204
    return found


def _send(hospital: Hospital, number: int) -> UUID:
    core, now = core_of(hospital.app), hospital.app.extensions["pleura"].clock()
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, hospital.staff[Role.TECHNOLOGIST].id))
        said = Stated(patient_id="P-1", patient_name="CANARY^ZEBRA", exam_date="2026-03-04")
        sent = submission.submit(
            session, core.vault, actor, "a.png", picture(number), now, stated=said
        )
        return sent.study_id


def asked_by_browser(hospital: Hospital) -> Iterator[str]:
    """Every address that a person can ask for by GET, of every exam, and the run's filters."""
    exams, adapter = hospital.exams, hospital.app.url_map.bind("localhost")
    for rule in sorted(hospital.app.url_map.iter_rules(), key=lambda rule: rule.rule):
        unasked = rule.endpoint in STREAMS or NO_EXAM.match(rule.endpoint)
        if "GET" not in (rule.methods or ()) or unasked or rule.endpoint.startswith("api."):
            continue
        given: list[dict[str, Any]] = [{}]
        for name in sorted(rule.arguments):
            values: list[Any] = [UUID(int=7)]
            if name == "study_id":
                values = list(exams)
            elif name == "kind":
                values = [kind.value for kind in BlobKind]
            given = [one | {name: value} for one in given for value in values]
        for one in given:
            yield adapter.build(rule.endpoint, one)
    listed = ",".join(map(str, exams))
    yield f"/worklist/state?ids={listed}&known=0.0"
    paths = ("/worklist?", "/worklist?state=all&", f"/studies/{exams[2]}/next?")
    for name, options in OPTIONS.items():
        for value, _ in options:
            chosen = f"{name}={value}"
            for number, path in enumerate(paths):
                if chosen in ALWAYS or hospital.is_asked(f"{number} {chosen}"):
                    yield path + chosen
    for query in ("P-1", "zebra"):
        yield f"/worklist?q={query}"
    for what in ("sent", "read"):
        yield f"/history?what={what}"


def asked_by_program(exams: list[UUID]) -> Iterator[str]:
    yield "/api/v1/studies"
    for result in ("positive", "likely", "possible", "none_found", "no_result"):
        yield f"/api/v1/studies?result={result}"
    for state in ("to_read", "read", "ready", "analysing", "done", "no_result", "failed"):
        yield f"/api/v1/studies?state={state}"
    for side in ("right", "left", "both"):
        yield f"/api/v1/studies?side={side}"
    yield "/api/v1/studies?per_page=1&page=2"
    for study in exams:
        for part in ("", "/mask.png", "/overlay.png"):
            yield f"/api/v1/studies/{study}{part}"


Answer = tuple[str, int, dict[str, str], str]


def told(
    hospital: Hospital,
    by: Person | None = None,
    *,
    reads: bool = True,
    may_have_token: bool = True,
) -> list[Answer]:
    """All that the portal answers this person, a reader by default."""
    app, person = hospital.app, by or hospital.staff[Role.READER]
    client = sign_in(app, person)
    for path in ("/worklist", *(f"/studies/{study}" for study in hospital.exams)):
        client.get(path)  # so that nothing is shown for the first time
    plain = plain_of(hospital)
    found = [plain(path, client.get(path)) for path in asked_by_browser(hospital)]
    if may_have_token:
        key = {"Authorization": f"Bearer {make_token(app, person, 'studies:read')}"}
        found += [
            plain(path, client.get(path, headers=key)) for path in asked_by_program(hospital.exams)
        ]
    if reads:
        found += [plain(path, answer) for path, answer in _done_by(client, hospital)]
    return found


def _done_by(client: FlaskClient, hospital: Hospital) -> Iterator[tuple[str, TestResponse]]:
    """What a reader does before a verdict, and the verdicts that are refused."""
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    adapter = hospital.app.url_map.bind("localhost")
    for rule in sorted(hospital.app.url_map.iter_rules(), key=lambda rule: rule.rule):
        is_of_exam = "study_id" in rule.arguments and not rule.endpoint.startswith("api.")
        if "POST" in (rule.methods or ()) and is_of_exam:
            filled = dict.fromkeys(rule.arguments, UUID(int=7))
            for study in hospital.exams:
                path = adapter.build(rule.endpoint, filled | {"study_id": study}, "POST")
                yield path, client.post(path, headers=headers)
    for study in hospital.exams:
        with hospital.app.app_context():
            job = db.session.query(Job).filter_by(study_id=study, kind=JobKind.RENDER).one()
        base, named = f"/studies/{study}", {"picture": str(job.instance_id)}
        steps: list[tuple[str, dict[str, Any]]] = [
            ("/claim", {"json": {}}),
            ("/outline/begin", {"json": named}),
            ("/export", {"data": {"looked": "yes"}}),
            ("/patient", {"data": {"other": ""}}),
            ("/reviews", {"json": {"finding": "nonsense"}}),
            ("/reviews", {"json": {"finding": "none", "seen": "done"}}),
            ("/reviews", {"json": {"finding": "none", "reason": "missed"}}),
            ("/reviews", {"json": {"finding": "right", "reason": "outline_too_small"}}),
            ("/reviews", {"json": {"finding": "none", "reason": "false_alarm"}}),
        ]
        for path, given in steps:
            yield base + path + str(given), client.post(base + path, headers=headers, **given)


_UNIQUE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), "HEX"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "REQUEST"),
    (re.compile(r"[\w-]{40,}\.[\w-]{6}\.[\w-]{27}"), "TOKEN"),
    (re.compile(r"~[\w.~%-]{80,}"), "SEALED"),
    (re.compile(r"session=[^;]+"), "session"),
)


def plain_of(hospital: Hospital) -> Callable[[str, TestResponse], Answer]:
    """An answer without what is another in each portal whatever was found: ids and tokens."""

    def text(one: str) -> str:
        # Which exam it is stays: the order of lists and the next case are compared as well.
        for number, study in enumerate(hospital.exams):
            for written in (str(study), study.hex, study.hex[:6].upper()):
                one = one.replace(written, f"EXAM-{number}")
        for pattern, name in _UNIQUE:
            one = pattern.sub(name, one)
        return one

    def plain(path: str, answer: TestResponse) -> Answer:
        body = answer.data
        size = len(body)
        if answer.content_type == "application/zip":
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                parts = {name: archive.read(name).decode("latin-1") for name in archive.namelist()}
            body = json.dumps(parts).encode()
        headers = {name: text(value) for name, value in answer.headers.items()}
        shown = text(body.decode("latin-1"))
        if answer.is_json:  # its keys may be ids, and stand in their order
            shown = json.dumps(json.loads(shown), indent=1, sort_keys=True)
        return text(path), answer.status_code, headers | {"bytes": str(size)}, shown

    return plain


def assert_same(one: list[Answer], other: list[Answer]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        path, status, headers, body = left
        assert right[:2] == (path, status)
        assert headers == right[2], path
        lines, others = body.splitlines(), right[3].splitlines()
        assert [pair for pair in zip(lines, others, strict=False) if pair[0] != pair[1]] == [], path
        assert body == right[3], path


Opened = Callable[..., Hospital]

"""Answers for probes: is the process alive, and can it do its work?"""

from typing import Final

from flask import Blueprint, Response, json

from portal import database
from portal.governance import clock, integrity_state, scheduler_signs
from portal.jobs import overview
from portal.models import db
from portal.services import UNAVAILABLE, db_session
from portal.web.security import guard

_CHECKS: Final = (
    *("database", "schema", "redis", "clock", "scheduler"),
    *("dicom", "dicom_sender", "hl7", "report_sender", "jobs", "integrity"),
)
blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
@guard.public
def live() -> Response:
    """The process answers; nothing else is looked at."""
    return _answer({"status": "ok"}, 200)


@blueprint.get("/ready")
@guard.public
def ready() -> Response:
    """Database and schema must be there. Without Redis work goes on, slower: `degraded`.

    So it is where the scheduler is `silent`, which does not sweep or link the log for a minute or
    has never run; where DICOM nodes may send, or get objects, or HL7 nodes may send, and the
    listener or the sender is `silent` likewise; where jobs are
    `stalled`: they wait although a worker could take them, or `waiting_for_model`: for a worker
    that has the model, which none has; where the last check of stored data is `old` or has found
    something `damaged`, or can find nothing, as PostgreSQL keeps no checksums of its pages
    (`unchecked`); and where the clock is `ahead` or `behind`, by which times of the portal are then
    not judged, or `unreadable`: the log that it is compared with can't be read.
    """
    checks = dict.fromkeys(_CHECKS, "ok")
    try:
        if not database.schema_is_current(db.engine):
            checks["schema"] = "old"
    except UNAVAILABLE:
        checks["database"] = checks["schema"] = "away"
    if checks["database"] == checks["schema"] == "ok":
        _look_into(checks)
    if not guard.services().redis_answers():
        checks["redis"] = "away"
    able = checks["database"] == checks["schema"] == "ok"
    well = all(check == "ok" for check in checks.values())
    status = "ok" if well else "degraded" if able else "failing"
    return _answer({"status": status, "checks": checks}, 200 if able else 503)


def _look_into(checks: dict[str, str]) -> None:
    try:
        if scheduler_signs.silent(db_session()):
            checks["scheduler"] = "silent"
        if scheduler_signs.dicom_is_silent(db_session()):
            checks["dicom"] = "silent"
        if scheduler_signs.sender_is_silent(db_session()):
            checks["dicom_sender"] = "silent"
        if scheduler_signs.hl7_is_silent(db_session()):
            checks["hl7"] = "silent"
        if scheduler_signs.report_sender_is_silent(db_session()):
            checks["report_sender"] = "silent"
        checks["clock"] = clock.look(db_session(), guard.now()).state
        checked = integrity_state.last(db_session())
        if checked is not None and (checked.problems or checks["clock"] == "ok"):
            checks["integrity"] = checked.state(guard.now())
        if checks["clock"] == "unreadable":
            checks["integrity"] = "damaged"
        if checks["integrity"] == "ok" and not database.checks_its_pages(db.engine):
            checks["integrity"] = "unchecked"
        if checks["clock"] == "ok":
            checks["jobs"] = overview.trouble(db_session()) or "ok"
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        checks["integrity"] = "damaged"
        db_session().rollback()


def _answer(body: dict[str, object], status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")

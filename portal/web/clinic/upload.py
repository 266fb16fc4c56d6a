"""Upload from the browser: one file or ZIP a request by script, several by the form."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from werkzeug.datastructures import FileStorage

from portal import errors
from portal.access import Permission
from portal.formats.refusals import refuse
from portal.intake import submission, zip_submission
from portal.intake.check import Refused
from portal.languages import _, lazy
from portal.reading import refused_files
from portal.reading.lists import history
from portal.reading.worklist import TOTAL_MOST
from portal.services import DATABASE_ERROR, DISK_FULL, UNAVAILABLE, db_session
from portal.studies import status
from portal.web.present import list_rows, wording
from portal.web.receive_file import old_exam_hours, receive
from portal.web.security import guard
from portal.web.security.errors import Problem, wants_problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("upload", __name__)

_Refusal = refused_files.Refusal
# How long the page lists what a person has sent: a shift, and the handover after it.
_RECENT: Final = timedelta(hours=24)
_NO_ROOM: Final = lazy("The disk is full. Nothing of the file was stored.")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file, for the page without script."""

    filename: str
    text: str
    tone: str
    href: str = ""


@blueprint.get("/upload")
@guard.permission(Permission.STUDY_SUBMIT)
def upload() -> str:
    """The upload page."""
    return _page([])


@blueprint.post("/studies")
@guard.permission(Permission.STUDY_SUBMIT, upload=True)
def submit() -> tuple[Response | str, int]:
    """Accept files. Scripts send one and read JSON; the form gets a page with a line for each.

    For a ZIP the answer's `files` has an entry for each file in it.
    """
    # A form without a choice sends one empty file without a name; one with content is answered.
    files = [file for file in request.files.getlist("file") if file.filename or file.read(1)]
    for file in files:
        file.seek(0)
    if not wants_problem():
        outcomes = [outcome for file in files for outcome in _outcomes(file)]
        return (_page(outcomes), 200) if files else (_page([]), 422)
    if len(files) != 1:
        raise Problem(422, "one_file", _("Send exactly one file in the field `file`."))
    try:
        received = receive(files[0], request.form)
    except (Refused, errors.Conflict) as refused:
        _note(_Refusal(files[0].filename or "", refused.message))
        raise
    except DISK_FULL:
        _note(_Refusal(files[0].filename or "", str(_NO_ROOM)))
        raise
    if isinstance(received, submission.Submitted):
        return jsonify(_as_json(received)), 202
    _note(*_refused_in(files[0].filename or "", received))
    return jsonify(files=[_file_as_json(arrival) for arrival in received]), 202


@blueprint.post("/upload/turned-away")
@guard.permission(Permission.STUDY_SUBMIT)
def turned_away() -> Response:
    """A file was refused before the portal read its name: listed like other refusals.

    For its size, by the page or by what is in front of the portal, or because of the quota.
    """
    sent = json_or_none() if request.is_json else None
    known = sent if isinstance(sent, dict) else {}
    name, why = known.get("name"), known.get("why")
    if not isinstance(name, str) or not name or why not in ("too_large", "quota"):
        raise Problem(422, "bad_name", _("Send an object with the file's name, and why."))
    if why == "quota":
        reason = refuse("quota", when=_("later"))
    else:
        settings = guard.services().settings
        is_archive = known.get("archive") is True
        most = settings.max_archive_mb if is_archive else settings.max_upload_mb
        reason = refuse("too_large", megabytes=most)
    _note(_Refusal(name, reason.message))
    return Response(status=204)


def _note(*refused: refused_files.Refusal) -> None:
    """List them after a reload. Without that the answer is the same: files may be stored by now."""
    session = db_session()
    try:
        refused_files.note(session, guard.services().vault, guard.actor(), refused, guard.now())
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        current_app.logger.error("refusal not noted", exc_info=error)
        try:
            session.rollback()
        except UNAVAILABLE:
            session.invalidate()


def _refused_in(
    archive: str, arrivals: list[zip_submission.Arrival]
) -> list[refused_files.Refusal]:
    return [
        _Refusal(f"{archive} / {one.name}", one.message)
        for one in arrivals
        if one.outcome == "refused"
    ]


def _outcomes(file: FileStorage) -> list[Outcome]:
    name = file.filename or _("A file without a name")
    try:
        received = receive(file, request.form)
    except (Refused, errors.Conflict) as refused:
        _note(_Refusal(name, refused.message))
        return [Outcome(name, refused.message, "danger")]
    except DISK_FULL:
        _note(_Refusal(name, str(_NO_ROOM)))
        raise
    if isinstance(received, submission.Submitted):
        return [_outcome(name, received)]
    _note(*_refused_in(name, received))
    return [_of_arrival(name, arrival) for arrival in received]


def _outcome(name: str, submitted: submission.Submitted) -> Outcome:
    whose = f", {submitted.patient_name}" if submitted.patient_name else ""
    case, tone = submitted.case_number + whose, "ok"
    if submitted.duplicate:
        message = _("Case %(case)s: already known", case=case)
    else:
        message = _("Case %(case)s: received", case=case)
    remark = _remark(submitted)
    if remark:
        message, tone = f"{message}. {remark}", "warn"
    return Outcome(name, message, tone, f"/studies/{submitted.study_id}")


def _remark(submitted: submission.Submitted) -> str:
    """What the sender should know about an accepted file."""
    own = [str(wording.FILE_REMARKS[code]) for code in submitted.remarks]
    return " ".join([str(wording.SAME_UID), *own] if submitted.same_uid else own)


def _of_arrival(archive: str, arrival: zip_submission.Arrival) -> Outcome:
    name = f"{archive} / {arrival.name}"
    if arrival.submitted is not None:
        return _outcome(name, arrival.submitted)
    if arrival.outcome == "skipped":
        return Outcome(name, _("Skipped: not a picture"), "")
    return Outcome(name, arrival.message, "danger")


def _as_json(submitted: submission.Submitted) -> dict[str, object]:
    return {
        "id": str(submitted.study_id),
        "url": f"/studies/{submitted.study_id}",
        "case": submitted.case_number,
        "patient": submitted.patient_name,
        "duplicate": submitted.duplicate,
        "remark": _remark(submitted) or None,
        "state": None if submitted.duplicate else status.State.RECEIVED.value,
    }


def _file_as_json(arrival: zip_submission.Arrival) -> dict[str, object]:
    of_the_case = _as_json(arrival.submitted) if arrival.submitted is not None else {}
    why = {"code": arrival.code or None, "detail": arrival.message or None}
    return {"name": arrival.name, "outcome": arrival.outcome, **why, **of_the_case}


def _page(outcomes: list[Outcome]) -> str:
    settings = guard.services().settings
    found = history.history(
        db_session(),
        guard.services().vault,
        guard.actor(),
        what="sent",
        since=guard.now() - _RECENT,
        now=guard.now(),
    )
    guard.services().shown.add(guard.actor().session_id, [row.study_id for row in found.rows])
    now_shown = sum(outcome.tone == "danger" for outcome in outcomes)
    refused = refused_files.of_session(
        db_session(), guard.services().vault, guard.actor(), guard.now(), skip=now_shown
    )
    return render_template(
        "upload/upload.html",
        recent=[(list_rows.row(row), row.patient.filename) for row in found.rows],
        recent_total=found.total,
        is_counted=found.total <= TOTAL_MOST,
        refused=refused,
        outcomes=outcomes,
        max_bytes=settings.max_upload_bytes,
        max_mb=settings.max_upload_mb,
        max_archive_bytes=settings.max_archive_bytes,
        max_archive_mb=settings.max_archive_mb,
        old_hours=old_exam_hours(),
    )

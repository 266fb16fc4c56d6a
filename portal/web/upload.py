"""Sending X-rays in from the browser: by script one file a request, by the plain form several."""

from dataclasses import dataclass

from flask import Blueprint, Response, jsonify, render_template, request
from werkzeug.datastructures import FileStorage

from portal import jobs, records
from portal.access import Permission
from portal.intake import Limits, Refused
from portal.parts import rows
from portal.web import guard
from portal.web.errors import Problem, wants_problem

blueprint = Blueprint("upload", __name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one file, for the page without script."""

    filename: str
    text: str
    tone: str
    href: str = ""


@blueprint.get("/upload")
@guard.permission(Permission.STUDY_SUBMIT)
def upload() -> str:
    """The page with the place to drop files."""
    return _page([])


@blueprint.post("/studies")
@guard.permission(Permission.STUDY_SUBMIT, upload=True)
def submit() -> tuple[Response | str, int]:
    """Take files in. Scripts send one and read JSON; the form gets a page with a line for each."""
    files = [file for file in request.files.getlist("file") if file.filename]
    if not wants_problem():
        return (_page([_outcome(file) for file in files]), 200) if files else (_page([]), 422)
    if len(files) != 1:
        raise Problem(422, "one_file", "Send exactly one file in the field `file`.")
    submitted = _submit(files[0])
    return (
        jsonify(
            id=str(submitted.study_id),
            url=f"/studies/{submitted.study_id}",
            case=submitted.case_number,
            duplicate=submitted.duplicate,
            state=None if submitted.duplicate else records.State.RECEIVED.value,
        ),
        202,
    )


def _submit(file: FileStorage) -> records.Submitted:
    parts = guard.parts()
    submitted = records.submit(
        rows(),
        parts.vault,
        guard.actor(),
        file.filename or "",
        file.read(),
        guard.now(),
        limits=Limits(parts.settings.max_upload_bytes),
    )
    if submitted.job_id is not None:
        jobs.ring(rows(), parts.bell, submitted.job_id, guard.now())
    return submitted


def _outcome(file: FileStorage) -> Outcome:
    name = file.filename or ""
    try:
        submitted = _submit(file)
    except (Refused, records.Conflict) as refused:
        return Outcome(name, refused.message, "danger")
    text = "known already" if submitted.duplicate else "received"
    return Outcome(
        name, f"Case {submitted.case_number}: {text}", "ok", f"/studies/{submitted.study_id}"
    )


def _page(outcomes: list[Outcome]) -> str:
    settings = guard.parts().settings
    return render_template(
        "upload/upload.html",
        outcomes=outcomes,
        max_bytes=settings.max_upload_bytes,
        max_mb=settings.max_upload_mb,
    )

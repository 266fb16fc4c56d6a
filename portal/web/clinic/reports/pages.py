"""Reports of a case: asked for, waited for, downloaded as PDF and as DICOM objects."""

from uuid import UUID

from flask import Blueprint, Response, jsonify, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.jobs import sweeper
from portal.reports import made, objects, requests
from portal.services import db_session
from portal.web.present.reports import lines as report_lines
from portal.web.present.reports import objects as object_text
from portal.web.present.reports import text as report_text
from portal.web.security import guard
from portal.web.security.errors import wants_problem

blueprint = Blueprint("report", __name__, url_prefix="/studies/<uuid:study_id>/reports")


@blueprint.get("")
@guard.permission(Permission.STUDY_EXPORT)
def page(study_id: UUID) -> str:
    """The reports of a case, for the case page's script and for browsers without one."""
    listed = made.listed(db_session(), guard.actor(), study_id)
    return render_template("case/reports.html", reports=report_lines.panel(listed))


@blueprint.post("")
@guard.permission(Permission.STUDY_EXPORT)
def make(study_id: UUID) -> Response | BaseResponse:
    """Ask for a report of the case as it is."""
    guard.count_export()
    asked = requests.request(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        report_text.compose,
        guard.now(),
    )
    if asked.job_id is not None:
        sweeper.notify(db_session(), guard.services().broker, asked.job_id)
    if wants_problem():
        return jsonify(report=asked.report.id.hex)
    return redirect(url_for(".page", study_id=study_id), 303)


def make_signed(study_id: UUID) -> None:
    """Ask for the report of a case that this person has just signed."""
    job_id = requests.request_signed(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        report_text.compose,
        guard.now(),
    )
    if job_id is not None:
        sweeper.notify(db_session(), guard.services().broker, job_id)


@blueprint.get("/state")
@guard.permission(Permission.STUDY_EXPORT, background=True)
def state(study_id: UUID) -> Response:
    """Which reports there are, and whether they are made."""
    return jsonify(made.states(db_session(), guard.actor(), study_id))


@blueprint.get("/<uuid:report_id>")
@guard.permission(Permission.STUDY_EXPORT)
def pdf(study_id: UUID, report_id: UUID) -> Response:
    """One report's PDF, named by case and number: nothing of the patient."""
    guard.count_export()
    found = made.read(
        db_session(), guard.services().vault, guard.actor(), study_id, report_id, guard.now()
    )
    return Response(
        found.data,
        content_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{found.name}"'},
    )


@blueprint.post("/<uuid:report_id>/dicom")
@guard.permission(Permission.STUDY_EXPORT)
def make_objects(study_id: UUID, report_id: UUID) -> Response | BaseResponse:
    """Ask for the DICOM objects of a report."""
    guard.count_export()
    job_ids = objects.request(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        report_id,
        object_text.compose,
        guard.now(),
    )
    for job_id in job_ids:
        sweeper.notify(db_session(), guard.services().broker, job_id)
    if wants_problem():
        return jsonify(report=report_id.hex)
    return redirect(url_for(".page", study_id=study_id), 303)


@blueprint.get("/<uuid:report_id>/dicom")
@guard.permission(Permission.STUDY_EXPORT)
def dicom(study_id: UUID, report_id: UUID) -> Response:
    """The DICOM objects of a report as a ZIP, named by case and number: nothing of the patient."""
    guard.count_export()
    found = objects.read(
        db_session(), guard.services().vault, guard.actor(), study_id, report_id, guard.now()
    )
    return Response(
        found.data,
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{found.name}"'},
    )

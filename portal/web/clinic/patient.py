"""A case's patient: merging with another patient ID that turns out to be the same person's."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict, Invalid
from portal.governance import patient_merges
from portal.languages import _
from portal.services import db_session
from portal.web.present import wording
from portal.web.security import guard

blueprint = Blueprint("patient", __name__, url_prefix="/studies/<uuid:study_id>/patient")


@blueprint.get("")
@guard.permission(Permission.REVIEW_WRITE)
def page(study_id: UUID) -> str:
    """Whose the case is, and the merges that hold."""
    return _page(study_id)


@blueprint.post("")
@guard.permission(Permission.REVIEW_WRITE)
def compare(study_id: UUID) -> tuple[str, int]:
    """The same beside the patient of another case, named by its number: nothing is changed."""
    try:
        return _page(study_id, other=request.form.get("other", "")[:64]), 200
    except Conflict as conflict:
        return _page(study_id, error=conflict.message), 409


@blueprint.post("/merge")
@guard.permission(Permission.REVIEW_WRITE)
def merge(study_id: UUID) -> BaseResponse | tuple[str, int]:
    """Merge the two patients."""
    try:
        other = UUID(request.form.get("other_id", ""))
    except ValueError:
        return _page(study_id, error=_("Name the other case first.")), 422
    reason = request.form.get("reason", "")
    try:
        patient_merges.merge(db_session(), guard.actor(), study_id, other, reason, guard.now())
    except (Conflict, Invalid) as refused:
        db_session().rollback()
        status = 422 if isinstance(refused, Invalid) else 409
        return _page(study_id, error=refused.message), status
    flash(_("Merged: their exams are listed with each other now."), "ok")
    return redirect(url_for(".page", study_id=study_id), 303)


@blueprint.post("/merges/<uuid:merge_id>/undo")
@guard.permission(Permission.REVIEW_WRITE)
def undo(study_id: UUID, merge_id: UUID) -> BaseResponse | tuple[str, int]:
    """Undo a merge."""
    try:
        patient_merges.undo(db_session(), guard.actor(), merge_id, guard.now())
    except Conflict as conflict:
        db_session().rollback()
        return _page(study_id, error=conflict.message), 409
    flash(_("Undone: the patients are apart again."), "ok")
    return redirect(url_for(".page", study_id=study_id), 303)


def _page(study_id: UUID, *, other: str = "", error: str = "") -> str:
    found = patient_merges.view(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        guard.now(),
        other=other,
    )
    return render_template(
        "case/patient.html",
        found=found,
        error=error,
        reasons=list(wording.MERGE_REASONS.items()),
        reason_texts=wording.MERGE_REASONS,
        sex=wording.sex,
    )

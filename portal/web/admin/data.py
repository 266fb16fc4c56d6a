"""Data governance for administrators: purges with proof, legal holds, retention.

No page here shows anything about a patient: a case is known by its number or id.
"""

import json
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal import errors
from portal.access import Permission
from portal.governance import clock, legal_holds, purges, retention
from portal.languages import _, lazy
from portal.models import HoldReason, PurgeReason
from portal.services import db_session
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("data", __name__, url_prefix="/admin/data")

_PAGE = "data.page"
_change = guard.permission(Permission.DATA_MANAGE, step_up=_PAGE)
PURGE_REASONS = {
    "patient_request": lazy("Patient request"),
    "sent_by_mistake": lazy("Uploaded by mistake"),
    "wrong_patient": lazy("Filed under the wrong patient"),
    "test_data": lazy("Test data"),
    "retention_ended": lazy("Retention time ended"),
    "other": lazy("Other"),
}
HOLD_REASONS = {
    "legal_dispute": lazy("Legal dispute"),
    "incident": lazy("Incident under investigation"),
    "authority": lazy("Requested by an authority"),
    "other": lazy("Other"),
}
# What no purge can promise, by the codes of a proof.
NOT_COVERED = {
    "row_versions": lazy("old row versions in the database"),
    "pages_in_use": lazy("old row versions in pages that another connection was reading just then"),
    "freed_page_space": lazy("bytes of freed rows, until the database writes over them"),
    "write_ahead_log": lazy("the database server’s write-ahead log and its archives"),
    "replicas": lazy("copies of the database on other servers"),
    "freed_disk_blocks": lazy("freed blocks of the disk, until it writes over them"),
    "backups": lazy("backups made before"),
}
_KINDS = {
    "reviewed": lazy("Reviewed, counted from the last review"),
    "unreviewed": lazy("Not reviewed, counted from arrival"),
    "no_result": lazy("No AI result and not reviewed, counted from arrival"),
}


@blueprint.get("")
@guard.permission(Permission.DATA_MANAGE)
def page() -> str:
    """Find a case; the holds in force, the times of retention, the newest purges."""
    return _page()


@blueprint.post("/clock")
@_change
def confirm_clock() -> BaseResponse | tuple[str, int]:
    """Confirm that the clock is right after it has jumped."""
    try:
        clock.confirm(db_session(), guard.actor(), guard.now())
    except errors.Conflict as conflict:
        return _page(error=conflict.message), 422
    flash(_("The clock is confirmed. What was paused goes on."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:study_id>/purge")
@_change
def purge(study_id: UUID) -> BaseResponse | tuple[str, int]:
    """Destroy a case, once its number was typed again; on to the proof."""
    reason = request.form.get("reason", "")
    if reason not in set(PurgeReason):
        return _refused(study_id, _("Choose a reason."))
    if request.form.get("number", "").strip().upper() != study_id.hex[:6].upper():
        return _refused(study_id, _("Type the case number to confirm. Nothing was purged."))
    try:
        done = purges.purge(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            guard.now(),
            reason=PurgeReason(reason),
            reference=request.form.get("reference", ""),
        )
    except errors.Conflict as conflict:
        return _refused(study_id, conflict.message)
    if done is None:
        return _done(study_id, purges.PROOF_FOLLOWS)
    return redirect(url_for("data.proof", study_id=study_id), 303)


@blueprint.post("/<uuid:study_id>/hold")
@_change
def hold(study_id: UUID) -> BaseResponse | tuple[str, int]:
    """Put a case under a legal hold."""
    reason = request.form.get("reason", "")
    if reason not in set(HoldReason):
        return _refused(study_id, _("Choose a reason."))
    try:
        legal_holds.hold(
            db_session(),
            guard.actor(),
            study_id,
            reason=HoldReason(reason),
            reference=request.form.get("reference", ""),
            now=guard.now(),
        )
    except errors.Conflict as conflict:
        return _refused(study_id, conflict.message)
    return _done(
        study_id, _("The case is on legal hold: it is not purged until the hold is lifted.")
    )


@blueprint.post("/<uuid:study_id>/lift")
@_change
def lift(study_id: UUID) -> BaseResponse | tuple[str, int]:
    """Lift a case's legal hold."""
    try:
        legal_holds.lift(
            db_session(),
            guard.actor(),
            study_id,
            reference=request.form.get("reference", ""),
            now=guard.now(),
        )
    except errors.Conflict as conflict:
        return _refused(study_id, conflict.message)
    return _done(study_id, _("The legal hold is lifted."))


@blueprint.get("/<uuid:study_id>/proof")
@guard.permission(Permission.DATA_MANAGE)
def proof(study_id: UUID) -> str:
    """What was destroyed, and a look at what is left now."""
    found = purges.proof_of(db_session(), guard.actor(), study_id)
    if found is None:
        raise Problem(404, "not_found")
    record = json.loads(found.proof)
    return render_template(
        "admin/proof.html",
        proof=found,
        record=record,
        size=sum(file["bytes"] for file in record["destroyed"]["files"]),
        genuine=purges.is_genuine(db_session(), found),
        remains=purges.residual_data(db_session(), guard.services().vault, study_id),
        reasons=PURGE_REASONS,
        not_covered=NOT_COVERED,
    )


@blueprint.get("/<uuid:study_id>/proof.json")
@guard.permission(Permission.DATA_MANAGE)
def proof_file(study_id: UUID) -> Response:
    """The proof exactly as its digest covers it."""
    found = purges.proof_of(db_session(), guard.actor(), study_id)
    if found is None:
        raise Problem(404, "not_found")
    name = f"purge-{found.case_number}.json"
    return Response(
        found.proof,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page(asked: str = "", error: str = "") -> str:
    asked = asked or request.args.get("case", "").strip()[:64]
    settings = guard.services().settings
    upcoming, upcoming_total = retention.announced(db_session(), guard.actor())
    return render_template(
        "admin/data.html",
        asked=asked,
        error=error,
        cases=legal_holds.find_cases(db_session(), guard.actor(), asked) if asked else [],
        holds=legal_holds.holds(db_session(), guard.actor()),
        proofs=purges.proofs(db_session(), guard.actor()),
        retention=[(_KINDS[kind], days) for kind, days in retention.days_of(settings).items()],
        upcoming=upcoming,
        upcoming_total=upcoming_total,
        kinds=_KINDS,
        clock=clock.look(db_session(), guard.now()),
        most_purged=retention.MOST_PURGED,
        held_back=retention.held_back(db_session(), settings, guard.now()),
        purge_reasons=[("", _("Choose a reason")), *list(PURGE_REASONS.items())],
        hold_reasons=[("", _("Choose a reason")), *list(HOLD_REASONS.items())],
        reason_texts={**HOLD_REASONS, **PURGE_REASONS},
        fresh=guard.is_fresh(),
    )


def _done(study_id: UUID, message: str) -> BaseResponse:
    flash(str(message), "ok")
    return redirect(url_for(_PAGE, case=study_id), 303)


def _refused(study_id: UUID, message: str) -> tuple[str, int]:
    return _page(str(study_id), message), 422

"""The case page: one study opened, its live state, its pictures, the reviews."""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    flash,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict, Invalid
from portal.hl7 import case_view as hospital_case
from portal.jobs import analysis, sweeper
from portal.languages import _
from portal.models import AiShown, BlobKind
from portal.reading import reviews, signing, viewer_preferences, worklist
from portal.reading.case import open_study, read_blob, study_state
from portal.reading.case_records import ReviewView, StudyView
from portal.reading.lists import claims
from portal.reading.second_reads import waiting
from portal.reading.signatures.seen import open_signed
from portal.reading.viewing import drafts, screen_checks
from portal.reports import made
from portal.services import db_session
from portal.studies import exams
from portal.studies.status import StudyState
from portal.studies.worklist_filters import SECOND_READ
from portal.web.clinic.informing import critical
from portal.web.clinic.links import retrieval
from portal.web.present import case_view, list_filters, review_view, sign_view
from portal.web.present.informing import critical_view, hospital_view
from portal.web.present.informing.hospital_view import HospitalPanel
from portal.web.present.reports import lines as report_lines
from portal.web.security import guard, screen_cookie
from portal.web.security.errors import Problem, wants_problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("reading", __name__, url_prefix="/studies/<uuid:study_id>")


@blueprint.get("")
@guard.permission(Permission.STUDY_READ, break_glass=True)
def case(study_id: UUID) -> str:
    """One case with film, result and review; `?picture=` names one of several pictures, `?seen=`
    a signature: the case is shown as it was then, and nothing can be changed.
    """
    if "seen" in request.args:
        return _as_signed(study_id)
    view = open_study(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        guard.now(),
        picture=_picture(),
    )
    guard.services().shown.add(guard.actor().session_id, [study_id])
    looks = viewer_preferences.preferences_of(db_session(), guard.actor())
    draft = drafts.draft_of(
        db_session(), guard.services().vault, guard.actor(), view.picture.instance_id
    )
    page = case_view.case_page(view, guard.actor(), looks, draft)
    screen = screen_checks.last(db_session(), guard.actor(), screen_cookie.number())
    place = list_filters.of_request().place
    return render_template(
        "case/case.html",
        case=page,
        place=place,
        screen=screen,
        reports=_reports(study_id),
        critical=critical.panel_of(view.study_id),
        hospital=_hospital(view),
        retrieval=retrieval.panel_of(view),
    )


def _hospital(view: StudyView) -> HospitalPanel | None:
    """What the hospital's systems have stated of the case; a report not before the reader's own
    finding, where the team has chosen that for what others found.
    """
    is_first = (
        view.ai.policy is AiShown.AFTER_VERDICT
        and not view.ai.is_visible
        and guard.actor().may(Permission.REVIEW_WRITE)
    )
    found = hospital_case.of_case(
        db_session(),
        guard.services().vault,
        guard.actor(),
        view.study_id,
        hides_findings=view.hides_findings or is_first,
    )
    return hospital_view.panel(found)


def _reports(study_id: UUID) -> report_lines.ReportPanel | None:
    """Those of the case, for who may have them."""
    if not guard.actor().may(Permission.STUDY_EXPORT):
        return None
    return report_lines.panel(made.listed(db_session(), guard.actor(), study_id))


def _as_signed(study_id: UUID) -> str:
    view, signature = open_signed(
        *(db_session(), guard.services().vault, guard.actor(), study_id, _named("seen")),
        guard.now(),
        picture=_picture(),
    )
    guard.services().shown.add(guard.actor().session_id, [study_id])
    looks = viewer_preferences.preferences_of(db_session(), guard.actor())
    held = guard.actor().permissions - {Permission.REVIEW_WRITE, Permission.STUDY_EXPORT}
    looker = replace(guard.actor(), permissions=held)
    signed = next((one for one in view.reviews if one.review_id == signature.review_id), None)
    drawn = signed.annotations.get(view.picture.instance_id, []) if signed else []
    page = case_view.case_page(view, looker, looks, drafts.Draft(drawn), signature)
    place = list_filters.of_request().place
    return render_template(
        "case/case.html",
        case=page,
        place=place,
        actor=looker,
        reports=None,
        critical=None,
        hospital=None,
    )


@blueprint.get("/state")
@guard.permission(Permission.STUDY_READ, background=True, break_glass=True)
def state(study_id: UUID) -> Response:
    """The study's state, for a page that waits; without AI result or review."""
    found = study_state(db_session(), guard.actor(), study_id)
    return jsonify(state_json(found))


@blueprint.get("/blobs/<kind>")
@guard.permission(Permission.STUDY_READ, break_glass=True)
def blob(study_id: UUID, kind: str) -> Response:
    """A file of one of the study's pictures."""
    if kind == BlobKind.OVERLAY:  # which is drawn
        guard.count_export()
    found = read_blob(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        kind,
        guard.now(),
        picture=_picture(),
    )
    return Response(found.data, content_type=found.media_type)


@blueprint.post("/reviews")
@guard.permission(Permission.REVIEW_WRITE)
def review(study_id: UUID) -> Response | BaseResponse:
    """A new version of the review, from the form or as JSON. What is left out of size and reason
    stays as it was.
    """
    sent: Any = json_or_none() if request.is_json else request.form
    if not hasattr(sent, "get"):
        raise Problem(400, "bad_json", _("Send an object with finding, size, reason and comment."))
    names = ("finding", "size", "reason", "comment", "seen", "after", "drawn")
    fields = {name: sent.get(name) for name in names}
    if not request.is_json and "reason" in request.form:  # a box for each, and an empty one
        fields["reason"] = ",".join(filter(None, request.form.getlist("reason")))
    if not all(value is None or isinstance(value, str) for value in fields.values()):
        raise Problem(
            422, "bad_review", _("These fields must be strings: %(names)s.", names=", ".join(names))
        )
    try:
        saved = reviews.add_review(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            finding=fields["finding"] or "",
            size=fields["size"],
            reason=fields["reason"],
            comment=fields["comment"] or "",
            seen=fields["seen"] or None,
            after=fields["after"],
            drawn=fields["drawn"],
            critical=critical_view.stated(sent),
            screen_check=screen_checks.last_id(db_session(), guard.actor(), screen_cookie.number()),
            now=guard.now(),
        )
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    if not wants_problem():
        return redirect(url_for(".case", study_id=study_id, **list_filters.of_request().place), 303)
    return jsonify(_saved(saved))


def _saved(saved: reviews.Saved) -> dict[str, Any]:
    """The version for the page; one that was there already is shown by the page itself."""
    row = saved.review
    view = ReviewView(
        review_id=row.id,
        reader=g.user.name,
        reader_id=row.reader_id,
        finding=row.finding,
        size=row.size,
        verdict=saved.verdict,
        reasons=saved.reasons,
        comment=saved.comment,
        created=row.created,
        screen=saved.screen,
        annotations=saved.annotations,
    )
    picture = _picture_of_form()
    line = review_view.review_lines([view], guard.actor(), picture)[0]
    shown = render_template("case/version.html", review=line, now=guard.now())
    return {
        "is_new": saved.is_new,
        "after": row.id.hex,
        "stated": review_view.stated_by([view], guard.actor()),
        "label": line.label,
        # What the AI found may be seen from now on: the page shows it.
        "reveals": saved.ai.is_visible and row.ai_visible is False,
        "line": shown if saved.is_new else "",
        # Where a second read goes on, the page is seen again, as far as its reader may.
        "verdict": "" if saved.second_reads else _verdict(row.study_id),
        "critical": critical.html_of(row.study_id),
        "review": row.id.hex,
        "drawn": [asdict(one) for one in saved.annotations.get(picture, ())] if picture else [],
        "see_again": bool(saved.second_reads),
    }


def _verdict(study_id: UUID) -> str:
    """How firmly the verdict stands now: who has just stated a finding sees all of it."""
    exam = exams.survivor_of(db_session(), study_id)
    standing = signing.state_of(db_session(), exam)
    stands = sign_view.stands(standing, has_result=True)
    return render_template("case/verdict_state.html", sign=stands, now=guard.now())


@blueprint.post("/analyse")
@guard.permission(Permission.STUDY_SUBMIT)
def analyse_now(study_id: UUID) -> BaseResponse:
    """Analyse at once what a rule of the team keeps without analysis or has put off."""
    services = guard.services()
    try:
        jobs = analysis.analyse_now(db_session(), guard.actor(), study_id, guard.now())
    except Conflict as nothing:
        flash(nothing.message, "warn")
        jobs = []
    for job_id in jobs:
        sweeper.notify(db_session(), services.broker, job_id)
    return redirect(url_for(".case", study_id=study_id, **list_filters.of_request().place), 303)


@blueprint.get("/next")
@guard.permission(Permission.STUDY_READ)
def following(study_id: UUID) -> BaseResponse:
    """Redirect to the next case of the list in the address, or from the last one to the list. What
    is to be read is marked as read by this person at once, so that two get no case together.
    """
    filters = list_filters.of_request()
    actor, now = guard.actor(), guard.now()
    if filters.state == SECOND_READ:
        following_one = claims.take_next(
            *(db_session(), actor, now),
            lambda: waiting.following(db_session(), actor, study_id, now),
        )
        if following_one:
            at = url_for(".case", study_id=following_one, **filters.place)
            return redirect(at, 303)
        flash(_("No other case waits for you as a second reader."), "ok")
        return redirect(url_for("second_reads.page"), 303)

    def find() -> UUID | None:
        vault = guard.services().vault
        return worklist.next_study(db_session(), vault, actor, study_id, now=now, **filters.query)

    rereads = filters.state == "read"
    found = find() if rereads else claims.take_next(db_session(), actor, now, find)
    if found:
        return redirect(url_for(".case", study_id=found, **filters.place), 303)
    if filters.state not in (list_filters.TO_READ, "read"):
        flash(
            _(
                "All read: no case of this list is left, other than those that colleagues are "
                "reading."
            ),
            "ok",
        )
    return redirect(url_for("worklist.worklist", **filters.args), 303)


def state_json(found: StudyState) -> dict[str, Any]:
    """A study's state for scripts of the pages."""
    return {
        "state": found.state.value,
        "seen": found.as_seen,
        "waiting_for": found.waiting_for,
        "settled": found.is_settled,
    }


def _picture_of_form() -> UUID | None:
    """The picture that was shown, for what the page draws of the new version."""
    try:
        return UUID(request.form.get("picture", ""))
    except ValueError:
        return None


def _picture() -> UUID | None:
    """The picture that the address names."""
    return _named("picture") if request.args.get("picture") else None


def _named(what: str) -> UUID:
    """An id in the address; a malformed one matches nothing."""
    try:
        return UUID(request.args[what])
    except ValueError:
        return UUID(int=0)

"""What the viewer of the case page asks for and stores: a person's preferences, what they draw on a
picture, the picture beside, checks of the screen.
"""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Invalid
from portal.reading import viewer_preferences
from portal.reading.signatures import seen
from portal.reading.viewing import beside, drafts, screen_checks, shown
from portal.services import db_session
from portal.web.present.viewing import beside as beside_view
from portal.web.present.viewing import screen as screen_view
from portal.web.security import guard, screen_cookie
from portal.web.security.errors import Problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("viewer", __name__)


@blueprint.post("/viewer/preferences")
@guard.permission(Permission.STUDY_READ)
def preferences() -> Response:
    """Remember overlay, mode, inversion and preset for the person's next case."""
    viewer_preferences.save_preferences(db_session(), guard.actor(), _sent())
    return Response(status=204)


@blueprint.post("/studies/<uuid:study_id>/annotations")
@guard.permission(Permission.REVIEW_WRITE)
def annotations(study_id: UUID) -> Response:
    """Keep the rulers and arrows on one of the study's pictures with the reader's draft; 409 with
    what is there where another window has stored something since.
    """
    sent = _sent()
    try:
        drafts.save(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            sent.get("picture"),
            sent.get("annotations"),
            (sent.get("after"), sent.get("version")),
            guard.now(),
        )
    except drafts.Changed as changed:
        there = [asdict(one) for one in changed.draft.annotations]
        more = {"annotations": there, "version": changed.draft.version}
        raise Problem(409, changed.code, changed.message, more=more) from None
    return Response(status=204)


@blueprint.post("/studies/<uuid:study_id>/shown")
@guard.permission(Permission.REVIEW_WRITE, background=True)
def picture_shown(study_id: UUID) -> Response:
    """The picture `?picture=` was drawn in full on the reader's screen, for a moment at least."""
    shown.note(db_session(), guard.actor(), study_id, _named("picture"), guard.now())
    return Response(status=204)


@blueprint.get("/studies/<uuid:study_id>/beside")
@guard.permission(Permission.STUDY_READ)
def picture_beside(study_id: UUID) -> Response:
    """The picture beside `?shown=`: the one named by `?picture=`, or the latest prior. With
    `?seen=`, a signature: the one that lay there then, as it was.
    """
    session, vault, actor, now = db_session(), guard.services().vault, guard.actor(), guard.now()
    picture, signature = _named("picture"), _named("seen")
    if signature is not None:
        found = seen.open_beside(session, vault, actor, study_id, signature, now, picture=picture)
    else:
        found = beside.open_beside(session, vault, actor, study_id, _named("shown"), picture, now)
    looks = viewer_preferences.preferences_of(db_session(), guard.actor())
    return jsonify(beside_view.page(found, guard.actor(), looks))


@blueprint.get("/screen")
@guard.permission(Permission.REVIEW_WRITE)
def screen() -> str:
    """The test pattern with its questions, and when this screen was checked last."""
    found = screen_checks.last(db_session(), guard.actor(), screen_cookie.number())
    return render_template("screen.html", last=found, corners=screen_checks.CORNERS)


@blueprint.post("/screen")
@guard.permission(Permission.REVIEW_WRITE)
def check_screen() -> BaseResponse:
    """Store what the person saw of the test pattern on this screen."""
    number = screen_cookie.number() or screen_cookie.new_number()
    names = ("dark", "dark_at", "light", "light_at", "lines", "width", "height")
    sent = {name: request.form.get(name, "") for name in names}
    try:
        check = screen_checks.add(db_session(), guard.actor(), number, sent, guard.now())
    except Invalid as bad:
        flash(bad.message, "danger")
        return redirect(url_for(".screen"), 303)
    flash(*screen_view.result(check))
    answer = redirect(url_for(".screen"), 303)
    screen_cookie.keep(answer, number)
    return answer


def _named(name: str) -> UUID | None:
    """The id that the address names; a malformed one matches none."""
    named = request.args.get(name)
    try:
        return UUID(named) if named else None
    except ValueError:
        return UUID(int=0)


def _sent() -> dict[str, Any]:
    """The object that was sent; an empty one for anything else, which the rooms refuse."""
    sent = json_or_none() if request.is_json else None
    return sent if isinstance(sent, dict) else {}

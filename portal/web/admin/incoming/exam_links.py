"""The keys of a team with which a PACS or RIS signs links into exams."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict
from portal.languages import _
from portal.services import db_session
from portal.teams import exam_links
from portal.web.security import guard

blueprint = Blueprint("exam_links", __name__, url_prefix="/admin/teams/<uuid:team_id>/exam-links")

_PAGE = "exam_links.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page(team_id: UUID) -> str:
    """The keys that work."""
    return _page(team_id)


@blueprint.post("")
@_manage
def make(team_id: UUID) -> str | tuple[str, int]:
    """A new key, shown once."""
    session, vault = db_session(), guard.services().vault
    try:
        made = exam_links.make_key(session, vault, guard.actor(), team_id, guard.now())
    except Conflict as conflict:
        return _page(team_id, error=conflict.message), 409
    return _page(team_id, made=made)


@blueprint.post("/<uuid:key_id>/end")
@_manage
def end(team_id: UUID, key_id: UUID) -> BaseResponse:
    """End a key."""
    exam_links.end_key(db_session(), guard.actor(), team_id, key_id, guard.now())
    flash(_("The key has ended: links that were signed with it open nothing any more."), "ok")
    return redirect(url_for(_PAGE, team_id=team_id), 303)


def _page(team_id: UUID, *, made: str = "", error: str = "") -> str:
    team, keys = exam_links.keys(db_session(), guard.actor(), team_id)
    return render_template(
        "admin/exam_links.html",
        team=team,
        keys=keys,
        made=made,
        error=error,
        most=exam_links.MOST_KEYS,
        address=f"{guard.services().settings.base_url.rstrip('/')}{url_for('exam_link.arrive')}",
        fresh=guard.is_fresh(),
        now=guard.now(),
    )

"""One's own uploads and reviews, with their results."""

from typing import Literal

from flask import Blueprint, render_template, request, url_for

from portal.access import Permission
from portal.models import Role
from portal.performance import own_reading
from portal.reading.lists import history as histories
from portal.services import db_session
from portal.web.present import list_pages, list_rows
from portal.web.security import guard

blueprint = Blueprint("history", __name__, url_prefix="/history")
_LONGEST = 60  # of a page's place


@blueprint.get("")
@guard.permission(Permission.STUDY_LIST)
def history() -> str:
    """One's own cases, the newest first."""
    what = _what()
    may_read = guard.actor().may(Permission.REVIEW_WRITE)
    found = histories.history(
        db_session(),
        guard.services().vault,
        guard.actor(),
        what=what,
        after=request.args.get("after", "")[:_LONGEST],
        before=request.args.get("before", "")[:_LONGEST],
        now=guard.now(),
    )
    return render_template(
        "history/history.html",
        rows=[list_rows.row(row) for row in found.rows],
        what=what,
        pages=list_pages.pages(found, url_for("history.history"), {"what": what}),
        may_read=may_read,
        own=own_reading.own(db_session(), guard.actor(), guard.now())
        if may_read and what == "read"
        else None,
        own_days=own_reading.DAYS,
    )


def _what() -> Literal["sent", "read"]:
    """What is asked for; what fits the role where nothing is."""
    asked = request.args.get("what")
    if asked in ("sent", "read"):
        return "read" if asked == "read" else "sent"
    return "read" if guard.actor().role is Role.READER else "sent"

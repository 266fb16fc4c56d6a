"""One's own uploads and reviews, with their results."""

from typing import Literal

from flask import Blueprint, render_template, request

from portal.access import Permission
from portal.models import Role
from portal.performance import own_reading
from portal.reading import worklist
from portal.services import db_session
from portal.web.present import list_rows
from portal.web.security import guard

blueprint = Blueprint("history", __name__, url_prefix="/history")


@blueprint.get("")
@guard.permission(Permission.STUDY_LIST)
def history() -> str:
    """One's own cases, the newest first."""
    what = _what()
    may_read = guard.actor().may(Permission.REVIEW_WRITE)
    text = request.args.get("page", "1")
    found = worklist.history(
        db_session(),
        guard.services().vault,
        guard.actor(),
        what=what,
        page=int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1,
        now=guard.now(),
    )
    return render_template(
        "history/history.html",
        rows=[list_rows.row(row) for row in found.rows],
        what=what,
        found=found,
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

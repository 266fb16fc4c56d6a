"""One's own uploads and reviews, with their results."""

from typing import Literal

from flask import Blueprint, render_template, request, url_for

from portal.access import Permission
from portal.languages import _, ngettext, number_text
from portal.models import Role
from portal.performance import own_reading
from portal.performance.own_reading import OwnReading
from portal.reading.lists import history as histories
from portal.services import db_session
from portal.web.present import list_pages, list_rows, plots
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
    own = None
    if may_read and what == "read":
        own = own_reading.own(db_session(), guard.actor(), guard.now())
    return render_template(
        "history/history.html",
        rows=[list_rows.row(row) for row in found.rows],
        what=what,
        pages=list_pages.pages(found, url_for("history.history"), {"what": what}),
        may_read=may_read,
        own=own,
        own_measured=_measured(own) if own else "",
        own_days=own_reading.DAYS,
        own_seen_by=_seen_by(own) if own else "",
    )


def _measured(own: OwnReading) -> str:
    """The reader's time and the Dice of their outlines as sentences; empty without any."""
    found = []
    if own.seconds.value is not None:
        time = plots.duration(own.seconds.value)
        found.append(_("From opening a case to your finding: %(time)s (median).", time=time))
    if own.dice_ai.value is not None:
        value = number_text(own.dice_ai.value, 2)
        found.append(
            ngettext(
                "Dice of your outlines to the AI’s: %(value)s (median of %(num)s picture).",
                "Dice of your outlines to the AI’s: %(value)s (median of %(num)s pictures).",
                own.dice_ai.count,
                value=value,
            )
        )
    if own.dice_reader.value is not None:
        value = number_text(own.dice_reader.value, 2)
        found.append(
            ngettext(
                "To those of the other one of two readers: %(value)s (median of %(num)s exam).",
                "To those of the other one of two readers: %(value)s (median of %(num)s exams).",
                own.dice_reader.count,
                value=value,
            )
        )
    return " ".join(found)


def _seen_by(own: OwnReading) -> str:
    """Who else sees the reader's numbers."""
    if own.is_named:
        return _(
            "Your team has set that admins see your Dice to the AI and your reading time with "
            "your name."
        )
    return _(
        "Only you see these numbers. Admins see Dice and reading time of all readers without names."
    )


def _what() -> Literal["sent", "read"]:
    """What is asked for; what fits the role where nothing is."""
    asked = request.args.get("what")
    if asked in ("sent", "read"):
        return "read" if asked == "read" else "sent"
    return "read" if guard.actor().role is Role.READER else "sent"

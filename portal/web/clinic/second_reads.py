"""Second reads: what waits for a second or third reader, and asking for one."""

from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict
from portal.languages import _, number_text
from portal.reading.second_reads import requests, waiting
from portal.services import db_session
from portal.studies.worklist_filters import SECOND_READ
from portal.web.present import list_filters, list_rows
from portal.web.present.list_rows import ListRow
from portal.web.present.second_reads.readers import too_few_readers
from portal.web.security import guard

blueprint = Blueprint("second_reads", __name__)


@dataclass(frozen=True)
class QueuePart:
    """One of the page's two lists; `count` in words."""

    rows: list[ListRow]
    count: str


@blueprint.get("/second-reads")
@guard.permission(Permission.REVIEW_WRITE)
def page() -> str:
    """What waits for this person as a second reader, and as a third one."""
    found = waiting.waiting(db_session(), guard.services().vault, guard.actor(), guard.now())
    return render_template(
        "second_reads/second_reads.html",
        second=_part(found.second),
        third=_part(found.third),
        place={"state": SECOND_READ},
        too_few=too_few_readers(found.readers),
    )


@blueprint.post("/studies/<uuid:study_id>/second-read")
@guard.permission(Permission.REVIEW_WRITE)
def ask(study_id: UUID) -> BaseResponse:
    """The case goes to a second reader."""
    try:
        requests.ask(db_session(), guard.actor(), study_id, guard.now())
    except Conflict as conflict:
        db_session().rollback()
        flash(conflict.message, "warn")
    else:
        flash(_("The case goes to a second reader of your team."), "ok")
    place = list_filters.of_request().place
    return redirect(url_for("reading.case", study_id=study_id, **place), 303)


def _part(found: waiting.Queue) -> QueuePart:
    count = number_text(found.total)
    if found.total > waiting.MOST:
        count = _("the first %(number)s", number=waiting.MOST)
    return QueuePart([list_rows.row(row) for row in found.rows], count)

"""Looking for the patient's earlier X-rays at the DICOM nodes of the team, from the case page."""

from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.dicom_network.retrieving import overview, triggers
from portal.dicom_network.retrieving.overview import OfCase
from portal.errors import Conflict
from portal.languages import _, ngettext
from portal.reading.case_records import StudyView
from portal.services import db_session
from portal.web.present import list_filters
from portal.web.security import guard

blueprint = Blueprint("retrieval", __name__, url_prefix="/studies/<uuid:study_id>")


@dataclass(frozen=True, slots=True)
class RetrievalPanel:
    """What the case page shows: how the last search went, and whether one may be asked for."""

    text: str
    may_ask: bool


@blueprint.post("/priors")
@guard.permission(Permission.STUDY_SUBMIT)
def ask(study_id: UUID) -> BaseResponse:
    """Look for earlier X-rays."""
    try:
        triggers.ask(db_session(), guard.actor(), study_id, guard.now())
    except Conflict as nothing:
        flash(nothing.message, "warn")
    else:
        flash(_("Earlier X-rays are being looked for."), "ok")
    place = list_filters.of_request().place
    return redirect(url_for("reading.case", study_id=study_id, **place), 303)


def panel_of(view: StudyView) -> RetrievalPanel | None:
    """None where no node of the case's team may be queried, or the person may not ask."""
    actor = guard.actor()
    if actor.grant is not None or not actor.may(Permission.STUDY_SUBMIT):
        return None
    if not triggers.may_ask(db_session(), actor.team_id):
        return None
    found = overview.of_case(db_session(), view.study_id)
    is_open = found is not None and found.is_open
    return RetrievalPanel(_text(found), not is_open)


def _text(found: OfCase | None) -> str:
    if found is None:
        return ""
    if found.is_open:
        return _("Being looked for.")
    texts = [
        ngettext("%(num)s picture retrieved.", "%(num)s pictures retrieved.", found.retrieved)
        if found.retrieved
        else _("Nothing new was found.")
    ]
    if found.refused:
        texts.append(ngettext("%(num)s was refused.", "%(num)s were refused.", found.refused))
    if found.has_failed:
        texts.append(_("A node could not be asked, or did not send everything."))
    return " ".join(texts)

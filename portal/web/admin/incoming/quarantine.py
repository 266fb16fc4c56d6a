"""Files in quarantine for administrators: why each is there, to be released or discarded."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.governance import quarantine
from portal.intake import quarantined
from portal.intake.check import Limits
from portal.jobs import sweeper
from portal.languages import _
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("quarantine", __name__, url_prefix="/admin/quarantine")

_PAGE = "quarantine.page"
_manage = guard.permission(Permission.DATA_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.DATA_MANAGE)
def page() -> str:
    """All files in quarantine."""
    return _page()


@blueprint.post("/<uuid:file_id>/release")
@_manage
def release(file_id: UUID) -> BaseResponse | tuple[str, int]:
    """Take one in as a picture, without the team's rules."""
    services = guard.services()
    settings = services.settings
    try:
        taken = quarantined.release(
            db_session(),
            services.vault,
            guard.actor(),
            file_id,
            guard.now(),
            limits=Limits(settings.max_upload_bytes, max_header_bytes=settings.max_header_bytes),
            old_exam_hours=settings.old_exam_hours,
        )
    except (Refused, Conflict) as refused:
        status = 422 if isinstance(refused, Refused) else 409
        return _page(_("It stays in quarantine: %(reason)s", reason=refused.message)), status
    if taken.job_id is not None:
        sweeper.notify(db_session(), services.broker, taken.job_id)
    flash(_("The picture is released: case %(case)s.", case=taken.case_number), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:file_id>/discard")
@_manage
def discard(file_id: UUID) -> BaseResponse:
    """Destroy one."""
    services = guard.services()
    if quarantined.discard(db_session(), services.vault, guard.actor(), file_id, guard.now()):
        flash(_("The file is destroyed."), "ok")
    else:
        flash(
            _(
                "The file is destroyed. Old copies of its key may still be in the database's files:"
                " they were being read. The next purge of an exam clears them."
            ),
            "warn",
        )
    return redirect(url_for(_PAGE), 303)


def _page(error: str = "") -> str:
    session, actor = db_session(), guard.actor()
    return render_template(
        "admin/quarantine.html",
        files=quarantined.listed(session, actor),
        held=quarantined.held(session, actor),
        most=quarantined.MOST_LISTED,
        most_files=quarantine.MOST_FILES,
        most_bytes=quarantine.MOST_BYTES,
        days=quarantine.LASTS.days,
        error=error,
        fresh=guard.is_fresh(),
        now=guard.now(),
    )

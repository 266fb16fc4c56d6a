"""What a reader reads whose lock of an outline is not given or was lost."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.languages import _
from portal.models import Instance, OutlineDraft, User
from portal.teams import ai_visibility


def held(session: Session, draft: OutlineDraft, now: datetime) -> str:
    """Why the editor does not open: another reader's is open."""
    name, minutes = session.get_one(User, draft.editor_id).name, _minutes(now - draft.since)
    if not minutes:
        return _("%(name)s has been editing this outline for less than a minute.", name=name)
    return _(
        "%(name)s has been editing this outline for %(minutes)s min.", name=name, minutes=minutes
    )


def lost(
    session: Session, instance: Instance, draft: OutlineDraft | None, actor: Actor, now: datetime
) -> str:
    """Why a draft is not written: its lock is no longer this one."""
    if draft is None:
        return _("This outline was saved or closed in another window. What you drew is still here.")
    if draft.editor_id == actor.user_id:
        return _("You edit this outline in another window. What you drew is still here.")
    reads = ai_visibility.readings(session, [instance.study_id])
    hidden = reads.hides(actor, instance.study_id, draft.editor_id)
    name = _("Another reader") if hidden else session.get_one(User, draft.editor_id).name
    minutes = _minutes(now - draft.since)
    if not minutes:
        return _(
            "%(name)s took over less than a minute ago. What was stored of yours is a version; "
            "what you drew is still here.",
            name=name,
        )
    return _(
        "%(name)s took over %(minutes)s min ago. What was stored of yours is a version; what you "
        "drew is still here.",
        name=name,
        minutes=minutes,
    )


def _minutes(time: timedelta) -> int:
    return max(0, int(time.total_seconds() // 60))

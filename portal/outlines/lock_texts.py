"""What a reader reads whose lock of an outline is not given or was lost."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.models import Instance, OutlineDraft, User
from portal.studies.second_reads import blindness


def held(session: Session, draft: OutlineDraft, now: datetime) -> str:
    """Why the editor does not open: another reader's is open."""
    name = session.get_one(User, draft.editor_id).name
    return f"{name} has been editing this outline for {_minutes(now - draft.since)}."


def lost(
    session: Session, instance: Instance, draft: OutlineDraft | None, actor: Actor, now: datetime
) -> str:
    """Why a draft is not written: its lock is no longer this one."""
    if draft is None:
        return "This outline was saved or closed in another window. What you drew is still here."
    if draft.editor_id == actor.user_id:
        return "You edit this outline in another window. What you drew is still here."
    reads = blindness.of(session, [instance.study_id])
    hidden = reads.hides(actor, instance.study_id, draft.editor_id)
    name = "Another reader" if hidden else session.get_one(User, draft.editor_id).name
    return (
        f"{name} took over {_minutes(now - draft.since)} ago. What was stored of yours is a "
        "version; what you drew is still here."
    )


def _minutes(time: timedelta) -> str:
    minutes = max(0, int(time.total_seconds() // 60))
    return "less than a minute" if minutes == 0 else f"{minutes} min"

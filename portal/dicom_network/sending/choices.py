"""What a node gets: which objects of an exam, and when. Nothing, unless it is chosen."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import Invalid
from portal.languages import _, lazy
from portal.models import DicomDestination, DicomNode, SendMoment
from worker.contract.contents.object_content import ObjectKind

OBJECTS: Final = {
    ObjectKind.STRUCTURED_REPORT: lazy("Structured report"),
    ObjectKind.SEGMENTATION: lazy("Segmentation"),
    ObjectKind.CAPTURE: lazy("Secondary Capture with outlines"),
    ObjectKind.PRESENTATION: lazy("Presentation state"),
    ObjectKind.REPORT: lazy("Report as PDF"),
    ObjectKind.REJECTION: lazy("Rejection of a result"),
}
MOMENTS: Final = {
    SendMoment.RESULT: lazy("With each result, as unreviewed"),
    SendMoment.VERDICT: lazy("With each verdict, from the first one on"),
    SendMoment.SIGNATURE: lazy("With each signature"),
}
Chosen = tuple[tuple[str, ...], tuple[str, ...]]
"""Objects and moments, in the order above."""
NOTHING: Final[Chosen] = ((), ())


def of(session: Session, node: DicomNode) -> Chosen:
    """What a node gets."""
    found = session.get(DicomDestination, node.id)
    return NOTHING if found is None else (tuple(found.objects), tuple(found.moments))


def all_of(session: Session) -> dict[UUID, Chosen]:
    """What each node gets that gets something."""
    found = {
        one.node_id: (tuple(one.objects), tuple(one.moments))
        for one in session.scalars(select(DicomDestination))
    }
    session.commit()
    return found


def checked(
    objects: Collection[str], moments: Collection[str], *, receives: bool, has_place: bool
) -> Chosen:
    """The choice as it is stored; Invalid `objects` or `moments` for what can't be."""
    known = tuple(one.value for one in OBJECTS if one.value in objects)
    when = tuple(one.value for one in MOMENTS if one.value in moments)
    if len(known) != len(set(objects)):
        raise Invalid("objects", _("Choose among the objects listed."))
    if len(when) != len(set(moments)):
        raise Invalid("moments", _("Choose among the times listed."))
    if not known and not when:
        return NOTHING
    if not known:
        raise Invalid("objects", _("Choose at least one object that the node gets."))
    if not when:
        raise Invalid("moments", _("Choose when the node gets them."))
    if not receives:
        raise Invalid("objects", _("A node that may not receive gets no objects."))
    if not has_place:
        raise Invalid("host", _("A node that gets objects needs a host and a port."))
    return known, when


def store(session: Session, node: DicomNode, chosen: Chosen, now: datetime) -> None:
    """Keep the choice in the caller's transaction. A node that got nothing until now gets what
    happens from now on.
    """
    objects, moments = chosen
    found = session.get(DicomDestination, node.id)
    if not objects:
        if found is not None:
            session.delete(found)
        return
    if found is None:
        found = DicomDestination(node_id=node.id, since=now, looked_until=now)
        session.add(found)
    found.objects, found.moments = list(objects), list(moments)

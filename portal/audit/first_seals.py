"""The first seals of the access log's ends: of the chain and of every writer, also the empty ones.

The tables are made without keys, so the ends begin without seals; `python -m portal upgrade` seals
them all at once. The seal of the chain's end has another form from then on, and no end without a
seal is accepted any more: one that was set back to nothing is never sealed again.
"""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.audit import macs
from portal.models import AuditEvent, AuditHead, AuditLink, AuditWriter, User


def are_missing(session: Session) -> bool:
    """Whether the ends were never sealed: a new log, or one of a version before as it was left.

    A log whose end was set back to nothing is neither: it has rows, or people are enrolled.
    """
    head = session.get(AuditHead, 1, populate_existing=True)
    if head is None:
        return False
    if (head.count, head.mac, head.seal, head.linked) == (0, "", "", "{}"):
        used = select(*(exists().select_from(table) for table in (AuditEvent, AuditLink, User)))
        return not any(session.execute(used).one())
    before = macs.of_head_before_first_seals(
        macs.key_of(session), head.count, head.mac, head.linked
    )
    return macs.same(head.seal, before)


def seal(session: Session) -> bool:
    """Seal all ends if they never were, and commit; returns whether that was so."""
    head = session.get(AuditHead, 1, with_for_update=True, populate_existing=True)
    missing = head is not None and are_missing(session)
    if head is not None and missing:
        key = macs.key_of(session)
        writers = select(AuditWriter).order_by(AuditWriter.id).with_for_update()
        for writer in session.scalars(writers, execution_options={"populate_existing": True}):
            if (writer.count, writer.mac, writer.seal) == (0, "", ""):
                writer.seal = macs.of_writer(key, writer.id, 0, "")
        head.seal = macs.of_head(key, head.count, head.mac, head.linked)
    session.commit()
    return missing

"""The chain of the access log: committed rows are linked one after the other, each second.

The transaction that writes a row does not wait for the chain. One linker at a time gives each new
row the next position; the head holds how far it came, sealed.
"""

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Select, and_, insert, or_, select
from sqlalchemy.orm import Session

from portal.audit import first_seals, macs
from portal.models import AuditEvent, AuditHead, AuditLink, AuditWriter

_AT_ONCE: Final = 2000


def link(session: Session) -> int:
    """Link every committed row; returns how many, 0 while another process links or as long as the
    log's ends have no seals.

    Commits after each part, so that a stop loses nothing: the next run goes on.
    """
    linked = 0
    while True:
        some = _link_some(session)
        linked += some
        if some < _AT_ONCE:
            return linked


def head(session: Session) -> tuple[int, str]:
    """How long the chain is and the MAC of its last link."""
    row = session.get(AuditHead, 1, populate_existing=True)
    return (row.count, row.mac) if row else (0, "")


def _link_some(session: Session) -> int:
    # Checked without a lock first: mostly there is nothing to do.
    text = session.scalar(select(AuditHead.linked).where(AuditHead.id == 1))
    if text is None or not _waiting(session, json.loads(text)):
        session.commit()
        return 0
    end = session.scalars(
        select(AuditHead).where(AuditHead.id == 1).with_for_update(skip_locked=True),
        execution_options={"populate_existing": True},
    ).one_or_none()
    counts = json.loads(end.linked) if end is not None else {}
    waiting = _waiting(session, counts) if end is not None else {}
    if end is None or not waiting:
        session.commit()
        return 0
    rows = session.execute(_unlinked(waiting)).all()
    key, position, mac, links = macs.key_of(session), end.count, end.mac, []
    # An end that was changed from outside is never sealed again: it goes on, the check fails.
    is_sealed = macs.is_end_of_chain(key, end)
    if not is_sealed and first_seals.are_missing(session):
        session.commit()
        return 0
    for seq, writer, writer_seq, row_mac in rows:
        position += 1
        mac = macs.of_link(key, mac, position, seq, row_mac)
        links.append({"position": position, "seq": seq, "mac": mac})
        counts[str(writer)] = writer_seq
    if links:
        session.execute(insert(AuditLink), links)
        end.count, end.mac, end.linked = position, mac, json.dumps(counts, sort_keys=True)
        if is_sealed:
            end.seal = macs.of_head(key, end.count, end.mac, end.linked)
    session.commit()
    return len(links)


def _waiting(session: Session, linked: Mapping[str, int]) -> dict[int, int]:
    """Of each writer with rows that are not linked: how many of its rows are."""
    written = session.execute(select(AuditWriter.id, AuditWriter.count)).all()
    return {
        writer: linked.get(str(writer), 0)
        for writer, count in written
        if count > linked.get(str(writer), 0)
    }


def _unlinked(waiting: Mapping[int, int]) -> Select[int, int | None, int | None, str]:
    """The next rows to link. A writer's numbers rise, so none of its rows is passed over."""
    return (
        select(AuditEvent.seq, AuditEvent.writer, AuditEvent.writer_seq, AuditEvent.mac)
        .where(
            or_(
                *(
                    and_(AuditEvent.writer == writer, AuditEvent.writer_seq > count)
                    for writer, count in waiting.items()
                )
            )
        )
        .order_by(AuditEvent.seq)
        .limit(_AT_ONCE)
    )

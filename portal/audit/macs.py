"""The MACs of the access log: of its rows, of its chain and of the ends of both.

Every text begins differently, so that no MAC of one kind stands for one of another.
"""

import hmac
import json
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Row
from sqlalchemy.orm import Session

from portal.models import AuditEvent, AuditHead, AuditWriter

# By engine; `audit.bind` fills it.
KEYS: Final["WeakKeyDictionary[Engine, bytes]"] = WeakKeyDictionary()


def key_of(session: Session) -> bytes:
    """The key of the log that this session writes to."""
    try:
        return KEYS[session.get_bind().engine]
    except KeyError:
        raise RuntimeError("audit.bind(engine, vault.audit_key()) was not called") from None


def of_row(key: bytes, previous: str, row: AuditEvent | Row[*tuple[Any, ...]]) -> str:
    """The MAC of a row: over all of its columns and the MAC of its writer's row before."""
    place = ("row", previous, row.writer, row.writer_seq, row.seq)
    return _mac(key, json.dumps((*place, *_content(row))))


def of_row_before_writers(
    key: bytes, previous: str, row: AuditEvent | Row[*tuple[Any, ...]]
) -> str:
    """The same for rows up to version 0.1, where each named the row before it in the whole log."""
    return _mac(key, json.dumps((previous, row.seq, *_content(row))))


def of_link(key: bytes, previous: str, position: int, seq: int, mac: str) -> str:
    """The MAC of a link: over its place, its row's number and MAC, and the link before."""
    return _mac(key, json.dumps(("link", previous, position, seq, mac)))


def of_writer(key: bytes, writer: int, count: int, mac: str) -> str:
    """The seal of how many rows a writer has written and where they end."""
    return _mac(key, f"writer:{writer}:{count}:{mac}")


def of_head(key: bytes, count: int, mac: str, linked: str) -> str:
    """The seal of where the chain ends and how many rows of each writer are in it."""
    return _mac(key, f"end:{count}:{mac}:{linked}")


def of_head_before_first_seals(key: bytes, count: int, mac: str, linked: str) -> str:
    """The same before all ends were sealed (`first_seals`); up to version 0.1 no writers were
    counted.
    """
    return _mac(key, f"head:{count}:{mac}" + (f":{linked}" if linked != "{}" else ""))


def is_end_of_writer(key: bytes, writer: AuditWriter) -> bool:
    """Whether a writer's end is as it was sealed."""
    return same(writer.seal, of_writer(key, writer.id, writer.count, writer.mac))


def is_end_of_chain(key: bytes, head: AuditHead) -> bool:
    """Whether the chain's end is as it was sealed."""
    return same(head.seal, of_head(key, head.count, head.mac, head.linked))


def of_anchor(key: bytes, text: str) -> str:
    """A keyed digest of a statement about the log, for its anchors."""
    return _mac(key, f"anchor:{text}")


def same(one: str, other: str) -> bool:
    """Whether two MACs are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _content(row: AuditEvent | Row[*tuple[Any, ...]]) -> tuple[str | None, ...]:
    return (
        row.at.isoformat(),
        row.event,
        _text(row.actor_id),
        _text(row.session_id),
        row.via,
        row.address,
        _text(row.study_id),
        _text(row.subject_id),
        row.detail,
    )


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None

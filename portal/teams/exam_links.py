"""Links by which a PACS or RIS leads into an exam: their keys, and what a link names.

A link is `1.KEY.UNTIL.ACCESSION.SIGNATURE`: the key's id, the second since 1970 until which it
holds, the accession number in base64url without padding, and the HMAC-SHA256 (hexadecimal) of all
before the last point, made with the key's secret. It stands behind the `#` of an address, which
browsers send to nobody. Whoever has it still signs in, and sees what they may see anyway.
"""

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.languages import _
from portal.models import ExamLinkKey, Team, User
from portal.studies.worklist_filters import spellings
from portal.vault import NotReadable, Vault

# While a RIS changes over, links of the old and of the new key come.
MOST_KEYS: Final = 3
LONGEST: Final = timedelta(hours=24)
LONGEST_LINK: Final = 400
_MOST_ACCESSION: Final = 64
_FORM: Final = re.compile(
    r"(1\.([0-9a-f]{32})\.([0-9]{1,12})\.([A-Za-z0-9_-]{1,200}))\.([0-9a-f]{64})"
)
_KEY: Final = "exam_links"


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key that works, without its secret."""

    id: UUID
    made_by: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Named:
    """What a genuine link names: an accession number of a team, as keyed digests of the ways in
    which it may be written.
    """

    team_id: UUID
    digests: tuple[str, ...] = field(repr=False)


class BadLink(Exception):
    """A link that is none, was signed with no key that works, or is over."""


def keys(session: Session, actor: Actor, team_id: UUID) -> tuple[Team, list[KeyView]]:
    """A team and its keys that work, the newest first; Denied where there is no such team."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Denied("team")
    rows = session.execute(
        select(ExamLinkKey, User.name)
        .join(User, User.id == ExamLinkKey.made_by)
        .where(*_working(team_id))
        .order_by(ExamLinkKey.created.desc(), ExamLinkKey.id)
    ).all()
    session.commit()
    return team, [KeyView(row.id, name, row.created) for row, name in rows]


def make_key(session: Session, vault: Vault, actor: Actor, team_id: UUID, now: datetime) -> str:
    """A new key beside those that work; its text, `ID.SECRET`, is returned once.

    Raises Denied where there is no such team, Conflict `too_many_keys`.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id, with_for_update={"key_share": True}, populate_existing=True)
    if team is None:
        session.rollback()
        raise Denied("team")
    count = select(func.count()).select_from(ExamLinkKey).where(*_working(team_id))
    if (session.scalar(count) or 0) >= MOST_KEYS:
        session.rollback()
        raise Conflict(
            "too_many_keys",
            _("A team has at most %(most)s keys that work. End one first.", most=MOST_KEYS),
        )
    secret = secrets.token_urlsafe(32)
    row = ExamLinkKey(id=uuid4(), team_id=team_id, made_by=actor.user_id, created=now)
    row.sealed_secret = vault.seal(_sealing(vault), _aad(row), secret.encode())
    session.add(row)
    session.flush()
    detail: dict[str, str | int | bool | list[str] | None] = {"key": row.id.hex}
    audit.append(
        session, "exam_link_key_made", actor=actor, now=now, subject_id=team_id, detail=detail
    )
    session.commit()
    return f"{row.id.hex}.{secret}"


def end_key(session: Session, actor: Actor, team_id: UUID, key_id: UUID, now: datetime) -> None:
    """End a key: its links open nothing any more. Denied where the team has no such key."""
    actor.require(Permission.PEOPLE_MANAGE)
    row = session.get(ExamLinkKey, key_id, with_for_update=True, populate_existing=True)
    if row is None or row.team_id != team_id:
        session.rollback()
        raise Denied("exam link key")
    if row.ended_at is None:
        row.ended_at = now
        detail: dict[str, str | int | bool | list[str] | None] = {"key": row.id.hex}
        audit.append(
            session, "exam_link_key_ended", actor=actor, now=now, subject_id=team_id, detail=detail
        )
    session.commit()


def read(session: Session, vault: Vault, link: str, now: datetime) -> Named:
    """What a link names; BadLink unless it is genuine and holds now, and for at most a day."""
    match = _FORM.fullmatch(link) if len(link) <= LONGEST_LINK else None
    if match is None:
        raise BadLink
    row = session.get(ExamLinkKey, UUID(match[2]))
    session.commit()
    if row is None or row.ended_at is not None:
        raise BadLink
    try:
        secret = open_(vault, row)
    except NotReadable:
        raise BadLink from None
    expected = hmac.new(secret, match[1].encode(), "sha256").hexdigest()
    left = int(match[3]) - now.timestamp()
    if not hmac.compare_digest(expected, match[5]) or not 0 < left <= LONGEST.total_seconds():
        raise BadLink
    accession = _decoded(match[4])
    digests = (vault.lookup("accession", one) for one in sorted(spellings(accession)))
    return Named(row.team_id, tuple(digests))


def open_(vault: Vault, row: ExamLinkKey) -> bytes:
    """A key's secret; NotReadable."""
    return vault.open_(_sealing(vault), _aad(row), row.sealed_secret)


def _decoded(text: str) -> str:
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadLink from None
    found = found.strip()
    if not 0 < len(found) <= _MOST_ACCESSION:
        raise BadLink
    return found


def _working(team_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return ExamLinkKey.team_id == team_id, ExamLinkKey.ended_at.is_(None)


def _aad(row: ExamLinkKey) -> str:
    return f"exam_link_keys:{row.id}:{row.team_id}"


def _sealing(vault: Vault) -> bytes:
    """Derived, not kept: it belongs to no study."""
    return bytes.fromhex(vault.lookup("key", _KEY))

"""Tokens of single workers: each opens one queue, is hashed, expires, and can be revoked alone.

The token that all workers share (PLEURA_WORKER_TOKEN) is no row here; it serves one machine and
the first start, and can be switched off.
"""

import re
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.accounts.sessions import hash_token
from portal.formats.display_text import clean
from portal.models import JobKind, WorkerToken
from worker.contract import job

PREFIX: Final = "plw_"
QUEUES: Final = tuple(JobKind(queue) for queue in job.QUEUES)
LONGEST_LIFETIME: Final = timedelta(days=366)
_FORM: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_SEEN_EVERY: Final = timedelta(seconds=15)
_MOST_SHOWN: Final = 200


def create(
    session: Session, *, name: str, queue: JobKind, lifetime: timedelta, now: datetime
) -> tuple[WorkerToken, str]:
    """Make a token; the text is returned once. Made on the command line alone, and audited."""
    known = clean(name, 200)
    if not known or queue not in QUEUES:
        raise ValueError("A worker's token needs a name and the queue render or segment.")
    if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
        raise ValueError("A worker's token is valid for at most a year.")
    raw = PREFIX + secrets.token_urlsafe(32)
    token = WorkerToken(
        token_hash=hash_token(raw), name=known, queue=queue, created=now, expires=now + lifetime
    )
    session.add(token)
    session.flush()
    audit.append(
        session, "worker_token_made", now=now, subject_id=token.id, detail={"queue": queue.value}
    )
    session.commit()
    return token, raw


def load(session: Session, raw: str, now: datetime) -> WorkerToken | None:
    """The token, unless it is unknown, expired or revoked; notes that it was shown."""
    if _FORM.fullmatch(raw) is None:
        return None
    token = session.scalar(select(WorkerToken).where(WorkerToken.token_hash == hash_token(raw)))
    found = token if token is not None and _works(token, now) else None
    if found is not None and (found.last_seen is None or now - found.last_seen >= _SEEN_EVERY):
        found.last_seen = now
    session.commit()
    return found


def live_hashes(session: Session, now: datetime, most: int) -> list[str]:
    """The hashes of at most so many tokens that work, the newest at the end."""
    rows = session.scalars(
        select(WorkerToken.token_hash)
        .where(WorkerToken.revoked_at.is_(None), WorkerToken.expires > now)
        .order_by(WorkerToken.created.desc())
        .limit(most)
    ).all()
    session.commit()
    return list(reversed(rows))


def still_works(session: Session, token_id: UUID, now: datetime) -> bool:
    """Whether a ticket that was given for this token is still good."""
    token = session.get(WorkerToken, token_id)
    works = token is not None and _works(token, now)
    session.commit()
    return works


def revoke(session: Session, actor: Actor | None, token_id: UUID, now: datetime) -> WorkerToken:
    """End a token, and every ticket that was given for it, at once; None: by the command line."""
    if actor is not None:
        actor.require(Permission.JOBS_MANAGE)
    token = session.get(WorkerToken, token_id)
    if token is None:
        raise Denied("worker_token")
    token.revoked_at = token.revoked_at or now
    audit.append(session, "worker_token_revoked", actor=actor, now=now, subject_id=token.id)
    session.commit()
    return token


def working(session: Session, now: datetime) -> list[WorkerToken]:
    """The tokens that still work, the newest first."""
    found = session.scalars(
        select(WorkerToken)
        .where(WorkerToken.revoked_at.is_(None), WorkerToken.expires > now)
        .order_by(WorkerToken.created.desc())
        .limit(_MOST_SHOWN)
    ).all()
    session.commit()
    return list(found)


def _works(token: WorkerToken, now: datetime) -> bool:
    return token.revoked_at is None and now < token.expires

"""API tokens: keys for programs. Hashed, scoped, expiring, never with the rights of an admin."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission, permissions_of
from portal.accounts.role_names import ROLES
from portal.accounts.sessions import actor_of, hash_token, lock_unchanged
from portal.errors import Invalid
from portal.languages import _
from portal.models import ApiToken, Role, User

PREFIX: Final = "plr_"
LONGEST_LIFETIME: Final = timedelta(days=366)
_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_USED_EVERY = timedelta(minutes=1)

SCOPES: Final = MappingProxyType(
    {
        "studies:write": frozenset({Permission.STUDY_SUBMIT}),
        "studies:read": frozenset({Permission.STUDY_LIST, Permission.STUDY_READ}),
        "reviews:write": frozenset({Permission.REVIEW_WRITE}),
        # Whole files, with the patient's name in them: what a reader may export.
        "dicomweb:read": frozenset(
            {Permission.STUDY_LIST, Permission.STUDY_READ, Permission.STUDY_EXPORT}
        ),
        "dicomweb:write": frozenset({Permission.STUDY_SUBMIT}),
    }
)


def scopes_of(role: Role) -> list[str]:
    """The scopes that a token of a person with this role can have; an admin's can have none."""
    held = permissions_of(role)
    return [name for name, needed in SCOPES.items() if needed <= held]


def create_token(
    session: Session,
    user: User,
    *,
    scopes: Iterable[str],
    name: str,
    lifetime: timedelta,
    now: datetime,
    actor: Actor | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; the text is returned once and never again.

    `actor`: the owner in their browser; None on the command line. Raises `Invalid` for an unknown
    scope, for one that the person's role does not have, and for a lifetime of more than a year, and
    `SignedOut` where the owner's sessions were ended meanwhile.
    """
    wanted = sorted(set(scopes))
    if not wanted or any(scope not in SCOPES for scope in wanted):
        raise Invalid(
            "token",
            _("A token needs one or more of these scopes: %(scopes)s.", scopes=", ".join(SCOPES)),
        )
    held = permissions_of(user.role)
    beyond = [scope for scope in wanted if not SCOPES[scope] <= held]
    if beyond:
        raise Invalid(
            "token",
            _(
                "The role %(role)s does not include %(beyond)s.",
                role=ROLES[user.role],
                beyond=", ".join(beyond),
            ),
        )
    if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
        raise Invalid("token", _("A token is valid for at most a year."))
    if actor is not None:
        lock_unchanged(session, user)
    raw = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        token_hash=hash_token(raw),
        user_id=user.id,
        name=" ".join(name.split())[:200],
        scopes=wanted,
        created=now,
        expires=now + lifetime,
    )
    session.add(token)
    session.flush()
    owner = actor or replace(actor_of(user), via="cli")
    audit.append(session, "token_made", actor=owner, now=now, subject_id=token.id)
    session.commit()
    return token, raw


def looks_like_token(text: str) -> bool:
    """Whether the text has the form of a token, whether or not there is such a one."""
    return _FORM.fullmatch(text) is not None


def load_token(session: Session, raw: str, now: datetime) -> tuple[User, ApiToken] | None:
    """The person and the token, unless it is unknown, expired, revoked or its owner disabled."""
    if not looks_like_token(raw):
        return None
    token = session.scalar(select(ApiToken).where(ApiToken.token_hash == hash_token(raw)))
    found = None
    if token is not None and _works(token, now):
        if token.last_used_at is None or now - token.last_used_at >= _USED_EVERY:
            token.last_used_at = now
        found = token.user, token
    # Also without a change: SQLite's write lock is not kept while the request goes on.
    session.commit()
    return found


def live_hashes(session: Session, now: datetime, most: int) -> list[str]:
    """The hashes of the tokens that work and were ever used, those used last at the end."""
    rows = session.scalars(
        select(ApiToken.token_hash)
        .join(ApiToken.user)
        .where(
            ApiToken.revoked_at.is_(None),
            ApiToken.expires > now,
            ApiToken.last_used_at.is_not(None),
            User.disabled_at.is_(None),
        )
        .order_by(ApiToken.last_used_at.desc())
        .limit(most)
    ).all()
    session.commit()
    return list(reversed(rows))


def revoke_token(session: Session, actor: Actor, token_id: UUID, now: datetime) -> None:
    """End one of one's own tokens at once, else `Denied`."""
    token = session.get(ApiToken, token_id)
    if token is None or token.user_id != actor.user_id:
        raise Denied("token")
    token.revoked_at = token.revoked_at or now
    audit.append(session, "token_revoked", actor=actor, now=now, subject_id=token.id)
    session.commit()


def revoke_all(session: Session, user_id: UUID, now: datetime) -> int:
    """End all of a person's tokens in the caller's transaction; returns how many."""
    ended = session.scalars(
        update(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.id)
    ).all()
    return len(ended)


def tokens_of(session: Session, user_id: UUID, now: datetime) -> list[ApiToken]:
    """A person's tokens that still work, the newest first."""
    return list(
        session.scalars(
            select(ApiToken)
            .where(
                ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None), ApiToken.expires > now
            )
            .order_by(ApiToken.created.desc())
        )
    )


def actor_of_token(user: User, token: ApiToken, address: str = "") -> Actor:
    """Who acts by a token: its owner, with its scopes as far as the owner's role still has them.

    The access log's rows name the token where those of a browser name the login session.
    """
    wanted = {p for scope in token.scopes for p in SCOPES.get(scope, frozenset())}
    return Actor(
        user_id=user.id,
        team_id=user.team_id,
        role=user.role,
        permissions=permissions_of(user.role) & wanted,
        session_id=token.id,
        via="token",
        address=address,
    )


def _works(token: ApiToken, now: datetime) -> bool:
    return token.revoked_at is None and now < token.expires and token.user.disabled_at is None

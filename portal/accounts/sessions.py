"""Login sessions: rows behind the browser's cookie, so that they can be listed and ended.

The browser holds a random token, the row its SHA-256. A session that has not yet shown the second
factor has no `step_up_at` and lives for minutes; showing the factor replaces it by a new one.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from portal import audit
from portal.access import Actor, Denied, Permission, permissions_of
from portal.models import Language, LoginSession, ProofMethod, User
from portal.teams.settings import DEFAULTS

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=10)
HALF_WAY = timedelta(minutes=10)  # from the password to the code, enrolment included
_REMEMBERED = timedelta(days=90)  # how long an address counts as one's own
_SEEN_EVERY = timedelta(seconds=30)  # how exact `last_seen` is: not a write for every request


def actor_of(user: User, session_id: UUID | None = None, address: str = "") -> Actor:
    """The person as one who acts, with the rights of their role."""
    return Actor(
        user_id=user.id,
        team_id=user.team_id,
        role=user.role,
        permissions=permissions_of(user.role),
        session_id=session_id,
        address=address,
    )


def recheck_permission(session: Session, actor: Actor, needed: Permission, *others: UUID) -> None:
    """Lock the rows of the actor and of others, and make sure that the actor still has the right.

    It was there when the request was let in; it may have been taken by a request beside it. Raises
    `Denied`. The lock holds until the caller's commit.
    """
    rows = session.scalars(
        select(User)
        .where(User.id.in_({actor.user_id, *others}))
        .order_by(User.id)  # two who lock the same rows do it in the same order
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    user = next((row for row in rows if row.id == actor.user_id), None)
    ended = session.scalar(select(LoginSession.ended_at).where(LoginSession.id == actor.session_id))
    if (
        user is None
        or user.disabled_at is not None
        or needed not in permissions_of(user.role)
        or ended is not None
    ):
        session.rollback()
        raise Denied("person")


class SignedOut(Exception):
    """The person's sessions were ended while this request went on; the sign-in page is next."""


def lock_unchanged(session: Session, user: User) -> None:
    """Lock a person's row until the caller's commit, before something new opens for them.

    Raises `SignedOut` where they were disabled or their sessions were ended since `user` was read,
    as a new password, a reset or another role do: what was proved before counts no more.
    """
    now = session.execute(
        select(User.device_generation, User.disabled_at)
        .where(User.id == user.id)
        .with_for_update(key_share=True)
    ).one()
    if now.disabled_at is not None or now.device_generation != user.device_generation:
        session.rollback()
        raise SignedOut


def hash_token(raw: str) -> str:
    """What is stored of a random token: it has 256 bits, so one plain hash is enough."""
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()


def start_session(
    session: Session,
    user: User,
    *,
    address: str,
    agent: str,
    now: datetime,
    proved: bool = True,
    by_passkey: bool = False,
    lifetime: timedelta = ABSOLUTE,
) -> str:
    """Start a session and return the token for the browser.

    `proved`: the second factor was shown, which counts as a fresh proof of identity;
    `by_passkey`: it was one, and no code. `user` as read
    before the proof: raises `SignedOut` where that counts no more, see `lock_unchanged`.
    """
    lock_unchanged(session, user)
    raw = secrets.token_urlsafe(32)
    login = LoginSession(
        token_hash=hash_token(raw),
        user_id=user.id,
        created=now,
        last_seen=now,
        expires=now + (lifetime if proved else HALF_WAY),
        address=address[:64],
        agent=agent[:300],
        step_up_at=now if proved else None,
        step_up_method=method_of(user, by_passkey=by_passkey) if proved else None,
    )
    session.add(login)
    session.flush()
    if proved:
        audit.append(session, "signed_in", actor=actor_of(user, login.id, address), now=now)
    session.commit()
    return raw


def recent_addresses(session: Session, user_id: UUID | None, now: datetime) -> set[str]:
    """The addresses from which a person has signed in with both factors in the last months."""
    return set(
        session.scalars(
            select(LoginSession.address)
            .where(
                LoginSession.user_id == user_id,
                LoginSession.step_up_at.is_not(None),
                LoginSession.created > now - _REMEMBERED,
            )
            .distinct()
        )
    )


def load_session(
    session: Session, raw: str, now: datetime, *, idle: timedelta = IDLE, active: bool = True
) -> tuple[User, LoginSession] | None:
    """The person and the live session behind a token.

    None when it is unknown, ended, too old or silent for too long, or the person is disabled.
    `active`: the person did something; a page that refreshes by itself does not count.
    """
    login = session.scalar(
        select(LoginSession)
        .where(LoginSession.token_hash == hash_token(raw))
        .options(joinedload(LoginSession.user).joinedload(User.team_choices))
    )
    found = None
    if login is not None and _is_live(login, now, idle) and login.user.disabled_at is None:
        if active and now - login.last_seen >= _SEEN_EVERY:
            login.last_seen = now
        found = login.user, login
    # Also without a change: SQLite's write lock is not kept while the request goes on.
    session.commit()
    return found


def remaining(login: LoginSession, now: datetime, *, idle: timedelta = IDLE) -> tuple[int, int]:
    """The seconds until a live session ends without activity, and until it ends in any case."""
    quiet, whole = login.last_seen + idle - now, login.expires - now
    return max(0, int(quiet.total_seconds())), max(0, int(whole.total_seconds()))


def method_of(user: User, *, by_passkey: bool = False) -> ProofMethod:
    """How this person shows who they are: who has no password here signs in elsewhere."""
    if user.password_hash is None and user.sso_key is not None:
        return ProofMethod.SSO_PASSKEY if by_passkey else ProofMethod.SSO_CODE
    return ProofMethod.PASSWORD_PASSKEY if by_passkey else ProofMethod.PASSWORD_CODE


def record_confirmation(
    session: Session,
    login: LoginSession,
    now: datetime,
    *,
    address: str = "",
    by_passkey: bool = False,
) -> None:
    """Note that password and second factor have just been shown again."""
    login.step_up_at = now
    login.step_up_method = method_of(login.user, by_passkey=by_passkey)
    login.last_seen = now
    audit.append(session, "confirmed", actor=actor_of(login.user, login.id, address), now=now)
    session.commit()


def remember_list(session: Session, user: User, filters: dict[str, str]) -> None:
    """Remember a person's filters of the worklist, for the way back to it and the next sign-in."""
    if (user.list_filters or {}) != filters:
        user.list_filters = filters
    session.commit()


def language_of(user: User) -> Language:
    """The language a person reads: their own choice, else their team's."""
    team = user.team_choices.language if user.team_choices is not None else None
    return user.language or team or DEFAULTS.language


def choose_language(
    session: Session, actor: Actor, language: Language | None, now: datetime
) -> None:
    """Choose one's own language, None for the team's; one audit row where it is another one."""
    user = session.get_one(User, actor.user_id, with_for_update=True, populate_existing=True)
    before = user.language
    if before is not language:
        user.language = language
        audit.append(
            session,
            "language_chosen",
            actor=actor,
            now=now,
            subject_id=user.id,
            detail={"before": before, "after": language},
        )
    session.commit()


def end_by_token(session: Session, raw: str, now: datetime) -> None:
    """End the session of the browser that signs out."""
    login = session.scalar(
        select(LoginSession).where(
            LoginSession.token_hash == hash_token(raw), LoginSession.ended_at.is_(None)
        )
    )
    if login is None:
        session.commit()
        return
    login.ended_at = now
    if login.step_up_at is not None:
        audit.append(session, "signed_out", actor=actor_of(login.user, login.id), now=now)
    session.commit()


def end_session(session: Session, actor: Actor, session_id: UUID, now: datetime) -> None:
    """End one of one's own sessions, else `Denied`: other people's are ended all at once."""
    login = session.get(LoginSession, session_id)
    if login is None or login.user_id != actor.user_id:
        raise Denied("session")
    if login.ended_at is None:
        login.ended_at = now
        audit.append(session, "session_ended", actor=actor, now=now, subject_id=login.id)
    session.commit()


def end_other_sessions(session: Session, actor: Actor, now: datetime) -> int:
    """End all of the actor's sessions but the one in use; returns how many."""
    count = close_sessions(session, actor.user_id, now, keep=actor.session_id)
    audit.append(session, "other_sessions_ended", actor=actor, now=now, detail={"ended": count})
    session.commit()
    return count


def close_sessions(
    session: Session, user_id: UUID, now: datetime, *, keep: UUID | None = None
) -> int:
    """Mark a person's sessions as ended in the caller's transaction; returns how many.

    Device cookies of the person end as well.
    """
    # The person's row first, as everywhere: two who end the same sessions wait for each other.
    session.execute(
        update(User).where(User.id == user_id).values(device_generation=User.device_generation + 1)
    )
    ended = session.scalars(
        update(LoginSession)
        .where(
            LoginSession.user_id == user_id,
            LoginSession.ended_at.is_(None),
            LoginSession.id != keep if keep is not None else LoginSession.id.is_not(None),
        )
        .values(ended_at=now)
        .returning(LoginSession.id)
    ).all()
    return len(ended)


def sessions_of(
    session: Session, user_id: UUID, now: datetime, *, idle: timedelta = IDLE
) -> list[LoginSession]:
    """A person's live sessions, the latest first."""
    rows = session.scalars(
        select(LoginSession)
        .where(
            LoginSession.user_id == user_id,
            LoginSession.ended_at.is_(None),
            LoginSession.step_up_at.is_not(None),
        )
        .order_by(LoginSession.last_seen.desc())
    )
    return [login for login in rows if _is_live(login, now, idle)]


def live_sessions(session: Session, now: datetime, *, idle: timedelta = IDLE) -> dict[UUID, int]:
    """The number of live sessions of each person who has any."""
    counted = session.execute(
        select(LoginSession.user_id, func.count())
        .where(
            LoginSession.ended_at.is_(None),
            LoginSession.step_up_at.is_not(None),
            LoginSession.expires > now,
            LoginSession.last_seen > now - idle,
        )
        .group_by(LoginSession.user_id)
    ).all()
    return dict(counted)


def live_hashes(session: Session, now: datetime, most: int, *, idle: timedelta = IDLE) -> list[str]:
    """The hashes of the tokens of live sessions with both factors, those seen last at the end."""
    rows = session.scalars(
        select(LoginSession.token_hash)
        .join(LoginSession.user)
        .where(
            LoginSession.ended_at.is_(None),
            LoginSession.step_up_at.is_not(None),
            LoginSession.expires > now,
            LoginSession.last_seen > now - idle,
            User.disabled_at.is_(None),
        )
        .order_by(LoginSession.last_seen.desc())
        .limit(most)
    ).all()
    session.commit()
    return list(reversed(rows))


def _is_live(login: LoginSession, now: datetime, idle: timedelta) -> bool:
    return login.ended_at is None and now < login.expires and now < login.last_seen + idle

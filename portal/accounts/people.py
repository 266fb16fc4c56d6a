"""People: who may come in, and what happens to them.

Owns users. Passwords, invitations, second factors, login sessions, API tokens and the throttle have
modules of their own; what callers need of them is named here too, so that `people` is the one door
to everything about a person.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.accounts import passwords, role_changes
from portal.accounts.api_tokens import (
    BadToken,
    actor_of_token,
    create_token,
    load_token,
    revoke_all,
    revoke_token,
    tokens_of,
)
from portal.accounts.invitations import (
    RESET_LIFETIME,
    BadPerson,
    accept_invitation,
    invite,
    link_for_reset,
    open_invitation,
    waiting_invitations,
    withdraw_invitation,
    withdraw_sent_to,
)
from portal.accounts.passkeys import (
    BadPasskey,
    ask_passkey,
    begin_passkey,
    check_passkey,
    passkeys_of,
    register_passkey,
    remove_passkey,
)
from portal.accounts.passwords import BadPassword
from portal.accounts.sessions import (
    actor_of,
    came_from,
    close_sessions,
    end_by_token,
    end_other_sessions,
    end_session,
    live_sessions,
    load_session,
    look_again,
    prove,
    sessions_of,
    start_session,
)
from portal.accounts.teams import make_team, rename_team, teams
from portal.accounts.throttle import (
    ACCOUNT,
    ADDRESS,
    EVERYWHERE,
    STEP_UP,
    Throttle,
    Throttled,
    at,
    origin,
)
from portal.accounts.totp import (
    BadCode,
    begin_totp,
    check_second_factor,
    confirm_totp,
    drop_factor,
    new_recovery_codes,
    qr_code,
    recovery_codes_left,
    waiting_totp,
)
from portal.models import Invitation, LoginSession, Role, Team, User
from portal.vault import Vault

__all__ = [
    "BadCode",
    "BadPasskey",
    "BadPassword",
    "BadPerson",
    "BadToken",
    "Throttled",
    "accept_invitation",
    "actor_of",
    "actor_of_token",
    "ask_passkey",
    "begin_passkey",
    "begin_totp",
    "change_password",
    "check_passkey",
    "check_password",
    "check_second_factor",
    "confirm_identity",
    "confirm_totp",
    "create_token",
    "disable",
    "enable",
    "end_by_token",
    "end_other_sessions",
    "end_session",
    "end_sessions_of",
    "invite",
    "live_sessions",
    "load_session",
    "load_token",
    "make_team",
    "move",
    "new_recovery_codes",
    "note_refusal",
    "open_invitation",
    "passkeys_of",
    "people",
    "prove",
    "qr_code",
    "recovery_codes_left",
    "register_passkey",
    "remove_passkey",
    "rename_team",
    "reset_factor",
    "revoke_token",
    "sessions_of",
    "set_role",
    "start_session",
    "teams",
    "tokens_of",
    "waiting_invitations",
    "waiting_totp",
    "withdraw_invitation",
]


def check_password(
    s: Session,
    throttle: Throttle,
    email: str,
    password: str,
    address: str,
    now: datetime,
    *,
    only_local: bool = False,
) -> User | None:
    """The person, if e-mail and password belong together and they are not disabled.

    Takes the same time for people who do not exist. Raises `Throttled` after too many tries: of
    this network address, of this account from here, or of this account from everywhere unless its
    owner has signed in from here before. Strangers can't keep an owner out of their own place.
    `only_local`: no password opens but those of accounts that are flagged for it.
    """
    email = email.strip().lower()
    throttle.take([(ADDRESS, origin(address)), (ACCOUNT, at(email, address))], now)
    # No account has a name with unprintable characters, and no database is asked for a NUL.
    user = s.scalar(select(User).where(User.email == (email if email.isprintable() else "")))
    known_here = {origin(one) for one in came_from(s, user.id if user else None, now)}
    s.commit()  # hashing takes its time: let others write meanwhile
    if origin(address) not in known_here:
        throttle.take([(EVERYWHERE, email)], now)
    right = passwords.verify(user.password_hash if user else None, password)
    shut = user is not None and only_local and not user.local_sign_in
    if user is None or not right or user.disabled_at is not None or shut:
        failed = actor_of(user) if user else None
        audit.append(s, "sign_in_refused", actor=failed, now=now, address=address)
        s.commit()
        return None
    throttle.forgive(ACCOUNT, at(email, address))
    if user.password_hash and passwords.is_outdated(user.password_hash):
        user.password_hash = passwords.hash_password(password)
        s.commit()
    return user


def change_password(
    s: Session,
    throttle: Throttle,
    login: LoginSession,
    old: str,
    new: str,
    now: datetime,
    *,
    address: str = "",
) -> bool:
    """Change one's own password; False when `old` is wrong.

    Ends all sessions, the one in use too, and all API tokens. Raises `BadPassword` when the new one
    breaks a rule, and `Throttled` after too many tries of this login session.
    """
    user, actor = login.user, actor_of(login.user, login.id, address)
    throttle.take([(STEP_UP, str(login.id))], now)
    s.commit()
    if not passwords.verify(user.password_hash, old):
        _note_wrong_password(s, actor, "change_password", now)
        return False
    if old == new:
        raise BadPassword("This is the password that you have. Choose another.")
    passwords.check_new(new, (user.name, user.email))
    user.password_hash = passwords.hash_password(new)
    close_sessions(s, user.id, now)
    ended = {"tokens": revoke_all(s, user.id, now)}
    audit.append(s, "password_changed", actor=actor, now=now, detail=ended)
    s.commit()
    throttle.forgive(STEP_UP, str(login.id))  # not before: a refused one took its time too
    return True


def confirm_identity(
    s: Session,
    vault: Vault,
    throttle: Throttle,
    login: LoginSession,
    *,
    password: str,
    code: str,
    now: datetime,
    address: str = "",
) -> bool:
    """Check password and second factor of somebody who is signed in, before something grave.

    Who signs in elsewhere and has no password here gives the second factor alone. The session
    counts as freshly proved afterwards. Raises `Throttled` after too many tries of this
    login session; who is not signed in can't use these up.
    """
    user = login.user
    throttle.take([(STEP_UP, str(login.id))], now)
    s.commit()
    elsewhere = user.password_hash is None and user.sso_key is not None
    if not elsewhere and not passwords.verify(user.password_hash, password):
        _note_wrong_password(s, actor_of(user, login.id, address), "confirm", now)
        return False
    if not check_second_factor(s, vault, user, code, now, session_id=login.id, address=address):
        return False
    throttle.forgive(STEP_UP, str(login.id))
    prove(s, login, now, address=address)
    return True


def people(s: Session) -> list[User]:
    """Everybody, by name."""
    return list(s.scalars(select(User).order_by(User.name, User.email)))


def set_role(
    s: Session, actor: Actor, user_id: UUID, role: Role, now: datetime
) -> tuple[User, bool]:
    """Give somebody another role. Their sessions and API tokens end, so that the old rights do.

    So do the links that they made while they managed people. Nobody changes their own role, and
    a way to patients' data, to the log or to the administration sets off an alarm. Returns also
    whether anything changed.
    """
    user = _other_person(s, actor, user_id)
    changed = role_changes.change(s, actor, user, now, role=role)
    s.commit()
    return user, changed


def move(
    s: Session, actor: Actor, user_id: UUID, team_id: UUID, now: datetime
) -> tuple[User, bool]:
    """Put somebody into another team: they see its cases and no longer those of the one before.

    Sessions, tokens and broken glass end, and auditors get an alarm, as with a new role. Returns
    also whether anything changed.
    """
    user = _other_person(s, actor, user_id)
    team = s.get(Team, team_id)
    if team is None:
        s.rollback()
        raise BadPerson("team", "Choose one of the teams.")
    changed = role_changes.change(s, actor, user, now, team=team)
    s.commit()
    return user, changed


def disable(s: Session, actor: Actor, user_id: UUID, now: datetime) -> User:
    """Shut somebody out at once: sessions and tokens end, and the links that they made or got.

    Nothing is deleted.
    """
    user = _other_person(s, actor, user_id)
    if user.disabled_at is None:
        user.disabled_at = now
        got = withdraw_sent_to(s, user.email, now)
        ended = role_changes.end_all(s, actor, user, now) | {"links_got": got}
        audit.append(s, "person_disabled", actor=actor, now=now, subject_id=user.id, detail=ended)
    s.commit()
    return user


def enable(s: Session, actor: Actor, user_id: UUID, now: datetime) -> User:
    """Let somebody in again, with the password and factor they had. Tokens stay revoked."""
    user = _other_person(s, actor, user_id)
    if user.disabled_at is not None:
        user.disabled_at = None
        audit.append(s, "person_enabled", actor=actor, now=now, subject_id=user.id)
    s.commit()
    return user


def reset_factor(
    s: Session,
    actor: Actor | None,
    user_id: UUID,
    now: datetime,
    *,
    lifetime: timedelta = RESET_LIFETIME,
) -> tuple[Invitation, str]:
    """Take password and second factor away and return a one-time link to set both anew.

    Neither the old password nor the old codes open anything in between, and the person's API tokens
    end. Only the command line resets without an actor.
    """
    user = _user(s, user_id) if actor is None else _other_person(s, actor, user_id)
    user.password_hash = None
    drop_factor(s, user)
    close_sessions(s, user.id, now)
    revoke_all(s, user.id, now)
    return link_for_reset(s, actor, user, lifetime, now)


def end_sessions_of(s: Session, actor: Actor, user_id: UUID, now: datetime) -> int:
    """End all sessions of somebody; returns how many."""
    actor.require(Permission.PEOPLE_MANAGE)
    user = _user(s, user_id)
    count = close_sessions(s, user.id, now)
    audit.append(
        s, "all_sessions_ended", actor=actor, now=now, subject_id=user.id, detail={"ended": count}
    )
    s.commit()
    return count


def note_refusal(
    s: Session, actor: Actor, what: str, now: datetime, *, study_id: UUID | None = None
) -> None:
    """Write down that somebody asked for what is not theirs: a permission or a kind of row.

    `study_id` is the case that they asked for, whether or not there is such a one.
    """
    s.rollback()
    audit.append(
        s, "access_refused", actor=actor, now=now, study_id=study_id, detail={"what": what}
    )
    s.commit()


def _note_wrong_password(s: Session, actor: Actor, where: str, now: datetime) -> None:
    audit.append(s, "password_refused", actor=actor, now=now, detail={"where": where})
    s.commit()


def _other_person(s: Session, actor: Actor, user_id: UUID) -> User:
    """Somebody whom the actor may change, both rows locked.

    Not themselves, and not who has lost the right meanwhile: of two admins who shut each other out
    at the same moment one stays, so that somebody can still let people in.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    user = _user(s, user_id)
    if user.id == actor.user_id:
        s.rollback()
        raise BadPerson("person", "You cannot do this to yourself. Ask another administrator.")
    look_again(s, actor, Permission.PEOPLE_MANAGE, user.id)
    return user


def _user(s: Session, user_id: UUID) -> User:
    user = s.get(User, user_id)
    if user is None:
        s.rollback()
        raise Denied("person")
    return user

"""People: passwords, roles, teams, and disabled accounts.

Owns users. Passwords, invitations, second factors, login sessions, API tokens and the throttle are
modules of their own.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.accounts import role_changes
from portal.accounts.api_tokens import revoke_all
from portal.accounts.device_cookies import DeviceCookie
from portal.accounts.factors import passkeys, passwords
from portal.accounts.factors.totp import check_second_factor, drop_factor
from portal.accounts.invitations import RESET_LIFETIME, link_for_reset, withdraw_sent_to
from portal.accounts.sessions import (
    actor_of,
    close_sessions,
    lock_unchanged,
    recent_addresses,
    recheck_permission,
    record_confirmation,
)
from portal.accounts.throttle import (
    ACCOUNT,
    ADDRESS,
    DEVICE,
    EVERYWHERE,
    STEP_UP,
    Throttle,
    at,
    origin,
)
from portal.errors import Invalid
from portal.languages import _
from portal.models import DicomNode, Hl7Node, Invitation, LoginSession, Role, Team, User
from portal.vault import Vault

# The accounts of DICOM and HL7 nodes are nobody's: no page shows or changes them.
_NODES: Final = select(DicomNode.user_id).union(select(Hl7Node.user_id))


def check_password(
    session: Session,
    throttle: Throttle,
    email: str,
    password: str,
    address: str,
    now: datetime,
    *,
    only_local: bool = False,
    device_cookie: DeviceCookie | None = None,
) -> User | None:
    """The person, if e-mail and password belong together and they are not disabled.

    Takes the same time for people who do not exist. Raises `Throttled` after too many tries: of
    this network address, of this account from here, or of this account from everywhere unless its
    owner has signed in from here before. A browser with a device cookie of this account is counted
    for itself alone, so that others' tries don't lock the owner out of a known place.
    `only_local`: no password opens but those of accounts that are flagged for it.
    """
    email = email.strip().lower()
    by_address = [(ADDRESS, origin(address)), (ACCOUNT, at(email, address))]
    device = device_cookie.read(email, now) if device_cookie else None
    if device is None:
        throttle.take(by_address, now)  # before the database is asked
    # No account has a name with unprintable characters, and no database is asked for a NUL.
    user = session.scalar(select(User).where(User.email == (email if email.isprintable() else "")))
    known_here = {origin(one) for one in recent_addresses(session, user.id if user else None, now)}
    session.commit()  # hashing takes its time: let others write meanwhile
    if device is not None and not device.is_of(user):
        device = None
        throttle.take(by_address, now)
    if device is not None:
        throttle.take([(DEVICE, device.number)], now)
    elif origin(address) not in known_here:
        throttle.take([(EVERYWHERE, email)], now)
    right = passwords.verify(user.password_hash if user else None, password)
    closed = user is not None and only_local and not user.local_sign_in
    if user is None or not right or user.disabled_at is not None or closed:
        failed = actor_of(user) if user else None
        audit.append(session, "sign_in_refused", actor=failed, now=now, address=address)
        session.commit()
        return None
    if device is not None:
        throttle.forgive(DEVICE, device.number)
    else:
        throttle.forgive(ACCOUNT, at(email, address))
    if user.password_hash and passwords.is_outdated(user.password_hash):
        again = passwords.hash_password(password)
        session.execute(  # unless it was changed or taken away meanwhile
            update(User)
            .where(User.id == user.id, User.password_hash == user.password_hash)
            .values(password_hash=again)
        )
        session.commit()
    return user


def change_password(
    session: Session,
    throttle: Throttle,
    login: LoginSession,
    old: str,
    new: str,
    now: datetime,
    *,
    address: str = "",
) -> bool:
    """Change one's own password; False when `old` is wrong.

    Ends all sessions, the one in use too, and all API tokens. Raises `Invalid` when the new one
    breaks a rule, `Throttled` after too many tries of this login session, and `SignedOut` where it
    was ended meanwhile.
    """
    user, actor = login.user, actor_of(login.user, login.id, address)
    throttle.take([(STEP_UP, str(login.id))], now)
    session.commit()
    if not passwords.verify(user.password_hash, old):
        _note_wrong_password(session, actor, "change_password", now)
        return False
    if old == new:
        raise Invalid("password", _("This is the password that you have. Choose another."))
    passwords.check_new(new, (user.name, user.email))
    hashed = passwords.hash_password(new)
    lock_unchanged(session, user)
    user.password_hash = hashed
    close_sessions(session, user.id, now)
    ended = {"tokens": revoke_all(session, user.id, now)}
    audit.append(session, "password_changed", actor=actor, now=now, detail=ended)
    session.commit()
    throttle.forgive(STEP_UP, str(login.id))  # not before: a refused one took its time too
    return True


def confirm_identity(
    session: Session,
    vault: Vault,
    throttle: Throttle,
    login: LoginSession,
    *,
    password: str,
    code: str,
    now: datetime,
    address: str = "",
    passkey: tuple[passkeys.Site, str] | None = None,
) -> bool:
    """Check password and second factor of a signed-in person before a sensitive action.

    `passkey`: where passkeys belong to and what one of them has signed, instead of a code.

    Who signs in elsewhere and has no password here gives the second factor alone. The session
    counts as freshly proved afterwards. Raises `Throttled` after too many tries of this
    login session; who is not signed in can't use these up.
    """
    user = login.user
    throttle.take([(STEP_UP, str(login.id))], now)
    session.commit()
    elsewhere = user.password_hash is None and user.sso_key is not None
    if not elsewhere and not passwords.verify(user.password_hash, password):
        _note_wrong_password(session, actor_of(user, login.id, address), "confirm", now)
        return False
    if passkey is not None:
        site, credential = passkey
        proved = passkeys.check_passkey(
            session, throttle, site, login, credential, now, address=address
        )
    else:
        proved = check_second_factor(
            session, vault, user, code, now, session_id=login.id, address=address
        )
    if not proved:
        return False
    throttle.forgive(STEP_UP, str(login.id))
    record_confirmation(session, login, now, address=address, by_passkey=passkey is not None)
    return True


def people(session: Session) -> list[User]:
    """Everybody, by name; not the accounts in whose names nodes send."""
    rows = select(User).where(User.id.not_in(_NODES)).order_by(User.name, User.email)
    return list(session.scalars(rows))


def set_role(
    session: Session, actor: Actor, user_id: UUID, role: Role, now: datetime
) -> tuple[User, bool]:
    """Give a person another role. Their sessions and API tokens end, so that the old rights do.

    So do the links that they made while they managed people. Nobody changes their own role, and
    a way to patients' data, to the log or to the administration sets off an alarm. Returns also
    whether anything changed.
    """
    user = _other_person(session, actor, user_id)
    changed = role_changes.change(session, actor, user, now, role=role)
    session.commit()
    return user, changed


def move(
    session: Session, actor: Actor, user_id: UUID, team_id: UUID, now: datetime
) -> tuple[User, bool]:
    """Move a person to another team: they see its cases and no longer those of the one before.

    Sessions, tokens and emergency access end, and auditors get an alarm, as with a new role.
    Returns also whether anything changed.
    """
    user = _other_person(session, actor, user_id)
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Invalid("team", _("Choose one of the teams."))
    changed = role_changes.change(session, actor, user, now, team=team)
    session.commit()
    return user, changed


def disable(session: Session, actor: Actor, user_id: UUID, now: datetime) -> User:
    """Disable an account at once: sessions and tokens end, and the links that they made or got.

    Nothing is deleted.
    """
    user = _other_person(session, actor, user_id)
    if user.disabled_at is None:
        user.disabled_at = now
        got = withdraw_sent_to(session, user.email, now)
        ended = role_changes.end_all(session, actor, user, now) | {"links_got": got}
        audit.append(
            session, "person_disabled", actor=actor, now=now, subject_id=user.id, detail=ended
        )
    session.commit()
    return user


def enable(session: Session, actor: Actor, user_id: UUID, now: datetime) -> User:
    """Enable an account again, with the password and factor it had. Tokens stay revoked."""
    user = _other_person(session, actor, user_id)
    if user.disabled_at is not None:
        user.disabled_at = None
        audit.append(session, "person_enabled", actor=actor, now=now, subject_id=user.id)
    session.commit()
    return user


def reset_factor(
    session: Session,
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
    if actor is None:  # locked, as `_other_person` does: nothing is set up anew meanwhile
        user = _user(session, user_id, lock=True)
    else:
        user = _other_person(session, actor, user_id)
    user.password_hash = None
    drop_factor(session, user)
    close_sessions(session, user.id, now)
    revoke_all(session, user.id, now)
    return link_for_reset(session, actor, user, lifetime, now)


def end_sessions_of(session: Session, actor: Actor, user_id: UUID, now: datetime) -> int:
    """End all sessions of a person; returns how many."""
    actor.require(Permission.PEOPLE_MANAGE)
    user = _user(session, user_id)
    count = close_sessions(session, user.id, now)
    audit.append(
        session,
        "all_sessions_ended",
        actor=actor,
        now=now,
        subject_id=user.id,
        detail={"ended": count},
    )
    session.commit()
    return count


def note_refusal(
    session: Session, actor: Actor, what: str, now: datetime, *, study_id: UUID | None = None
) -> None:
    """Log that a person asked for what is not theirs: a permission or a kind of row.

    `study_id` is the case that they asked for, whether or not there is such a one.
    """
    session.rollback()
    audit.append(
        session, "access_refused", actor=actor, now=now, study_id=study_id, detail={"what": what}
    )
    session.commit()


def _note_wrong_password(session: Session, actor: Actor, where: str, now: datetime) -> None:
    audit.append(session, "password_refused", actor=actor, now=now, detail={"where": where})
    session.commit()


def _other_person(session: Session, actor: Actor, user_id: UUID) -> User:
    """The person to change, another than the actor; both rows are locked.

    The actor's right is checked under the lock: of two admins who disable each other at the same
    moment one remains, so that the portal still has an admin.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    user = _user(session, user_id)
    if user.id == actor.user_id:
        session.rollback()
        raise Invalid("person", _("You cannot do this to yourself. Ask another administrator."))
    recheck_permission(session, actor, Permission.PEOPLE_MANAGE, user.id)
    return user


def _user(session: Session, user_id: UUID, *, lock: bool = False) -> User:
    locked: dict[str, Any] = {"with_for_update": {"key_share": True}, "populate_existing": True}
    user = session.get(User, user_id, **(locked if lock else {}))
    of_node = select(User.id).where(User.id == user_id, User.id.in_(_NODES))
    if user is None or session.scalar(of_node) is not None:
        session.rollback()
        raise Denied("person")
    return user

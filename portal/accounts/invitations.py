"""Invitations: one-time, expiring links to a new account, or to a new password and factor.

The link holds a random token, the row its SHA-256. Nobody has an account before they follow one.
"""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.accounts.factors import passwords
from portal.accounts.sessions import actor_of, close_sessions, hash_token, recheck_permission
from portal.accounts.throttle import LINK, Throttle
from portal.audit import alarms
from portal.database import lock_table, rows_changed
from portal.errors import Invalid
from portal.languages import _
from portal.models import Invitation, InvitationPurpose, Role, Team, User

LIFETIME = timedelta(days=3)
RESET_LIFETIME = timedelta(hours=24)
_LONGEST_NAME, _LONGEST_EMAIL = 200, 254
_EVENTS = {InvitationPurpose.INVITE: "person_invited", InvitationPurpose.RESET: "factor_reset"}
_HOW = {InvitationPurpose.INVITE: "invited", InvitationPurpose.RESET: "reset"}


def invite(
    session: Session,
    actor: Actor | None,
    *,
    name: str,
    email: str,
    role: Role,
    now: datetime,
    team: str | None = None,
    lifetime: timedelta = LIFETIME,
) -> tuple[Invitation, str]:
    """Invite a person; returns the invitation and the token of the link `/join/<token>`.

    The team is found or made by its name; without a name it is the inviting person's own. Only
    the command line invites without an actor. An older invitation to the same address stops
    working. Nobody invites their own mailbox, and access to patients' data raises an
    alarm. Raises `Invalid`, and `Denied` for whoever may not manage people.
    """
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)
    name, email = " ".join(name.split()), email.strip().lower()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Invalid("name", _("Give a name of at most 200 characters."))
    if not is_address(email):
        raise Invalid("email", _("This is not an e-mail address."))
    if actor is not None and _mailbox(session.get_one(User, actor.user_id).email) == _mailbox(
        email
    ):
        session.rollback()
        raise Invalid("email", _("This is your own address. Ask another administrator."))
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        session.rollback()
        raise Invalid("email", _("There is an account with this address already."))
    if actor is not None:
        recheck_permission(session, actor, Permission.PEOPLE_MANAGE)
    team_id = _team_id(session, actor, team, now)
    lock_table(
        session, Invitation
    )  # of two to one address at once, the later withdraws the earlier
    withdraw_sent_to(session, email, now)
    return _make_invitation(
        session,
        actor,
        Invitation(
            purpose=InvitationPurpose.INVITE,
            email=email,
            name=name,
            role=role,
            team_id=team_id,
        ),
        lifetime,
        now,
    )


def open_invitation(session: Session, token: str, now: datetime) -> Invitation | None:
    """The invitation behind a link that still works: a reset not while its person is disabled."""
    found = session.scalar(
        select(Invitation)
        .outerjoin(User, User.id == Invitation.user_id)
        .where(
            Invitation.token_hash == hash_token(token),
            Invitation.used_at.is_(None),
            Invitation.expires > now,
            User.disabled_at.is_(None),
        )
    )
    session.commit()
    return found


def waiting_invitations(session: Session, now: datetime) -> list[Invitation]:
    """Invitations that nobody has followed yet and that still work, the newest first."""
    return list(
        session.scalars(
            select(Invitation)
            .where(Invitation.used_at.is_(None), Invitation.expires > now)
            .order_by(Invitation.created.desc())
        )
    )


def withdraw_invitation(session: Session, actor: Actor, invitation_id: UUID, now: datetime) -> None:
    """Make a link useless that was sent out. Raises `Invalid` where it was followed before."""
    actor.require(Permission.PEOPLE_MANAGE)
    # Locked: who follows the link at this moment has followed it, or finds that it does not work.
    found = session.get(Invitation, invitation_id, with_for_update=True, populate_existing=True)
    if found is None:
        session.rollback()
        raise Denied("invitation")
    if found.used_at is not None:
        session.rollback()
        raise Invalid("invitation", _("This link was followed already: the person has an account."))
    if found.expires > now:
        found.expires = now
        audit.append(session, "invitation_withdrawn", actor=actor, now=now, subject_id=found.id)
    session.commit()


def accept_invitation(
    session: Session,
    token: str,
    *,
    password: str,
    now: datetime,
    signed_in: UUID | None = None,
    throttle: Throttle | None = None,
) -> User:
    """Use the link: make the person, or give a known one a new password. The factor comes next.

    `signed_in` is whose session the browser held: when it is the person who made the link, an
    alarm is raised. Raises `Invalid` (the link stays usable), `Denied` when the link does not work
    or stopped working while the password was hashed, and `Throttled` after too many tries of it.
    """
    found = open_invitation(session, token, now)
    if found is None:
        raise Denied("invitation")
    if throttle is not None:
        throttle.take([(LINK, str(found.id))], now)
    passwords.check_new(password, (found.name, found.email))
    hashed = passwords.hash_password(password)
    if found.user_id is not None:  # locked before the link, in the same order as `people.disable`
        session.get_one(User, found.user_id, with_for_update={"key_share": True})
    used = session.execute(
        update(Invitation)
        .where(
            Invitation.id == found.id,
            Invitation.used_at.is_(None),
            Invitation.expires == found.expires,  # whatever withdraws a link moves its end
        )
        .values(used_at=now)
    )
    if rows_changed(used) != 1:
        session.rollback()
        raise Denied("invitation")  # followed twice at once, or withdrawn meanwhile
    if found.user_id is not None:
        user = session.get_one(User, found.user_id)
        user.password_hash = hashed
        close_sessions(session, user.id, now)
    else:
        user = User(
            name=found.name,
            email=found.email,
            role=found.role,
            team_id=found.team_id,
            password_hash=hashed,
            local_sign_in=found.invited_by is None,
            created=now,
        )
        session.add(user)
    try:
        session.flush()
    except IntegrityError:  # this address has an account meanwhile
        session.rollback()
        raise Denied("invitation") from None
    audit.append(session, "person_joined", actor=actor_of(user), now=now, subject_id=found.id)
    if signed_in is not None and signed_in == found.invited_by:
        maker = actor_of(session.get_one(User, signed_in))
        detail = {"role": user.role.value}
        alarms.raise_alarm(
            session,
            "inviter_followed_link",
            actor=maker,
            now=now,
            subject_id=user.id,
            detail=detail,
        )
    session.commit()
    return user


def link_for_reset(
    session: Session, actor: Actor | None, user: User, lifetime: timedelta, now: datetime
) -> tuple[Invitation, str]:
    """A link by which a known person sets password and second factor anew."""
    withdraw_sent_to(session, user.email, now)
    return _make_invitation(
        session,
        actor,
        Invitation(
            purpose=InvitationPurpose.RESET,
            email=user.email,
            name=user.name,
            role=user.role,
            team_id=user.team_id,
            user_id=user.id,
        ),
        lifetime,
        now,
    )


def _make_invitation(
    session: Session,
    actor: Actor | None,
    invitation: Invitation,
    lifetime: timedelta,
    now: datetime,
) -> tuple[Invitation, str]:
    token = secrets.token_urlsafe(32)
    invitation.token_hash = hash_token(token)
    invitation.invited_by = actor.user_id if actor else None
    invitation.created, invitation.expires = now, now + lifetime
    session.add(invitation)
    session.flush()
    audit.append(
        session,
        _EVENTS[invitation.purpose],
        actor=actor,
        now=now,
        subject_id=invitation.user_id or invitation.id,
        detail={"role": invitation.role.value, "team": str(invitation.team_id)},
    )
    alarms.raise_role_alarm(
        session,
        invitation.role,
        how=_HOW[invitation.purpose],
        now=now,
        actor=actor,
        subject_id=invitation.user_id or invitation.id,
    )
    session.commit()
    return invitation, token


def withdraw_made_by(session: Session, user_id: UUID, now: datetime) -> int:
    """Make useless, in the caller's transaction, the links that a person made; returns how many."""
    return _withdraw(session, Invitation.invited_by == user_id, now)


def withdraw_sent_to(session: Session, email: str, now: datetime) -> int:
    """Make useless, in the caller's transaction, the links sent to an address; returns how many."""
    return _withdraw(session, Invitation.email == email, now)


def _withdraw(session: Session, which: ColumnElement[bool], now: datetime) -> int:
    ended = session.scalars(
        update(Invitation)
        .where(which, Invitation.used_at.is_(None), Invitation.expires > now)
        .values(expires=now)
        .returning(Invitation.id)
    ).all()
    return len(ended)


def _team_id(session: Session, actor: Actor | None, name: str | None, now: datetime) -> UUID:
    if not (name or "").strip() and actor is not None:
        return actor.team_id
    wanted = team_name(session, name or "Radiology")
    lock_table(session, Team)
    for team in session.scalars(select(Team)):
        if team.name.casefold() == wanted.casefold():
            return team.id
    made = Team(name=wanted, created=now)
    session.add(made)
    session.flush()
    audit.append(session, "team_made", actor=actor, now=now, subject_id=made.id)
    return made.id


def team_name(session: Session, text: str) -> str:
    """A team's name as it is stored; raises `Invalid` where it can't be read."""
    wanted = " ".join(text.split())[:200].strip()
    if not wanted or not wanted.isprintable():
        session.rollback()
        raise Invalid("team", _("Give the team's name as it is to be read, without other signs."))
    return wanted


def _mailbox(email: str) -> str:
    """The mailbox of an address: what follows a plus is a label of the person's own."""
    local, _, host = email.partition("@")
    return f"{local.partition('+')[0]}@{host}"


def is_address(email: str) -> bool:
    """Whether it looks like an e-mail address: one @, a name before it, a host after it."""
    local, at, host = email.partition("@")
    plain = email.isprintable() and not any(character.isspace() for character in email)
    return (
        bool(local and at and host) and "@" not in host and plain and len(email) <= _LONGEST_EMAIL
    )

"""Single sign-on: from the claims of an OpenID Connect provider to an account, its role and team.

The provider stands for the password alone: the second factor stays Pleura's. Who is in no mapped
group, or was not invited, gets nothing; a group that changes later changes role and team too.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.accounts import role_changes
from portal.accounts.invitations import is_address, withdraw_sent_to
from portal.accounts.openid_connect import SignInRefused
from portal.accounts.sessions import actor_of
from portal.audit import alarms
from portal.formats.display_text import clean
from portal.models import Invitation, InvitationPurpose, Role, Team, User
from portal.settings.single_sign_on import Mapped, SingleSignOn


def person_of(
    session: Session,
    sso: SingleSignOn,
    claims: Mapping[str, Any],
    now: datetime,
    *,
    address: str = "",
) -> User:
    """The account of the person in the claims: known, linked by a verified address, or new.

    Raises `SignInRefused`: no mapped group, no invitation, disabled, no usable address, or a second
    factor that was reset, whose link has to be followed. Who is in no mapped group any more loses
    what is open for them at this moment.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise SignInRefused("token")
    key = hashlib.sha256(f"{sso.issuer}\n{subject}".encode()).hexdigest()
    # Locked: of two sign-ins at once, or beside an administrator, role and team change once.
    user = session.scalar(
        select(User)
        .where(User.sso_key == key)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    mapped = _mapped(sso, claims)
    if user is not None and user.disabled_at is not None:
        raise SignInRefused("disabled")
    if sso.provision == "mapped":
        if mapped is None:
            if user is not None:
                _shut_out(session, user, now, address)
            raise SignInRefused("group")
        user = user or _link(session, claims, key, now, address)
        if user is None:
            team = _team(session, mapped, now)
            return _join(session, claims, key, Role(mapped.role), team, now, address, alarm=True)
        _check_not_reset(user)
        _keep_in_step(session, user, mapped, now, address)
    elif user is None:
        user = _link(session, claims, key, now, address) or _invited(
            session, claims, key, now, address
        )
    _check_not_reset(user)
    session.commit()
    return user


def _check_not_reset(user: User) -> None:
    """Who has had a second factor sets up the next by the link of the reset.

    The provider stands for the password alone: it gives nobody a new factor.
    """
    if user.enrolled_at is not None and user.sealed_totp is None:
        raise SignInRefused("reset")


def note_refusal(session: Session, why: str, now: datetime, address: str) -> None:
    """Log that a sign-in through the provider was refused."""
    session.rollback()
    audit.append(session, "sso_refused", now=now, address=address, detail={"why": why})
    session.commit()


def _mapped(sso: SingleSignOn, claims: Mapping[str, Any]) -> Mapped | None:
    """The first of the mapped groups, in their order in the settings, that the person is in."""
    sent = claims.get(sso.claim)
    held = {sent} if isinstance(sent, str) else set()
    if isinstance(sent, list):
        held = {one for one in sent if isinstance(one, str)}
    return next((one for one in sso.groups if one.group in held), None)


def _link(
    session: Session, claims: Mapping[str, Any], key: str, now: datetime, address: str
) -> User | None:
    """The account that has this address already; linked only if the provider has verified it."""
    email = _email(claims)
    named = select(User).where(User.email == email)
    user = session.scalar(  # locked: of two who name one address at once, one is linked
        named.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if user is None:
        return None
    taken = user.sso_key is not None or user.local_sign_in
    if taken or claims.get("email_verified") is not True or user.disabled_at is not None:
        raise SignInRefused("email")
    user.sso_key = key
    audit.append(session, "sso_linked", actor=actor_of(user), now=now, address=address)
    return user


def _invited(
    session: Session, claims: Mapping[str, Any], key: str, now: datetime, address: str
) -> User:
    if claims.get("email_verified") is not True:
        raise SignInRefused("email")
    used = session.execute(
        update(Invitation)
        .where(
            Invitation.email == _email(claims),
            Invitation.purpose == InvitationPurpose.INVITE,
            Invitation.used_at.is_(None),
            Invitation.expires > now,
        )
        .values(used_at=now)
        .returning(Invitation.role, Invitation.team_id)
    ).first()
    if used is None:
        raise SignInRefused("invitation")
    return _join(session, claims, key, used.role, session.get_one(Team, used.team_id), now, address)


def _join(
    session: Session,
    claims: Mapping[str, Any],
    key: str,
    role: Role,
    team: Team,
    now: datetime,
    address: str,
    alarm: bool = False,
) -> User:
    """A new account. alarm: for a role over others that no invitation has named."""
    email = _email(claims)
    name = claims.get("name")
    user = User(
        name=(clean(name, 200) if isinstance(name, str) else "") or email,
        email=email,
        role=role,
        team_id=team.id,
        sso_key=key,
        created=now,
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError:
        raise SignInRefused("email") from None  # the same person came twice at once
    links = withdraw_sent_to(session, email, now)
    detail: audit.Detail = {"how": "sso", "role": role.value, "links": links}
    actor = actor_of(user, address=address)
    audit.append(session, "person_joined", actor=actor, now=now, address=address, detail=detail)
    if alarm and role in (Role.ADMIN, Role.AUDITOR):
        alarms.raise_role_alarm(session, role, how="sso", now=now, actor=actor, subject_id=user.id)
    session.commit()
    return user


def _keep_in_step(
    session: Session, user: User, mapped: Mapped, now: datetime, address: str
) -> None:
    """Role and team by today's groups; a change ends what was open under the old ones."""
    actor = actor_of(user, address=address)
    team = _team(session, mapped, now) if mapped.team else None
    role_changes.change(session, actor, user, now, role=Role(mapped.role), team=team, how="sso")


def _shut_out(session: Session, user: User, now: datetime, address: str) -> None:
    """End what is open for a person who is in no mapped group any more."""
    actor = actor_of(user, address=address)
    ended = role_changes.end_all(session, actor, user, now)
    if any(ended.values()):
        detail: audit.Detail = {**ended, "how": "sso"}
        audit.append(
            session, "all_sessions_ended", actor=actor, now=now, subject_id=user.id, detail=detail
        )
    session.commit()


def _team(session: Session, mapped: Mapped, now: datetime) -> Team:
    query = select(Team).order_by(Team.created, Team.id)
    team = session.scalars(query.where(Team.name == mapped.team) if mapped.team else query).first()
    if team is None:
        team = Team(name=mapped.team or "Radiology", created=now)
        try:
            with session.begin_nested():
                session.add(team)
        except IntegrityError:  # the first two of a group have come at once
            return session.scalars(select(Team).where(Team.name == team.name)).one()
    return team


def _email(claims: Mapping[str, Any]) -> str:
    sent = claims.get("email")
    email = sent.strip().lower() if isinstance(sent, str) else ""
    if not is_address(email):
        raise SignInRefused("email")
    return email

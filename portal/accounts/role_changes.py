"""Changes of role and team, and what ends with the old rights.

An admin changes them on the People page, the single sign-on issuer by its groups. Both do it here,
so that nothing of the old rights stays open on one way that ends on the other.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from portal import audit
from portal.access import PATIENT_ROLES, Actor, Permission, permissions_of
from portal.accounts import break_glass
from portal.accounts.api_tokens import revoke_all
from portal.accounts.invitations import withdraw_made_by
from portal.accounts.sessions import close_sessions
from portal.audit import alarms
from portal.models import Role, Team, User


def change(
    session: Session,
    actor: Actor,
    user: User,
    now: datetime,
    *,
    role: Role | None = None,
    team: Team | None = None,
    how: str = "",
) -> bool:
    """Give a person another role or team in the caller's transaction; nothing ends without need.

    Returns whether anything changed.

    What was open under the old ones ends for good, and a new way to patients' data, to the log or
    to the administration sets off an alarm. `how`: where it came from, if not from an admin.
    """
    had_role, had_team = user.role, user.team_id
    if role is not None:
        user.role = role
    if team is not None:
        user.team_id, user.team = team.id, team
    is_other_role, is_moved = user.role is not had_role, user.team_id != had_team
    if not is_other_role and not is_moved:
        return False
    keeps_links = Permission.PEOPLE_MANAGE in permissions_of(user.role)
    ended = end_all(session, actor, user, now, keeps_links=keeps_links)
    more: dict[str, str | int] = {**ended, "how": how} if how else {**ended}
    if is_other_role or user.role in PATIENT_ROLES:  # a team gives nothing to anybody else
        how = how or ("role" if is_other_role else "moved")
        alarms.raise_role_alarm(
            session, user.role, how=how, now=now, actor=actor, subject_id=user.id
        )
    if is_other_role:
        detail = more | {"from": had_role.value, "to": user.role.value}
        audit.append(
            session, "role_changed", actor=actor, now=now, subject_id=user.id, detail=detail
        )
    if is_moved:
        detail = more | {"from": str(had_team), "to": str(user.team_id)}
        audit.append(
            session, "person_moved", actor=actor, now=now, subject_id=user.id, detail=detail
        )
    return True


def end_all(
    session: Session, actor: Actor, user: User, now: datetime, *, keeps_links: bool = False
) -> dict[str, int]:
    """End, in the caller's transaction, what is open by a person's rights; returns how many.

    Sessions, emergency access and API tokens; and the links that they made while they managed
    people, unless they still do.
    """
    sessions = close_sessions(session, user.id, now)
    tokens = revoke_all(session, user.id, now)
    links = 0 if keeps_links else withdraw_made_by(session, user.id, now)
    break_glass.end_all_of(session, actor, user.id, now)
    return {"sessions": sessions, "tokens": tokens, "links": links}

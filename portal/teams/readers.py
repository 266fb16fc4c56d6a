"""How many can read a team's exams: its readers whose account is not disabled."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.models import Role, User

# Who reads first, who reads blind, and who decides where these two differ.
TO_DECIDE: Final = 3


def count(session: Session, team_id: UUID) -> int:
    """The number of a team's readers; other roles and disabled people are not among them."""
    query = select(func.count()).where(
        User.team_id == team_id, User.role == Role.READER, User.disabled_at.is_(None)
    )
    return session.scalar(query) or 0

"""Who may do what: permissions, the person who acts, and the one query for visible studies.

Nothing is allowed that is not written here. Lists and single loads share `visible_studies`, so
what is not in somebody's list does not exist for them.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Select, false, select

from portal.models import Role, Study

Via = Literal["session", "token", "cli"]


class Denied(Exception):
    """No right to this. On case routes it is shown as not found."""


class Permission(StrEnum):
    """One thing that a route may ask for. The values are the scopes of API tokens."""

    STUDY_SUBMIT = "study:submit"
    STUDY_LIST = "study:list"
    STUDY_READ = "study:read"
    REVIEW_WRITE = "review:write"
    PEOPLE_MANAGE = "people:manage"
    JOBS_MANAGE = "jobs:manage"
    AUDIT_READ = "audit:read"
    SELF = "self"


ROLE_PERMISSIONS: Final = MappingProxyType(
    {
        Role.TECHNOLOGIST: frozenset(
            {
                Permission.STUDY_SUBMIT,
                Permission.STUDY_LIST,
                Permission.STUDY_READ,
                Permission.SELF,
            }
        ),
        Role.READER: frozenset(
            {
                Permission.STUDY_SUBMIT,
                Permission.STUDY_LIST,
                Permission.STUDY_READ,
                Permission.REVIEW_WRITE,
                Permission.SELF,
            }
        ),
        Role.ADMIN: frozenset({Permission.PEOPLE_MANAGE, Permission.JOBS_MANAGE, Permission.SELF}),
        Role.AUDITOR: frozenset({Permission.AUDIT_READ, Permission.SELF}),
    }
)

# What a token may carry at most, whoever owns it: never the rights of an administrator.
TOKEN_PERMISSIONS: Final = frozenset(
    {
        Permission.STUDY_SUBMIT,
        Permission.STUDY_LIST,
        Permission.STUDY_READ,
        Permission.REVIEW_WRITE,
    }
)


@dataclass(frozen=True, slots=True)
class Actor:
    """The person on whose behalf something happens, with the rights of this one request."""

    user_id: UUID
    team_id: UUID
    role: Role
    permissions: frozenset[Permission]
    session_id: UUID | None = None
    via: Via = "session"
    address: str = ""

    def may(self, permission: Permission) -> bool:
        """Whether the permission is held."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise Denied where the permission is not held."""
        if permission not in self.permissions:
            raise Denied(permission.value)


def permissions_of(role: Role, scopes: list[str] | None = None) -> frozenset[Permission]:
    """The role's permissions; for a token, those of its scopes that the role still has."""
    held = ROLE_PERMISSIONS[role]
    if scopes is None:
        return held
    return held & TOKEN_PERMISSIONS & {p for p in Permission if p.value in scopes}


def visible_studies(actor: Actor) -> Select[Study]:
    """The studies that exist for the actor: a technologist's own uploads, a reader's team's."""
    query = select(Study).where(Study.purged_at.is_(None))
    if actor.role is Role.READER:
        return query.where(Study.team_id == actor.team_id)
    if actor.role is Role.TECHNOLOGIST:
        return query.where(Study.team_id == actor.team_id, Study.uploaded_by == actor.user_id)
    return query.where(false())

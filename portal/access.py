"""Who may do what: permissions, the person who acts, and the queries for studies.

Nothing is allowed that is not listed here. Lists and single loads share `visible_studies`: a case
that is not in a person's list does not exist for them. The one exception is emergency access
(break-glass): `out_of_reach` are the cases that a person may open so, `openable_studies` includes
the one that a grant opens.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, false, not_, or_, select
from sqlalchemy.orm import aliased

from portal.models import Instance, Role, Study

# `dicom`: what a node sends; `dicom_out`, `hl7_out`: what is sent to one; `release`: what leaves
# quarantine.
Via = Literal["session", "token", "cli", "dicom", "dicom_out", "release", "hl7", "hl7_out"]

# Not the table itself: in a query about pictures it would be their row.
_SENT: Final = aliased(Instance, name="sent_picture")


class Denied(Exception):
    """No right to this. On case routes it is shown as not found."""


class Purged(Denied):
    """The exam was purged, and the person could have seen it: they may know what became of it."""


class Permission(StrEnum):
    """One thing that a route may ask for. The values are the scopes of API tokens."""

    STUDY_SUBMIT = "study:submit"
    STUDY_LIST = "study:list"
    STUDY_READ = "study:read"
    REVIEW_WRITE = "review:write"
    PEOPLE_MANAGE = "people:manage"
    JOBS_MANAGE = "jobs:manage"
    MODELS_MANAGE = "models:manage"
    PERFORMANCE_READ = "performance:read"
    AUDIT_READ = "audit:read"
    DATA_MANAGE = "data:manage"
    STUDY_EXPORT = "study:export"
    BREAK_GLASS = "glass:break"
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
                Permission.STUDY_EXPORT,
                Permission.BREAK_GLASS,
                Permission.SELF,
            }
        ),
        Role.ADMIN: frozenset(
            {
                Permission.PEOPLE_MANAGE,
                Permission.JOBS_MANAGE,
                Permission.MODELS_MANAGE,
                Permission.PERFORMANCE_READ,
                Permission.DATA_MANAGE,
                Permission.BREAK_GLASS,
                Permission.SELF,
            }
        ),
        Role.AUDITOR: frozenset({Permission.AUDIT_READ, Permission.SELF}),
    }
)

# The most that a token may carry: never the rights of an administrator.
TOKEN_PERMISSIONS: Final = frozenset(
    {
        Permission.STUDY_SUBMIT,
        Permission.STUDY_LIST,
        Permission.STUDY_READ,
        Permission.STUDY_EXPORT,
        Permission.REVIEW_WRITE,
    }
)

# What a grant allows in the one case that it opens, instead of the role's own: looking.
BREAK_GLASS_PERMISSIONS: Final = frozenset({Permission.STUDY_READ, Permission.SELF})
# Roles that see patients' data in their daily work.
PATIENT_ROLES: Final = frozenset({Role.TECHNOLOGIST, Role.READER})


@dataclass(frozen=True, slots=True)
class Grant:
    """Emergency access of one person to one case, until a time."""

    id: UUID
    study_id: UUID
    until: datetime


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
    grant: Grant | None = None  # set while a case is open by emergency access

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


def under_grant(actor: Actor, grant: Grant) -> Actor:
    """The actor as one who may look at the one case, and do nothing else in this request."""
    return replace(actor, permissions=BREAK_GLASS_PERMISSIONS, grant=grant)


def may_end_grant(actor: Actor, user_id: UUID) -> bool:
    """Whether the actor may close what this person opened: their own, or as who watches over it."""
    watches = actor.may(Permission.AUDIT_READ) or actor.may(Permission.PEOPLE_MANAGE)
    return watches or user_id == actor.user_id


def visible_studies(actor: Actor) -> Select[Study]:
    """The studies that exist for the actor: a reader's team's; of them, for a technologist, those
    of which they sent a picture. A node that gets results has its team's.
    """
    return _there().where(_belongs_to(actor))


def purged_studies(actor: Actor) -> Select[Study]:
    """The purged studies that would exist for the actor otherwise, as `visible_studies` has it."""
    return select(Study).where(Study.purged_at.is_not(None), _belongs_to(actor))


def openable_studies(actor: Actor) -> Select[Study]:
    """The visible studies, and the one that the actor's grant opens. Never for a list."""
    if actor.grant is None:
        return visible_studies(actor)
    opened = Study.id == actor.grant.study_id
    return _there().where(or_(_belongs_to(actor), opened))


def out_of_reach(actor: Actor) -> Select[Study]:
    """The studies that the actor may open by emergency access: those that are not theirs."""
    query = _there()
    if actor.via != "session" or not actor.may(Permission.BREAK_GLASS):
        return query.where(false())
    return query.where(not_(_belongs_to(actor)))


def _there() -> Select[Study]:
    """The studies that are neither purged nor joined into another."""
    return select(Study).where(Study.purged_at.is_(None), Study.joined_into.is_(None))


def _belongs_to(actor: Actor) -> ColumnElement[bool]:
    if actor.role is Role.READER or actor.via in ("dicom_out", "hl7_out"):
        return Study.team_id == actor.team_id
    if actor.role is Role.TECHNOLOGIST:
        # Looked up for each study: a list of all that a person ever sent takes longer to make.
        sent = exists().where(_SENT.uploaded_by == actor.user_id, _SENT.study_id == Study.id)
        return and_(Study.team_id == actor.team_id, sent)
    return false()

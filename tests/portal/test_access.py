"""Rights: a table of roles and permissions, and which studies exist for whom."""

import pytest

from portal.access import Actor, Permission, permissions_of, visible_studies
from portal.models import Role
from tests.support.clinic import Clinic

TABLE = {
    #                          technologist reader  admin  auditor
    Permission.STUDY_SUBMIT: (True, True, False, False),
    Permission.STUDY_LIST: (True, True, False, False),
    Permission.STUDY_READ: (True, True, False, False),
    Permission.REVIEW_WRITE: (False, True, False, False),
    Permission.PEOPLE_MANAGE: (False, False, True, False),
    Permission.JOBS_MANAGE: (False, False, True, False),
    Permission.AUDIT_READ: (False, False, False, True),
    Permission.DATA_MANAGE: (False, False, True, False),
    Permission.STUDY_EXPORT: (False, True, False, False),
    Permission.MODELS_MANAGE: (False, False, True, False),
    Permission.PERFORMANCE_READ: (False, False, True, False),
    Permission.BREAK_GLASS: (False, True, True, False),
    Permission.SELF: (True, True, True, True),
}


@pytest.mark.parametrize("permission", list(Permission))
def test_each_permission_belongs_to_these_roles(permission: Permission) -> None:
    roles = (Role.TECHNOLOGIST, Role.READER, Role.ADMIN, Role.AUDITOR)
    held = tuple(permission in permissions_of(role) for role in roles)
    assert held == TABLE[permission]


def test_a_study_exists_for_its_owner_and_the_readers_of_the_team(clinic: Clinic) -> None:
    clinic.submit()

    def sees(actor: Actor) -> bool:
        with clinic.session as session:
            return bool(session.scalars(visible_studies(actor)).all())

    people = ("owner", "mate", "outsider", "colleague", "admin", "auditor")
    seen = {name: sees(getattr(clinic, name)) for name in people}
    assert seen == {
        "owner": True,
        "mate": True,
        "outsider": False,
        "colleague": False,
        "admin": False,
        "auditor": False,
    }

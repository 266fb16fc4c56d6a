"""What the roles are called."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from portal.languages import lazy
from portal.models import Role

ROLES: Final[Mapping[Role, str]] = MappingProxyType(
    {
        Role.TECHNOLOGIST: lazy("technologist"),
        Role.READER: lazy("reader"),
        Role.ADMIN: lazy("admin"),
        Role.AUDITOR: lazy("auditor"),
    }
)

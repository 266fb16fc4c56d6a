"""Which cases a row of the access log names in its detail: a viewed list names many.

They are in an index beside the row, so that "who saw this case" reads no other rows. The row's MAC
covers the detail, and a check of the log compares the index with it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

_KEYS: Final = ("studies", "same_uid_as")


def studies_named(detail: str | Mapping[str, Any]) -> set[UUID]:
    """The cases of a detail. Empty for one that is no detail: a check of its MAC finds that."""
    if isinstance(detail, str):
        if not any(f'"{key}"' in detail for key in _KEYS):
            return set()
        try:
            detail = json.loads(detail)
        except ValueError:
            return set()
    found = set[UUID]()
    for key in _KEYS:
        value = detail.get(key) if isinstance(detail, Mapping) else None
        for text in value if isinstance(value, list) else [value]:
            with suppress(ValueError, AttributeError, TypeError):
                found.add(UUID(text))
    return found

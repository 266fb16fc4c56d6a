"""The worklist's filters and its search, as conditions on `studies`.

What is typed is matched exactly, or as the beginning of a case number: what is sealed can't be
searched in. In an address a query stands as keyed digests.
"""

import base64
import string
from collections.abc import Callable
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, not_, or_, select
from sqlalchemy.orm import aliased

from portal.models import Band, Job, JobKind, JobState, Study
from portal.studies.status import RESULT_JOBS, State
from portal.vault import NotReadable, Vault

# A query that begins so holds digests instead of what was typed.
SEALED: Final = "~"
_SEARCH: Final = "worklist:search"


def filters(
    vault: Vault, state: str, result: str, side: str, query: str
) -> list[ColumnElement[bool]]:
    """The conditions that a page's filters ask for; see `worklist.worklist`."""
    conditions = []
    if state in _BY_STATE:
        conditions.append(_BY_STATE[state]())
    if result in _BY_RESULT:
        conditions.append(_BY_RESULT[result]())
    if side in ("right", "left", "both"):
        conditions.append(Study.side == side)
    if query.strip():
        conditions.append(_matches(vault, query.strip()))
    return conditions


def _matches(vault: Vault, query: str) -> ColumnElement[bool]:
    """Exact matches only: what is sealed can't be searched in."""
    ready = query.startswith(SEALED)
    sealed = query if ready else sealed_query(vault, query)
    patient, accession, hidden = (*sealed.removeprefix(SEALED).split("."), "", "")[:3]
    found = [Study.patient_id_key == patient, Study.accession_key == accession]
    named = by_case_number(_open_number(vault, hidden) if ready else query)
    return or_(*found, *([] if named is None else [named]))


def sealed_query(vault: Vault, query: str) -> str:
    """A search by patient ID or accession number as keyed digests, which reveal nothing.

    What may be the beginning of a case number too goes along, sealed: no digest finds beginnings.
    """
    number = query[:64]
    keyed = f"{SEALED}{vault.lookup('patient_id', number)}.{vault.lookup('accession', number)}"
    return keyed if by_case_number(number) is None else f"{keyed}.{_seal_number(vault, number)}"


def _seal_number(vault: Vault, number: str) -> str:
    sealed = vault.seal(_search_key(vault), _SEARCH, number.encode())
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _open_number(vault: Vault, hidden: str) -> str:
    try:
        sealed = base64.urlsafe_b64decode(hidden + "=" * (-len(hidden) % 4))
        return vault.open_(_search_key(vault), _SEARCH, sealed).decode()
    except (ValueError, NotReadable):
        return ""  # without this part, or forged


def _search_key(vault: Vault) -> bytes:
    return bytes.fromhex(vault.lookup("key", _SEARCH))


def by_case_number(query: str) -> ColumnElement[bool] | None:
    """The condition that a case number begins like this; None for what begins none.

    The number of a case that was joined into another finds the other.
    """
    number = query.lstrip("#").upper()
    if not 1 <= len(number) <= 6 or not set(number) <= set(string.hexdigits.upper()):
        return None
    last, joined = number.ljust(6, "F"), aliased(Study)
    others = select(joined.joined_into).where(
        joined.joined_into.is_not(None), joined.case_number >= number, joined.case_number <= last
    )
    own = and_(Study.case_number >= number, Study.case_number <= last)
    return or_(own, Study.id.in_(others))


def _has_job(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Few jobs are unfinished or failed, so these are looked up first."""
    return Study.id.in_(select(Job.study_id).where(Job.kind.in_(RESULT_JOBS), *conditions))


def _failed() -> ColumnElement[bool]:
    return _has_job(Job.state == JobState.FAILED)


def _unfinished() -> ColumnElement[bool]:
    return _has_job(Job.state.in_((JobState.QUEUED, JobState.RUNNING)))


def _begun() -> ColumnElement[bool]:
    return _has_job(Job.kind == JobKind.RENDER, Job.state == JobState.RUNNING)


def _rendered() -> ColumnElement[bool]:
    """Whether the preparation of one of the pictures has ended."""
    return exists().where(
        Job.study_id == Study.id,
        Job.kind == JobKind.RENDER,
        Job.state.in_((JobState.DONE, JobState.FAILED)),
    )


# As `status` derives the states from those of the pictures.
_BY_STATE: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "to_read": lambda: Study.is_read.is_(False),
    "read": lambda: Study.is_read.is_(True),
    State.RECEIVED: lambda: and_(_unfinished(), not_(_begun()), not_(_rendered())),
    State.PREPARING: lambda: and_(_begun(), not_(_rendered())),
    State.ANALYSING: lambda: and_(_unfinished(), _rendered()),
    State.DONE: lambda: and_(Study.band.is_not(None), not_(_unfinished())),
    State.NO_RESULT: lambda: and_(
        Study.is_without_result.is_(True),
        Study.band.is_(None),
        not_(or_(_failed(), _unfinished())),
    ),
    State.FAILED: lambda: and_(_failed(), Study.band.is_(None), not_(_unfinished())),
}
_BY_RESULT: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "positive": lambda: Study.band.in_((Band.LIKELY, Band.POSSIBLE)),
    "likely": lambda: Study.band == Band.LIKELY,
    "possible": lambda: Study.band == Band.POSSIBLE,
    "none_found": lambda: Study.band == Band.NONE_FOUND,
    "no_result": lambda: Study.is_without_result.is_(True),
}

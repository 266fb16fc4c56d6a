"""The worklist's filters and its search, as conditions on `studies`.

What is typed is matched as a whole, in any case of its letters, or as the beginning of a case
number: what is sealed can't be searched in. In an address a query stands as keyed digests.
"""

import base64
import string
from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, not_, or_, select
from sqlalchemy.orm import aliased

from portal.models import Band, Job, JobKind, JobState, Study
from portal.studies.header_columns import folded
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
    """Whole numbers only: what is sealed can't be searched in."""
    typed = query
    patients, accessions = set[str](), set[str]()
    if query.startswith(SEALED):
        patient, accession, hidden = (*query.removeprefix(SEALED).split("."), "", "")[:3]
        patients, accessions = {patient}, {accession}
        _, typed = _open_typed(vault, hidden)
    for number in _spellings(typed):
        patients.add(vault.lookup("patient_id", number))
        accessions.add(vault.lookup("accession", number))
    found = [Study.patient_id_key.in_(patients), Study.accession_key.in_(accessions)]
    named = by_case_number(typed)
    return or_(*found, *([] if named is None else [named]))


def _spellings(typed: str) -> set[str]:
    """How a number may have been written when its digest was made: rows of the versions before
    have that of the number as it stands in the header.
    """
    return {folded(typed), typed, typed.upper(), typed.lower()} if typed else set()


def sealed_query(vault: Vault, query: str, person: UUID) -> str:
    """A search by patient ID or accession number as keyed digests, which reveal nothing.

    What was typed goes along, sealed: no digest finds the beginning of a case number, and the page
    shows its search again, to the same person alone.
    """
    typed = query[:64]
    sealed = vault.seal(_search_key(vault), _SEARCH, f"{person.hex}:{typed}".encode())
    hidden = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    number = folded(typed)
    patient, accession = vault.lookup("patient_id", number), vault.lookup("accession", number)
    return f"{SEALED}{patient}.{accession}.{hidden}"


def typed_query(vault: Vault, query: str, person: UUID) -> str:
    """What this person typed to get the query of an address; empty for another's sealed one."""
    if not query.startswith(SEALED):
        return query
    by, typed = _open_typed(vault, query.rpartition(".")[2])
    return typed if by == person.hex else ""


def _open_typed(vault: Vault, hidden: str) -> tuple[str, str]:
    """Who typed what; empty texts where nothing is there, or it is forged."""
    try:
        sealed = base64.urlsafe_b64decode(hidden + "=" * (-len(hidden) % 4))
        text = vault.open_(_search_key(vault), _SEARCH, sealed).decode()
    except (ValueError, NotReadable):
        return "", ""
    by, colon, typed = text.partition(":")
    return (by, typed) if colon else ("", text)  # addresses of the version before have no person


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

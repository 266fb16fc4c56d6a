"""The worklist's filters and its search, as conditions on `studies`.

What is typed is matched as a whole, in any case of its letters, as a family name also without its
accents, or as the beginning of a case number: what is sealed can't be searched in. In an address a
query stands as keyed digests.
"""

import base64
import string
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select, union
from sqlalchemy.orm import aliased

from portal.access import Actor
from portal.models import (
    READ,
    Band,
    Job,
    JobKind,
    JobState,
    ReadingClaim,
    SizeClass,
    Study,
    StudyName,
)
from portal.studies import patient_names
from portal.studies.header_columns import folded
from portal.studies.second_reads import blindness
from portal.studies.status import RESULT_JOBS, State
from portal.vault import NotReadable, Vault

# A query that begins so holds digests instead of what was typed.
SEALED: Final = "~"
_SEARCH: Final = "worklist:search"


SECOND_READ: Final = "second_read"
MINE: Final = "mine"
NOBODY: Final = "nobody"
# What is chosen as `days`: exams that arrived within so many.
DAYS: Final = (1, 3, 7, 30)


class Asked(TypedDict, total=False):
    """What a list is filtered by; what is left out, empty or unknown filters nothing.

    `state`: to_read, read, second_read (of which the actor may become the second reader) or one of
    `status.State`. `result`: positive, likely, possible, none_found or no_result. `side`: right,
    left or both. `size`: a `SizeClass`, of the model's finding. `reader`: who read it last, an id
    or `nobody`, or `mine`: read last or just now by the actor. `days`: one of `DAYS`. `query`: the
    beginning of a case number, or a whole patient ID, accession number or family name (or one of
    its words), also as `worklist.address_of` gives it.
    """

    state: str
    result: str
    side: str
    size: str
    reader: str
    days: str
    query: str


def filters(
    vault: Vault,
    actor: Actor,
    asked: Asked,
    now: datetime,
    visible: ColumnElement[bool] | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions that a list's filters ask for. `visible`: of which exams the actor may see
    what the AI found, None for all; of the others none is chosen by it.
    """
    conditions = []
    of_ai = list[ColumnElement[bool]]()
    state = asked.get("state", "")
    if state == SECOND_READ:
        conditions.append(blindness.may_become_second(actor))
    elif visible is not None and state in _OF_VISIBLE:
        conditions.append(_OF_VISIBLE[state](visible))
    elif state == State.READY:
        conditions.append(false())
    elif state in _BY_STATE:
        chosen = conditions if state in _BEFORE_AI else of_ai
        chosen.append(_BY_STATE[state]())
    if asked.get("result", "") in _BY_RESULT:
        of_ai.append(_BY_RESULT[asked["result"]]())
    if asked.get("side") in ("right", "left", "both"):
        of_ai.append(Study.side == asked["side"])
    if asked.get("size", "") in tuple(SizeClass):
        of_ai.append(Study.size == SizeClass(asked["size"]))
    if of_ai:
        # A second reader chooses no exam by what the AI found in it.
        all_but_blind = not_(blindness.may_become_second(actor))
        conditions.append(all_but_blind if visible is None else visible)
    conditions += of_ai
    if asked.get("reader"):
        conditions.append(_by_reader(actor, asked["reader"], now))
    if asked.get("days", "") in map(str, DAYS):
        conditions.append(Study.created >= now - timedelta(days=int(asked["days"])))
    query = asked.get("query", "").strip()
    if query:
        conditions.append(_matches(vault, actor.team_id, query))
    return conditions


def _by_reader(actor: Actor, reader: str, now: datetime) -> ColumnElement[bool]:
    # To who may become its second reader, nobody has read an exam yet.
    blind = blindness.may_become_second(actor)
    if reader == NOBODY:
        return or_(Study.reader_id.is_(None), blind)
    if reader == MINE:
        reads = exists().where(
            ReadingClaim.study_id == Study.id,
            ReadingClaim.reader_id == actor.user_id,
            ReadingClaim.until > now,
        )
        return or_(Study.reader_id == actor.user_id, reads)
    try:
        return and_(Study.reader_id == UUID(reader), not_(blind))
    except ValueError:
        return false()


def _matches(vault: Vault, team_id: UUID, query: str) -> ColumnElement[bool]:
    """Whole numbers and family names only: what is sealed can't be searched in."""
    typed = query
    patients, accessions = set[str](), set[str]()
    if query.startswith(SEALED):
        patient, accession, hidden = (*query.removeprefix(SEALED).split("."), "", "")[:3]
        patients, accessions = {patient}, {accession}
        _, typed = _open_typed(vault, hidden)
    for number in _spellings(typed):
        patients.add(vault.lookup("patient_id", number))
        accessions.add(vault.lookup("accession", number))
    row = aliased(Study)
    found = [
        select(row.id).where(row.team_id == team_id, row.patient_id_key.in_(patients)),
        select(row.id).where(row.team_id == team_id, row.accession_key.in_(accessions)),
    ]
    family = patient_names.searched(vault, typed)
    if family is not None:
        found.append(select(StudyName.study_id).where(StudyName.key == family))
    numbers = _numbers(typed)
    if numbers is not None:
        here = func.coalesce(row.joined_into, row.id)
        found.append(select(here).where(row.case_number.between(*numbers)))
    # Each by its own index: of an OR of them PostgreSQL would read the whole table.
    return Study.id.in_(union(*found))


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
    numbers, row = _numbers(query), aliased(Study)
    if numbers is None:
        return None
    here = func.coalesce(row.joined_into, row.id)
    return Study.id.in_(select(here).where(row.case_number.between(*numbers)))


def _numbers(query: str) -> tuple[str, str] | None:
    """The first and the last case number that begins like this; None for what begins none."""
    number = query.lstrip("#").upper()
    if not 1 <= len(number) <= 6 or not set(number) <= set(string.hexdigits.upper()):
        return None
    return number, number.ljust(6, "F")


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
    # By rank, which is where the order's index begins.
    "to_read": lambda: Study.rank < READ,
    "read": lambda: Study.rank == READ,
    State.RECEIVED: lambda: and_(_unfinished(), not_(_begun()), not_(_rendered())),
    State.PREPARING: lambda: and_(_begun(), not_(_rendered())),
    State.ANALYSING: lambda: and_(_unfinished(), _rendered()),
    State.DONE: lambda: and_(Study.band.is_not(None), not_(_unfinished())),
    State.NO_RESULT: lambda: and_(
        Study.is_without_result.is_(True),
        Study.band.is_(None),
        not_(or_(_failed(), _unfinished())),
    ),
    State.FAILED: lambda: and_(
        Study.is_without_result.is_(True),
        Study.band.is_(None),
        _failed(),
        not_(_unfinished()),
    ),
}
# They say nothing of the analysis, nor of whether it has begun.
_BEFORE_AI: Final = frozenset({"to_read", "read", State.RECEIVED, State.PREPARING})


def to_read(visible: ColumnElement[bool]) -> ColumnElement[bool]:
    """What a person has to read who does not see all that the AI found: what nobody has, and where
    it found something only after it was read, as far as they may see that.
    """
    return and_(Study.rank < READ, or_(Study.is_seen.is_(False), visible))


_OF_VISIBLE: Final[dict[str, Callable[[ColumnElement[bool]], ColumnElement[bool]]]] = {
    "to_read": to_read,
    "read": lambda visible: and_(Study.is_seen.is_(True), not_(to_read(visible))),
    State.READY: lambda visible: and_(
        not_(visible), not_(_has_job(Job.kind == JobKind.RENDER, Job.state != JobState.DONE))
    ),
}
_BY_RESULT: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "positive": lambda: Study.band.in_((Band.LIKELY, Band.POSSIBLE)),
    "likely": lambda: Study.band == Band.LIKELY,
    "possible": lambda: Study.band == Band.POSSIBLE,
    "none_found": lambda: Study.band == Band.NONE_FOUND,
    "no_result": lambda: Study.is_without_result.is_(True),
}

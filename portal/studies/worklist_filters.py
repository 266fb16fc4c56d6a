"""The worklist's filters and its search, as conditions on `studies`.

What is typed is matched as a whole, in any case of its letters, as a family name also without its
accents, or as the beginning of a case number: what is sealed can't be searched in. In an address a
query stands as keyed digests.
"""

import base64
import string
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Session, aliased

from portal import readable_rows
from portal.access import Actor
from portal.models import (
    READ,
    Band,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    ReadingClaim,
    SizeClass,
    Study,
    StudyName,
    VerdictState,
)
from portal.readable_rows import Readable
from portal.studies import patient_names
from portal.studies.header_columns import folded
from portal.studies.second_reads import blindness
from portal.studies.status import RESULT_JOBS, State
from portal.vault import NotReadable, Vault

# A query that begins so holds digests instead of what was typed.
SEALED: Final = "~"
_SEARCH: Final = "worklist:search"
_MOST_MATCHES: Final = 1000  # of each kind in each part of a table that is read around damage
_MOST_BY_JOBS: Final = 5000  # exams, likewise


SECOND_READ: Final = "second_read"
MINE: Final = "mine"
NOBODY: Final = "nobody"
RETRACTED: Final = "retracted"
# What is chosen as `days`: exams that arrived within so many.
DAYS: Final = (1, 3, 7, 30)


class Asked(TypedDict, total=False):
    """What a list is filtered by; what is left out, empty or unknown filters nothing.

    `state`: to_read, read, second_read (of which the actor may become the second reader) or one of
    `status.State`. `result`: positive, likely, possible, none_found or no_result. `side`: right,
    left or both. `size`: a `SizeClass`, of the model's finding. `verdict`: a `VerdictState`, or
    retracted: the result that stands for the exam is of a model whose results were withdrawn.
    `reader`: who read it last, an id or `nobody`, or `mine`: read last or just now by the actor.
    `days`: one of `DAYS`. `query`: the beginning of a case number, or a whole patient ID, accession
    number or family name (or one of its words), also as `worklist.address_of` gives it.
    """

    state: str
    result: str
    side: str
    size: str
    verdict: str
    reader: str
    days: str
    query: str


@dataclass(frozen=True, slots=True)
class ExamsByJobs:
    """The conditions that an exam has a job that failed, is unfinished, or of which the preparation
    has begun, has not ended well (`unprepared`), or has ended (`rendered`).
    """

    failed: ColumnElement[bool]
    unfinished: ColumnElement[bool]
    begun: ColumnElement[bool]
    unprepared: ColumnElement[bool]
    rendered: ColumnElement[bool]


def filters(
    vault: Vault,
    actor: Actor,
    asked: Asked,
    now: datetime,
    visible: ColumnElement[bool] | None = None,
    blind: ColumnElement[bool] | None = None,
    matched: Collection[UUID] | None = None,
    jobs: ExamsByJobs | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions that a list's filters ask for. `visible`: of which exams the actor may see
    what the AI found, None for all; of the others none is chosen by it, and where it is None those
    that wait for the actor are neither to read nor read, which would follow from it. `blind`: which
    exams the actor may become the second reader of, see `blindness.readable_second`. `matched`:
    what the search finds, where it was looked up before (`readable_matches`). `jobs`: likewise
    which exams have which jobs (`readable_jobs`).
    """
    jobs = OF_LEDGER if jobs is None else jobs
    blind = blindness.may_become_second(actor) if blind is None else blind
    conditions = []
    of_ai = list[ColumnElement[bool]]()
    state = asked.get("state", "")
    if state == SECOND_READ:
        conditions.append(blind)
    elif visible is not None and state in _OF_VISIBLE:
        conditions.append(_OF_VISIBLE[state](visible, jobs))
    elif state == State.READY:
        conditions.append(false())
    elif state in _BY_STATE:
        chosen = conditions if state in _BEFORE_AI else of_ai
        chosen.append(_BY_STATE[state](jobs))
        if state in _BY_RANK:
            conditions.append(not_(blind))
    if asked.get("result", "") in _BY_RESULT:
        of_ai.append(_BY_RESULT[asked["result"]]())
    if asked.get("side") in ("right", "left", "both"):
        of_ai.append(Study.side == asked["side"])
    if asked.get("size", "") in tuple(SizeClass):
        of_ai.append(Study.size == SizeClass(asked["size"]))
    verdict = asked.get("verdict", "")
    if verdict == RETRACTED:
        of_ai.append(_retracted())
    elif verdict in tuple(VerdictState):
        conditions.append(_by_verdict(blind, VerdictState(verdict)))
    if of_ai:
        # A second reader chooses no exam by what the AI found in it.
        conditions.append(not_(blind) if visible is None else visible)
    conditions += of_ai
    if asked.get("reader"):
        conditions.append(_by_reader(actor, blind, asked["reader"], now))
    since = arrived_since(asked, now)
    if since is not None:
        conditions.append(Study.created >= since)
    query = asked.get("query", "").strip()
    if matched is not None:
        conditions.append(Study.id.in_(matched))
    elif query:
        row = aliased(Study)
        conditions.append(Study.id.in_(union(*_matches(vault, actor.team_id, query, row))))
    return conditions


def readable_matches(session: Session, vault: Vault, actor: Actor, query: str) -> set[UUID]:
    """What a search finds among the exams whose rows can be read: these are a part of all, for
    where it has met damage. The session is rolled back.
    """

    def read(readable: Readable) -> set[UUID]:
        with readable.parts(session) as parts:
            return {
                found
                for part in parts
                for wanted in _matches(vault, actor.team_id, query, Study)
                for found in session.scalars(wanted.where(part).limit(_MOST_MATCHES))
            }

    session.rollback()
    return readable_rows.around_damage(session, Study, read)[0]


def arrived_since(asked: Asked, now: datetime) -> datetime | None:
    """From when on the exams of a list arrived; None where it is not asked for."""
    days = asked.get("days", "")
    return now - timedelta(days=int(days)) if days in map(str, DAYS) else None


def _by_verdict(blind: ColumnElement[bool], verdict: VerdictState) -> ColumnElement[bool]:
    # As with its reader: to who may become its second reader, nobody has read an exam yet.
    if verdict is VerdictState.AI_ONLY:
        return or_(Study.verdict == verdict, blind)
    return and_(Study.verdict == verdict, not_(blind))


def _retracted() -> ColumnElement[bool]:
    """Few models are: they are looked up first, and the exams' index has the model."""
    return Study.model_id.in_(select(ModelVersion.id).where(ModelVersion.retracted_at.is_not(None)))


def _by_reader(
    actor: Actor, blind: ColumnElement[bool], reader: str, now: datetime
) -> ColumnElement[bool]:
    # To who may become its second reader, nobody has read an exam yet.
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


def _matches(vault: Vault, team_id: UUID, query: str, row: type[Study]) -> list[Select[UUID]]:
    """Whole numbers and family names only: what is sealed can't be searched in. Each by its own
    index: of an OR of them PostgreSQL would read the whole table.
    """
    typed = query
    patients, accessions = set[str](), set[str]()
    if query.startswith(SEALED):
        patient, accession, hidden = (*query.removeprefix(SEALED).split("."), "", "")[:3]
        patients, accessions = {patient}, {accession}
        _, typed = _open_typed(vault, hidden)
    for number in spellings(typed):
        patients.add(vault.lookup("patient_id", number))
        accessions.add(vault.lookup("accession", number))
    found = [
        select(row.id).where(row.team_id == team_id, row.patient_id_key.in_(patients)),
        select(row.id).where(row.team_id == team_id, row.accession_key.in_(accessions)),
    ]
    family = patient_names.searched(vault, typed)
    if family is not None:
        names = select(StudyName.study_id).where(StudyName.key == family)
        # A row is read only where parts of the table are asked for.
        found.append(select(row.id).where(row.id.in_(names)) if row is Study else names)
    numbers = _numbers(typed)
    if numbers is not None:
        here = func.coalesce(row.joined_into, row.id)
        found.append(select(here).where(row.case_number.between(*numbers)))
    return found


def spellings(typed: str) -> set[str]:
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


_FAILED: Final = (Job.state == JobState.FAILED,)
_UNFINISHED: Final = (Job.state.in_((JobState.QUEUED, JobState.RUNNING)),)
_BEGUN: Final = (Job.kind == JobKind.RENDER, Job.state == JobState.RUNNING)
_UNPREPARED: Final = (Job.kind == JobKind.RENDER, Job.state != JobState.DONE)
_RENDERED: Final = (
    Job.kind == JobKind.RENDER,
    Job.state.in_((JobState.DONE, JobState.FAILED)),
)


# As the ledger has it.
OF_LEDGER: Final = ExamsByJobs(
    failed=_has_job(*_FAILED),
    unfinished=_has_job(*_UNFINISHED),
    begun=_has_job(*_BEGUN),
    unprepared=_has_job(*_UNPREPARED),
    rendered=exists().where(Job.study_id == Study.id, *_RENDERED),
)


def readable_jobs(session: Session) -> ExamsByJobs:
    """The same by the rows of the ledger that can be read, for where a filter by state has met
    damage. The session is rolled back.
    """

    def read(readable: Readable) -> ExamsByJobs:
        def having(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
            with readable.parts(session) as parts:
                ids = {
                    study_id
                    for part in parts
                    for study_id in session.scalars(
                        select(Job.study_id)
                        .where(part, Job.kind.in_(RESULT_JOBS), *conditions)
                        .distinct()
                        .limit(_MOST_BY_JOBS)
                    )
                }
            return Study.id.in_(ids)

        unfinished = having(*_UNFINISHED)
        unsettled = select(Study.id).where(or_(Study.band.is_(None), unfinished))
        return ExamsByJobs(
            failed=having(*_FAILED),
            unfinished=unfinished,
            begun=having(*_BEGUN),
            unprepared=having(*_UNPREPARED),
            # Only of exams without a result, or with more to come, is it asked.
            rendered=having(*_RENDERED, Job.study_id.in_(unsettled)),
        )

    session.rollback()
    return readable_rows.around_damage(session, Job, read)[0]


# As `status` derives the states from those of the pictures.
_BY_STATE: Final[dict[str, Callable[[ExamsByJobs], ColumnElement[bool]]]] = {
    # By rank, which is where the order's index begins.
    "to_read": lambda _jobs: Study.rank < READ,
    "read": lambda _jobs: Study.rank == READ,
    State.RECEIVED: lambda jobs: and_(jobs.unfinished, not_(jobs.begun), not_(jobs.rendered)),
    State.PREPARING: lambda jobs: and_(jobs.begun, not_(jobs.rendered)),
    State.ANALYSING: lambda jobs: and_(jobs.unfinished, jobs.rendered),
    State.DONE: lambda jobs: and_(Study.band.is_not(None), not_(jobs.unfinished)),
    State.NO_RESULT: lambda jobs: and_(
        Study.is_without_result.is_(True),
        Study.band.is_(None),
        not_(or_(jobs.failed, jobs.unfinished)),
    ),
    State.SKIPPED: lambda jobs: and_(
        Study.is_without_result.is_(False),
        Study.band.is_(None),
        not_(jobs.unfinished),
        jobs.rendered,
    ),
    State.FAILED: lambda jobs: and_(
        Study.is_without_result.is_(True), Study.band.is_(None), jobs.failed, not_(jobs.unfinished)
    ),
}
# Which of them depend on jobs.
BY_JOBS: Final = frozenset({state.value for state in State})
# Where an exam stands in the stored order follows from what the AI found in a late picture.
_BY_RANK: Final = frozenset({"to_read", "read"})
# They say nothing of the analysis, nor of whether it has begun.
_BEFORE_AI: Final = frozenset({"to_read", "read", State.RECEIVED, State.PREPARING})


def to_read(visible: ColumnElement[bool]) -> ColumnElement[bool]:
    """What a person has to read who does not see all that the AI found: what nobody has, and where
    it found something only after it was read, as far as they may see that.
    """
    return and_(Study.rank < READ, or_(Study.is_seen.is_(False), visible))


_OF_VISIBLE: Final[dict[str, Callable[[ColumnElement[bool], ExamsByJobs], ColumnElement[bool]]]] = {
    "to_read": lambda visible, _jobs: to_read(visible),
    "read": lambda visible, _jobs: and_(Study.is_seen.is_(True), not_(to_read(visible))),
    State.READY: lambda visible, jobs: and_(not_(visible), not_(jobs.unprepared)),
}
_BY_RESULT: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "positive": lambda: Study.band.in_((Band.LIKELY, Band.POSSIBLE)),
    "likely": lambda: Study.band == Band.LIKELY,
    "possible": lambda: Study.band == Band.POSSIBLE,
    "none_found": lambda: Study.band == Band.NONE_FOUND,
    "no_result": lambda: Study.is_without_result.is_(True),
}

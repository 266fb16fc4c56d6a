"""The worklist's order and filters.

Order: unread studies in which the model found something, by band and probability; then unread ones
without a result, which need unaided reading; then the rest, newest first. Where a study stands in
it is derived by `place` from the rows that count (jobs, prediction, reviews) and kept beside the
study as an index, so that a page of a hundred thousand studies is read off one index.

Locks are taken in one order everywhere, so that nobody waits in a circle: jobs, then studies, then
the head of the access log (`audit.append` comes last); several rows of a kind by ascending id.
"""

import base64
import string
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from portal.models import (
    POSITIVE,
    REST,
    UNAIDED,
    Band,
    Job,
    JobKind,
    JobState,
    Prediction,
    Review,
    Study,
)
from portal.studies.status import State
from portal.vault import NotReadable, Vault

ORDER: Final = (Study.rank, Study.weight, Study.id)
_MOST_PER_PAGE: Final = 200


def place(session: Session, study_id: UUID) -> Study:
    """Put a study where it belongs in the worklist, in the caller's transaction.

    The study's row is locked before anything is read: of two that place it at the same time, the
    later sees what the earlier has changed.
    """
    session.flush()
    # Not the stronger lock that also keeps new rows from naming the study: two transactions that
    # have each added one (a review, a prediction) would wait for each other.
    weak = {"key_share": True}
    study = session.get_one(Study, study_id, with_for_update=weak, populate_existing=True)
    prediction = session.scalars(
        select(Prediction)
        .where(Prediction.study_id == study_id)
        .order_by(Prediction.created.desc())
        .limit(1)
    ).first()
    failed = session.scalar(
        select(exists().where(Job.study_id == study_id, Job.state == JobState.FAILED))
    )
    study.is_read = bool(session.scalar(select(exists().where(Review.study_id == study_id))))
    study.band = prediction.band if prediction else None
    study.side = prediction.side if prediction else None
    study.is_without_result = bool(failed) or (prediction is not None and study.band is None)
    study.rank, study.weight = REST, by_arrival(study.created)
    if not study.is_read and study.is_without_result:
        study.rank = UNAIDED
    elif not study.is_read and prediction and study.band in (Band.LIKELY, Band.POSSIBLE):
        study.rank = POSITIVE
        # Smaller comes first: every likely one before every possible one, then by probability.
        study.weight = -(prediction.probability or 0.0) - (1 if study.band is Band.LIKELY else 0)
    return study


def by_arrival(created: datetime) -> float:
    """The weight that puts newer studies first."""
    return -created.timestamp()


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


def following(base: Select[Study], study: Study) -> Select[Study]:
    """Those of the studies that come after this one."""
    here = tuple_(
        bindparam(None, study.rank, Study.rank.type),
        bindparam(None, study.weight, Study.weight.type),
        bindparam(None, study.id, Study.id.type),
    )
    return base.where(tuple_(*ORDER) > here)


def first(session: Session, base: Select[Study]) -> UUID | None:
    """The first of the studies in the worklist's order."""
    return session.scalars(base.with_only_columns(Study.id).order_by(*ORDER).limit(1)).first()


def count(session: Session, base: Select[Study]) -> int:
    """How many studies there are."""
    return session.scalar(base.with_only_columns(func.count())) or 0


def page_of(
    session: Session, base: Select[Study], total: int, page: int, per_page: int, *order: Any
) -> tuple[list[UUID], int, int]:
    """The ids of a page, and its number and size as they are after clamping to `total` studies."""
    size = min(max(per_page, 1), _MOST_PER_PAGE)
    number = min(max(page, 1), max(1, -(-total // size)))
    ids = session.scalars(
        base.with_only_columns(Study.id)
        .order_by(*(order or ORDER))
        .limit(size)
        .offset((number - 1) * size)
    )
    return list(ids), number, size


def _matches(vault: Vault, query: str) -> ColumnElement[bool]:
    """Exact matches only: what is sealed can't be searched in, and that is the point of it."""
    ready = query.startswith(SEALED)
    sealed = query if ready else sealed_query(vault, query)
    patient, accession, hidden = (*sealed.removeprefix(SEALED).split("."), "", "")[:3]
    found = [Study.patient_key == patient, Study.accession_key == accession]
    named = by_case_number(_open_number(vault, hidden) if ready else query)
    return or_(*found, *([] if named is None else [named]))


def sealed_query(vault: Vault, query: str) -> str:
    """A search by patient ID or accession number as keyed digests, which say nothing.

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
        return ""  # without this part, or made up


def _search_key(vault: Vault) -> bytes:
    return bytes.fromhex(vault.lookup("key", _SEARCH))


def by_case_number(query: str) -> ColumnElement[bool] | None:
    """The condition that a case number begins like this; None for what begins none."""
    number = query.lstrip("#").upper()
    if not 1 <= len(number) <= 6 or not set(number) <= set(string.hexdigits.upper()):
        return None
    return and_(Study.case_number >= number, Study.case_number <= number.ljust(6, "F"))


def _has_job(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Few jobs are unfinished or failed, so these are looked up first."""
    return Study.id.in_(select(Job.study_id).where(*conditions))


def _failed() -> ColumnElement[bool]:
    return _has_job(Job.state == JobState.FAILED)


_BY_STATE: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "to_read": lambda: Study.is_read.is_(False),
    "read": lambda: Study.is_read.is_(True),
    State.RECEIVED: lambda: _has_job(Job.kind == JobKind.RENDER, Job.state == JobState.QUEUED),
    State.PREPARING: lambda: _has_job(Job.kind == JobKind.RENDER, Job.state == JobState.RUNNING),
    State.ANALYSING: lambda: _has_job(
        Job.kind == JobKind.SEGMENT, Job.state.in_((JobState.QUEUED, JobState.RUNNING))
    ),
    State.DONE: lambda: Study.band.is_not(None),
    State.NO_RESULT: lambda: and_(Study.is_without_result.is_(True), not_(_failed())),
    State.FAILED: _failed,
}
_BY_RESULT: Final[dict[str, Callable[[], ColumnElement[bool]]]] = {
    "positive": lambda: Study.band.in_((Band.LIKELY, Band.POSSIBLE)),
    "likely": lambda: Study.band == Band.LIKELY,
    "possible": lambda: Study.band == Band.POSSIBLE,
    "none_found": lambda: Study.band == Band.NONE_FOUND,
    "no_result": lambda: Study.is_without_result.is_(True),
}

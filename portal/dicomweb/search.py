"""QIDO-RS: studies, series and instances by what their headers hold, a page at a time.

Exams are walked from the newest on until the page is full. How many exams and headers one request
reads is bounded, and so is its time; where that ends it, what was found is answered with a warning.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied
from portal.dicomweb import candidates, file_parts, instances
from portal.dicomweb.attributes import (
    ALWAYS,
    AVAILABILITY,
    COMPUTED,
    IN_SERIES,
    IN_STUDY,
    INCLUDABLE,
    MODALITIES,
    OF_PIXELS,
    RETRIEVE_URL,
    SERIES_IN_STUDY,
    Level,
    element,
    empty,
    is_if_known,
)
from portal.dicomweb.queries import Query
from portal.dicomweb.records import Elements, Served
from portal.vault import NotReadable, Vault

_AT_ONCE: Final = 50
# Of one request; each is a file that is opened.
MOST_HEADERS: Final = 1000
# Of the wall's clock: a header that was not read lately takes milliseconds, or seconds where its
# file is made for that, and a thread is held meanwhile.
MOST_SECONDS: Final = 10.0
INCOMPLETE: Final = "The search was ended before all was looked at: ask for fewer by more keys."
LEFT_OUT: Final = "Some instances are damaged and left out."

Address = Callable[[Served, Level], str]
"""Where an instance, its series or its study is fetched."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer: matches in the DICOM JSON model, and what its reader has to know of it."""

    matches: list[Elements] = field(repr=False)
    warnings: list[str]


class _Ended(Exception):
    """As much was read as one request may."""


@dataclass
class _Search:
    """One request: what it asks, and what it has read so far."""

    vault: Vault
    level: Level
    query: Query
    address: Address
    ends: float = field(default_factory=lambda: time.monotonic() + MOST_SECONDS)
    headers: int = 0
    damaged: int = 0
    shown: set[UUID] = field(default_factory=set)

    def header(self, one: Served) -> Elements:
        """An instance's header; NotReadable, or _Ended where it would be one too many."""
        if not file_parts.is_known(one):
            self.go_on()
            if self.headers >= MOST_HEADERS:
                raise _Ended
            self.headers += 1
        return file_parts.header_of(self.vault, one).elements

    def go_on(self) -> None:
        """_Ended where the time is over."""
        if time.monotonic() > self.ends:
            raise _Ended

    def any_header(self, some: Sequence[Served]) -> Elements:
        """The header of the first that can be read; NotReadable where none can."""
        for one in some:
            try:
                return self.header(one)
            except NotReadable:
                self.damaged += 1
        raise NotReadable("no header of a study can be read")

    def modality(self, one: Served) -> str:
        """The modality, "" where the header names none or can't be read."""
        if one.modality:
            return one.modality
        try:
            value = (self.header(one).get("00080060", {}).get("Value") or [""])[0]
        except NotReadable:
            return ""
        return str(value or "")

    def modalities(self, of_study: Sequence[Served]) -> list[str]:
        return sorted({found for one in of_study if (found := self.modality(one))})


def search(
    session: Session,
    vault: Vault,
    actor: Actor,
    level: Level,
    query: Query,
    address: Address,
    now: datetime,
    *,
    within: str = "",
) -> Found:
    """What matches, with one audit row that names the exams shown.

    `within`: the StudyInstanceUID that the address names; Denied where the actor has no such study.
    """
    instances.require(actor)
    ids = candidates.ids(session, vault, actor, query)
    asked = _Search(vault, level, query, address)
    found, warnings = list[Elements](), list(query.warnings)
    if within and not ids:
        raise Denied("study")
    try:
        for match in _page(asked, _matching(asked, session, actor, ids[: candidates.MOST_EXAMS])):
            try:
                found.append(match())
            except NotReadable:
                asked.damaged += 1
        is_whole = len(ids) <= candidates.MOST_EXAMS or len(found) >= query.limit
    except _Ended:
        is_whole = False
    warnings += [] if is_whole else [INCOMPLETE]
    warnings += [LEFT_OUT] if asked.damaged else []
    audit.append(
        session,
        "dicomweb_searched",
        actor=actor,
        now=now,
        detail={
            "level": level.value,
            "matches": len(found),
            "studies": sorted(one.hex for one in asked.shown),
        },
    )
    session.commit()
    return Found(found, warnings)


_Match = Callable[[], Elements]


def _page(asked: _Search, matching: Iterator[tuple[UUID, _Match]]) -> Iterator[_Match]:
    """The matches from the offset on, as many as are asked for; those alone are made."""
    begin, end = asked.query.offset, asked.query.offset + asked.query.limit
    if begin == end:
        return
    for number, (exam_id, match) in enumerate(matching, 1):
        if number > begin:
            asked.shown.add(exam_id)
            yield match
        if number >= end:
            return


def _matching(
    asked: _Search, session: Session, actor: Actor, ids: Sequence[UUID]
) -> Iterator[tuple[UUID, _Match]]:
    for begin in range(0, len(ids), _AT_ONCE):
        asked.go_on()
        some = ids[begin : begin + _AT_ONCE]
        known = instances.of_exams(session, asked.vault, actor, some)
        session.commit()  # nothing waits while headers are read
        for exam_id in some:
            asked.damaged += known[exam_id].damaged
            for of_study in instances.by_study(known[exam_id].served).values():
                for match in _of_study(asked, of_study):
                    yield exam_id, match


def _of_study(asked: _Search, of_study: list[Served]) -> Iterator[_Match]:
    query, first = asked.query, of_study[0]
    if not candidates.matches(first, query):
        return
    if query.in_study and not query.in_study & set(asked.modalities(of_study)):
        return
    if asked.level is Level.STUDIES:
        if _has_any(of_study, query):
            yield partial(_study, asked, of_study)
        return
    by_series: dict[str, list[Served]] = {}
    for one in of_study:
        by_series.setdefault(one.series_uid, []).append(one)
    for uid, of_series in by_series.items():
        if query.series_uids and uid not in query.series_uids:
            continue
        if query.modalities and asked.modality(of_series[0]) not in query.modalities:
            continue
        if asked.level is Level.SERIES:
            if _has_any(of_series, query):
                yield partial(_series, asked, of_study, of_series)
            continue
        for one in of_series:
            if not query.sop_uids or one.sop_uid in query.sop_uids:
                yield partial(_instance, asked, of_study, of_series, one)


def _has_any(some: Sequence[Served], query: Query) -> bool:
    """Whether one of the instances is of the series and UIDs that are asked for."""
    return any(
        (not query.series_uids or one.series_uid in query.series_uids)
        and (not query.sop_uids or one.sop_uid in query.sop_uids)
        for one in some
    )


def _study(asked: _Search, of_study: Sequence[Served]) -> Elements:
    first = of_study[0]
    return _sorted(
        _taken(asked, Level.STUDIES, asked.any_header(of_study), is_own=True)
        | _of_study_level(asked, of_study)
        | {RETRIEVE_URL: element(RETRIEVE_URL, asked.address(first, Level.STUDIES))}
    )


def _of_study_level(asked: _Search, of_study: Sequence[Served]) -> dict[str, Any]:
    return {
        AVAILABILITY: element(AVAILABILITY, "ONLINE"),
        MODALITIES: element(MODALITIES, *asked.modalities(of_study)),
        SERIES_IN_STUDY: element(SERIES_IN_STUDY, len({one.series_uid for one in of_study})),
        IN_STUDY: element(IN_STUDY, len(of_study)),
    }


def _series(asked: _Search, of_study: Sequence[Served], of_series: Sequence[Served]) -> Elements:
    header = asked.any_header(of_series)
    return _sorted(
        _taken(asked, Level.STUDIES, asked.any_header(of_study), is_own=False)
        | _of_study_level(asked, of_study)
        | _taken(asked, Level.SERIES, header, is_own=True)
        | {
            RETRIEVE_URL: element(RETRIEVE_URL, asked.address(of_series[0], Level.SERIES)),
            IN_SERIES: element(IN_SERIES, len(of_series)),
        }
    )


def _instance(
    asked: _Search, of_study: Sequence[Served], of_series: Sequence[Served], one: Served
) -> Elements:
    header = asked.header(one)
    return _sorted(
        _taken(asked, Level.STUDIES, asked.any_header(of_study), is_own=False)
        | _of_study_level(asked, of_study)
        | _taken(asked, Level.SERIES, header, is_own=False)
        | {IN_SERIES: element(IN_SERIES, len(of_series))}
        | _taken(asked, Level.INSTANCES, header, is_own=True)
        | {RETRIEVE_URL: element(RETRIEVE_URL, asked.address(one, Level.INSTANCES))}
    )


def _taken(asked: _Search, level: Level, header: Elements, *, is_own: bool) -> dict[str, Any]:
    """What an answer has of a level, as the header has it.

    `is_own`: it is the level that is searched, not one above it.
    """
    has_pixels = "00280010" in header
    wanted = {
        tag for tag in ALWAYS[level] if tag not in COMPUTED and (tag not in OF_PIXELS or has_pixels)
    }
    of_level = set(INCLUDABLE[level])
    if level is Level.INSTANCES:
        of_level = {tag for tag, one in header.items() if "BulkDataURI" not in one}
    found = {}
    included = of_level if asked.query.include_all else of_level & asked.query.include
    for tag in sorted(wanted | included):
        if tag in header and not _has_bulk(header[tag]):
            found[tag] = dict(header[tag])
        elif tag in wanted and not is_if_known(tag) and tag not in OF_PIXELS and is_own:
            found[tag] = empty(tag)
    return found


def _has_bulk(one: Any) -> bool:
    """Whether a value, or one within its items, is fetched by itself: none of them is answered."""
    if "BulkDataURI" in one:
        return True
    if one["vr"] != "SQ":
        return False
    return any(_has_bulk(inner) for item in one.get("Value", ()) for inner in item.values())


def _sorted(elements: dict[str, Any]) -> Elements:
    return dict(sorted(elements.items()))

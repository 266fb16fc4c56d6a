"""What a search was asked: the query of its address, read and checked (PS3.18 8.3.4, 10.6.1).

What can't be matched is refused with the reason and never left aside: who asks for one patient gets
no other's. The texts name keys, never what was asked for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from portal.dicomweb.attributes import (
    ACCESSION,
    KEYS,
    MODALITIES,
    MODALITY,
    PATIENT_ID,
    PATIENT_NAME,
    SERIES_UID,
    SOP_UID,
    STUDY_DATE,
    STUDY_UID,
    Level,
    keyword_of,
    tag_of,
)
from portal.errors import Invalid
from xray_files import dates

LIMIT: Final = 100
MOST: Final = 500
MOST_OFFSET: Final = 100_000
_MOST_UIDS: Final = 100
_MOST_FIELDS: Final = 200
UID: Final = re.compile(r"[0-9.]{1,64}")
_CODE: Final = re.compile(r"[A-Z0-9_ ]{1,16}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_ORDER: Final = (Level.STUDIES, Level.SERIES, Level.INSTANCES)
NOT_FUZZY: Final = (
    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
)


class BadQuery(Invalid):
    """A query that can't be answered as it stands. The text names no value."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_query", message)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; an empty set or None is everything. Dates are days, both included."""

    study_uids: frozenset[str] = field(default=frozenset(), repr=False)
    series_uids: frozenset[str] = field(default=frozenset(), repr=False)
    sop_uids: frozenset[str] = field(default=frozenset(), repr=False)
    patient_id: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    first_day: date | None = field(default=None, repr=False)
    last_day: date | None = field(default=None, repr=False)
    modalities: frozenset[str] = frozenset()
    in_study: frozenset[str] = frozenset()
    include: frozenset[str] = frozenset()
    include_all: bool = False
    limit: int = LIMIT
    offset: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def has_days(self) -> bool:
        """Whether it asks for days."""
        return self.first_day is not None or self.last_day is not None


def parse(level: Level, asked: Iterable[tuple[str, str]]) -> Query:
    """The query of an address, as names and values; BadQuery where it can't be answered."""
    keys = dict[str, str]()
    found = dict[str, int]()
    include, warnings, include_all = set[str](), list[str](), False
    for name, text in asked:
        if name == "limit" or name == "offset":
            if name in found:
                raise BadQuery(f"`{name}` stands there twice.")
            found[name] = _number(name, text)
        elif name == "fuzzymatching":
            if text.lower() not in ("true", "false"):
                raise BadQuery("`fuzzymatching` is true or false.")
            warnings += [NOT_FUZZY] if text.lower() == "true" else []
        elif name == "includefield":
            include_all = include_all or "all" in text.split(",")
            include |= _fields(text)
        elif name != "accept":
            tag = _key(level, name)
            if tag in keys:
                raise BadQuery(f"`{keyword_of(tag)}` stands there twice; join values by commas.")
            keys[tag] = text
    if len(include) > _MOST_FIELDS:
        raise BadQuery(f"At most {_MOST_FIELDS} fields can be included.")
    limit, offset = found.get("limit", LIMIT), found.get("offset", 0)
    if limit > MOST:
        warnings.append(f"At most {MOST} results are given at a time: ask on by offset.")
    if offset > MOST_OFFSET:
        raise BadQuery(f"The largest offset is {MOST_OFFSET}: ask for less by StudyDate.")
    values = {tag: text for tag, text in keys.items() if text.strip() not in ("", "*")}
    first, last = _days(values.get(STUDY_DATE, ""))
    return Query(
        study_uids=_uids(STUDY_UID, values),
        series_uids=_uids(SERIES_UID, values),
        sop_uids=_uids(SOP_UID, values),
        patient_id=_exact(PATIENT_ID, values),
        accession=_exact(ACCESSION, values),
        first_day=first,
        last_day=last,
        modalities=_codes(MODALITY, values),
        in_study=_codes(MODALITIES, values),
        include=frozenset(include),
        include_all=include_all,
        limit=min(limit, MOST),
        offset=offset,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def keys_of(level: Level) -> tuple[str, ...]:
    """The tags by which a level can be asked for: its own and those of the levels above."""
    above = _ORDER[: _ORDER.index(level) + 1]
    return tuple(tag for one in above for tag in KEYS[one])


# `Modality` at the level of studies is taken for that of their series: viewers send either.
_ALIASES: Final[Mapping[Level, Mapping[str, str]]] = MappingProxyType(
    {Level.STUDIES: MappingProxyType({MODALITY: MODALITIES})}
)


def _key(level: Level, name: str) -> str:
    tag = tag_of(name)
    if tag == PATIENT_NAME:
        raise BadQuery(
            "Names are sealed and can't be searched. Ask by PatientID, AccessionNumber, StudyDate "
            "or a UID."
        )
    tag = _ALIASES.get(level, {}).get(tag or "", tag)
    if tag is None or tag not in keys_of(level):
        known = ", ".join(keyword_of(one) for one in keys_of(level))
        raise BadQuery(
            f"A key can't be matched here. The keys of {level} are {known}, with limit, offset, "
            "includefield and fuzzymatching."
        )
    return tag


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise BadQuery(f"`{name}` is a whole number.")
    return int(text)


def _fields(text: str) -> set[str]:
    found = set[str]()
    for name in text.split(","):
        if name.strip() in ("", "all"):
            continue
        # A way into a sequence includes the sequence.
        tag = tag_of(name.strip().split(".")[0])
        if tag is None:
            raise BadQuery("`includefield` has a name that is neither a keyword nor a tag.")
        found.add(tag)
    return found


def _uids(tag: str, values: Mapping[str, str]) -> frozenset[str]:
    if tag not in values:
        return frozenset()
    found = [one.strip() for one in re.split(r"[,\\]", values[tag]) if one.strip()]
    if len(found) > _MOST_UIDS or not found or not all(map(UID.fullmatch, found)):
        raise BadQuery(f"`{keyword_of(tag)}` is a UID, or up to {_MOST_UIDS} with commas between.")
    return frozenset(found)


def _exact(tag: str, values: Mapping[str, str]) -> str:
    text = values.get(tag, "").strip()
    if "*" in text or "?" in text:
        raise BadQuery(f"`{keyword_of(tag)}` is compared as a whole: no * and no ?.")
    if len(text) > 64:
        raise BadQuery(f"`{keyword_of(tag)}` has at most 64 characters.")
    return text


def _codes(tag: str, values: Mapping[str, str]) -> frozenset[str]:
    if tag not in values:
        return frozenset()
    found = [one.strip() for one in re.split(r"[,\\]", values[tag]) if one.strip()]
    if not found or len(found) > 20 or not all(map(_CODE.fullmatch, found)):
        raise BadQuery(f"`{keyword_of(tag)}` is a code such as DX, or several with commas between.")
    return frozenset(found)


def _days(text: str) -> tuple[date | None, date | None]:
    """The first and the last day of a date or a range (PS3.4 C.2.2.2.5)."""
    text = text.strip()
    if not text:
        return None, None
    first, dash, last = text.partition("-")
    begin, end = _day(first), _day(last) if dash else _day(first)
    if (begin is None and end is None) or (begin and end and begin > end):
        raise BadQuery("`StudyDate` is YYYYMMDD, or a range: YYYYMMDD-YYYYMMDD, -YYYYMMDD.")
    return begin, end


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    found = dates.day(text.strip()) if _NUMBER.fullmatch(text.strip()) else None
    if found is None:
        raise BadQuery("`StudyDate` is YYYYMMDD, or a range: YYYYMMDD-YYYYMMDD, -YYYYMMDD.")
    return found

"""The picture's header as its objects inherit it: repaired where that is certain, else left out.

Real headers break the standard in ways that every copy would repeat: an age of "56", decimals of
19 characters, a name in a character set that it does not have. What is repaired or left out is
noted, by keyword; no value is ever copied broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName, format_number_as_ds

from worker.contract.error_codes import ErrorCode
from worker.errors import Permanent
from xray_files import dates, kinds, picture_header, values
from xray_files.bad_file import BadFile
from xray_files.header import walk
from xray_files.listed_elements import EXPORT, Bound

# Two values, so that a text with a backslash is seen to be two.
_LISTED: Final = EXPORT | {
    tag: Bound(1024, 2)
    for word in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID"),
        *("StudyDescription", "ReferringPhysicianName"),
    )
    if (tag := tag_for_keyword(word))
}
# The longest value of a text, in characters (PS3.5 6.2).
_LONGEST: Final = {
    "PatientID": 64,
    "IssuerOfPatientID": 64,
    "AccessionNumber": 16,
    "StudyID": 16,
    "StudyDescription": 64,
}
# They are there in every object, and may be empty.
_EMPTY: Final = frozenset({"PatientID", "AccessionNumber", "StudyID"})
_UID: Final = re.compile(r"[0-9.]{1,64}")
_CLOCK: Final = re.compile(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_SPACED: Final = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(\.\d{1,6})?)?", re.ASCII)
_DIRECTION: Final = re.compile(r"(?!.*(?:[AP].*[AP]|[RL].*[RL]|[HF].*[HF]))[APRLHF]{1,3}")


@dataclass(slots=True)
class Source:
    """`dataset`: what objects inherit and refer to, all of it valid. `notes`: what was done."""

    dataset: Dataset
    is_grey: bool
    notes: list[str] = field(default_factory=list)

    def note(self, what: str, keyword: str) -> None:
        """Remember that a value was changed."""
        if (line := f"{what}:{keyword}") not in self.notes:
            self.notes.append(line)


def read(data: bytes) -> Source:
    """The header of a picture's file; Permanent OBJECTS_REFUSED where nothing can refer to it."""
    try:
        found = walk(data, _LISTED, len(data))
        raw = found.dataset(_LISTED)
        picture = picture_header.read(raw, found)
    except BadFile:
        raise Permanent(ErrorCode.OBJECTS_REFUSED) from None
    new = Dataset()
    new.SpecificCharacterSet = "ISO_IR 192"
    source = Source(new, picture.photometric in kinds.GREY)
    _identify(source, raw)
    _describe_patient(source, raw)
    _describe_study(source, raw)
    new.Modality = values.code(raw, "Modality") or "OT"
    if new.Modality not in kinds.MODALITIES:
        new.Modality = "OT"
    new.Rows, new.Columns = picture.rows, picture.columns
    new.SamplesPerPixel = picture.samples
    new.PhotometricInterpretation = picture.photometric
    new.BitsAllocated, new.BitsStored, new.HighBit = (
        *(picture.allocated, picture.stored, picture.high),
    )
    new.PixelRepresentation = int(picture.signed)
    _place(source, raw)
    _rescale(source, raw)
    return source


def _identify(source: Source, raw: Dataset) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        uid = str(values.first(raw, keyword) or "").strip(" \0")
        if not _UID.fullmatch(uid):
            raise Permanent(ErrorCode.OBJECTS_REFUSED)
        setattr(source.dataset, keyword, uid)
    if source.dataset.SOPClassUID not in kinds.IMAGE_CLASSES:
        raise Permanent(ErrorCode.OBJECTS_REFUSED)


def _describe_patient(source: Source, raw: Dataset) -> None:
    new = source.dataset
    for keyword in ("PatientName", "ReferringPhysicianName"):
        setattr(new, keyword, _name(source, raw, keyword))
    for keyword in _LONGEST:
        value = _text(source, raw, keyword)
        if value or keyword in _EMPTY:
            setattr(new, keyword, value)
    new.PatientBirthDate = _day(source, raw, "PatientBirthDate")
    sex = values.code(raw, "PatientSex")
    new.PatientSex = sex if sex in ("F", "M", "O") else ""
    if sex and not new.PatientSex:
        source.note("left_out", "PatientSex")
    stated = values.code(raw, "PatientAge")
    if stated:
        age = dates.age(stated)
        written = f"{age[0]:03d}{age[1]}" if age else ""
        # A part of a year is none that this element can hold.
        if age and not re.search(r"[.,]", stated):
            new.PatientAge = written
            if written != stated:
                source.note("repaired", "PatientAge")
        else:
            source.note("left_out", "PatientAge")


def _describe_study(source: Source, raw: Dataset) -> None:
    source.dataset.StudyDate = _day(source, raw, "StudyDate")
    stated = str(values.first(raw, "StudyTime") or "").strip(" \0")
    time = stated if _CLOCK.fullmatch(stated) else ""
    if stated and not time and (parts := _SPACED.fullmatch(stated)):
        joined = "".join(part or "" for part in parts.groups())
        time = joined if _CLOCK.fullmatch(joined) else ""
        if time:
            source.note("repaired", "StudyTime")
    if stated and not time:
        source.note("left_out", "StudyTime")
    source.dataset.StudyTime = time


def _place(source: Source, raw: Dataset) -> None:
    """Which way the picture lies in the patient, and how large its pixels are."""
    new = source.dataset
    directions = values.words(raw, "PatientOrientation")
    if len(directions) == 2 and all(map(_DIRECTION.fullmatch, directions)):
        new.PatientOrientation = directions
    elif any(directions):
        source.note("left_out", "PatientOrientation")
    if values.code(raw, "BodyPartExamined") == "CHEST":
        new.BodyPartExamined = "CHEST"
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        pair = values.numbers(raw, keyword)
        if not pair:
            continue
        if len(pair) != 2 or min(pair) <= 0:
            source.note("left_out", keyword)
            continue
        setattr(new, keyword, [_decimal(source, keyword, number) for number in pair])


def _rescale(source: Source, raw: Dataset) -> None:
    """How stored values become output values: a presentation state repeats it."""
    both = [values.numbers(raw, f"Rescale{part}")[:1] for part in ("Slope", "Intercept")]
    if all(both) and both[0][0] != 0:
        new = source.dataset
        new.RescaleSlope, new.RescaleIntercept = (
            _decimal(source, keyword, found[0])
            for keyword, found in zip(("RescaleSlope", "RescaleIntercept"), both, strict=True)
        )
        kind = values.code(raw, "RescaleType")
        new.RescaleType = kind if kind in ("US", "OD", "HU") else "US"


def _decimal(source: Source, keyword: str, number: float) -> str:
    """A decimal of at most 16 characters."""
    plain = repr(number)
    written = plain if len(plain) <= 16 else format_number_as_ds(number)
    if written != plain:
        source.note("repaired", keyword)
    return written


def _text(source: Source, raw: Dataset, keyword: str) -> str:
    try:
        value = raw.get(keyword)
    except Exception:  # a value that pydicom cannot convert
        value = None
    if value is None or value == "":
        return ""
    several = not isinstance(value, str)
    text = "" if several else str(value).strip(" \0")
    if several or not text.isprintable() or len(text) > _LONGEST[keyword]:
        source.note("left_out", keyword)
        return ""
    return text


def _name(source: Source, raw: Dataset, keyword: str) -> str:
    """A name of up to three forms (PS3.5 6.2.1), each with up to five parts."""
    try:
        value = raw.get(keyword)
        text = str(value).strip(" \0") if isinstance(value, PersonName | str) else ""
        is_there = bool(value)
    except Exception:  # a character set that is not what it claims
        text, is_there = "", True
    groups = text.split("=")
    fits = len(groups) <= 3 and all(
        len(group) <= 64 and group.count("^") <= 4 and group.isprintable() and "\\" not in group
        for group in groups
    )
    if not fits or (is_there and not text):
        source.note("left_out", keyword)
        return ""
    return text


def _day(source: Source, raw: Dataset, keyword: str) -> str:
    stated = str(values.first(raw, keyword) or "").strip(" \0")
    found = dates.day(stated)
    written = found.strftime("%Y%m%d") if found else ""
    if stated and not written:
        source.note("left_out", keyword)
    elif written != stated:
        source.note("repaired", keyword)
    return written

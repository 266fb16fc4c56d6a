"""Whose picture it is: the patient's data and the keys out of a DICOM header, each value tolerant.

Values are texts for display, cleaned and of limited length; a hostile name stays a text. What
cannot be understood is an empty text, never an error.
"""

import re
from datetime import UTC, datetime
from typing import Final

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from portal.formats.display_text import clean
from xray_files import dates
from xray_files.values import first

_TEXT: Final = 200
_UID: Final = re.compile(r"[0-9.]{1,64}")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d)", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d)?([0-5]\d)?", re.ASCII)


def phi(dataset: Dataset) -> dict[str, str]:
    """The patient's data for display; keys with an empty text are left out."""
    found = {
        "patient_name": name(dataset),
        "patient_id": text(dataset, "PatientID", 64),
        "birth_date": day(dataset, "PatientBirthDate"),
        "sex": code(dataset, "PatientSex")[:1],
        "age": age(dataset),
        "study_date": day(dataset, "StudyDate"),
        "study_time": clock(dataset, "StudyTime"),
        "accession": text(dataset, "AccessionNumber", 64),
        "description": text(dataset, "StudyDescription", _TEXT)
        or text(dataset, "SeriesDescription", _TEXT),
        "study_uid": uid(dataset, "StudyInstanceUID"),
        "sop_uid": uid(dataset, "SOPInstanceUID"),
        "series_uid": uid(dataset, "SeriesInstanceUID"),
        "issuer": text(dataset, "IssuerOfPatientID", 64),
    }
    return {key: value for key, value in found.items() if value}


def keys(dataset: Dataset) -> dict[str, str]:
    """What equal pictures, examinations and patients are found by; absent ones are left out."""
    found = {
        "sop_uid": uid(dataset, "SOPInstanceUID"),
        "study_uid": uid(dataset, "StudyInstanceUID"),
        "series_uid": uid(dataset, "SeriesInstanceUID"),
        "patient_id": text(dataset, "PatientID", 64),
        "issuer": text(dataset, "IssuerOfPatientID", 64),
        "accession": text(dataset, "AccessionNumber", 64),
    }
    return {key: value for key, value in found.items() if value}


def name(dataset: Dataset) -> str:
    """The patient's name as "Family, Given", with the ideographic form behind it if there is one.

    The parts stand between carets (DICOM PS3.5 6.2.1): family, given, middle, prefix, suffix.
    """
    value = first(dataset, "PatientName")
    try:
        known = value if isinstance(value, PersonName) else PersonName(str(value or ""))
        groups = [str(part) for part in known.components]
    except Exception:  # a character set that is not what it claims
        groups = [str(value)]
    shown = [form for form in (_readable(group) for group in groups[:2]) if form]
    if len(shown) == 2 and shown[0] != shown[1]:
        return clean(f"{shown[0]} ({shown[1]})", _TEXT)
    return clean(shown[0], _TEXT) if shown else ""


def text(dataset: Dataset, keyword: str, length: int) -> str:
    """A tag's first value as a clean text."""
    value = first(dataset, keyword)
    try:
        return clean(str(value), length) if value is not None else ""
    except Exception:
        return ""


def code(dataset: Dataset, keyword: str) -> str:
    """A tag's first value as a code in capitals."""
    return text(dataset, keyword, 64).upper()


def uid(dataset: Dataset, keyword: str) -> str:
    """A tag's value if it can be a UID: digits and points, at most 64."""
    value = text(dataset, keyword, 100)
    return value if _UID.fullmatch(value) else ""


def day(dataset: Dataset, keyword: str) -> str:
    """A date tag as YYYY-MM-DD."""
    found = dates.day(text(dataset, keyword, 26))
    return found.isoformat() if found else ""


def clock(dataset: Dataset, keyword: str) -> str:
    """A time tag as HH:MM."""
    match = _TIME.match(text(dataset, keyword, 16).replace(":", ""))
    return f"{match[1]}:{match[2]}" if match else ""


def taken(dataset: Dataset) -> int | None:
    """When the picture was taken, in seconds since 1970 by the clock of the place.

    The acquisition's date and time, else the content's, else the study's; a date alone counts as
    its beginning.
    """
    full = text(dataset, "AcquisitionDateTime", 26)
    dated = [(full, full[8:14])] if full else []
    for part in ("Acquisition", "Content", "Study"):
        dated.append((text(dataset, f"{part}Date", 16), text(dataset, f"{part}Time", 16)))
    for on, at in dated:
        found = dates.day(on)
        if found is None:
            continue
        midnight = datetime.combine(found, datetime.min.time(), UTC)
        match = _CLOCK.match(at.replace(":", ""))
        hours, minutes, seconds = (
            (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
        )
        return int(midnight.timestamp()) + hours * 3600 + minutes * 60 + seconds
    return None


def age(dataset: Dataset) -> str:
    """The age as a number and its unit, 63Y, 8M, 2W, 5D, as the worker's decoder reads it."""
    return dates.patient_age(dataset)


def _readable(group: str) -> str:
    family, _, rest = group.partition("^")
    given, _, rest = rest.partition("^")
    middle = rest.partition("^")[0]
    forenames = " ".join(part.strip() for part in (given, middle) if part.strip())
    return ", ".join(part for part in (family.strip(), forenames) if part)

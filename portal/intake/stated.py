"""What the sender states about a file beside its content: whose picture a PNG or JPEG is, and that
it comes from an archive. A DICOM file states its patient itself; what is typed does not change it.
"""

import calendar
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from portal.errors import Invalid
from portal.formats.display_text import clean
from portal.formats.upload_header import Upload
from portal.languages import _, lazy
from xray_files import dates

# How the picture's R or L marker stands: the patient's right on the picture's left, or mirrored.
MARKERS: Final = ("usual", "mirrored")
_OLDEST: Final = date(1880, 1, 1)
_DAY: Final = 24 * 60 * 60
# The fields of the form, in the order of the page.
FIELDS: Final = ("patient_id", "patient_name", "birth_date", "exam_date", "side_marker")


@dataclass(frozen=True, slots=True)
class Stated:
    """`is_import`: the file comes from an archive; so does one that was taken longer before it
    arrived than `old_after`. `ae_title`: of the node that sent it by DICOM. The other fields are
    texts, empty where nothing is stated; dates are YYYY-MM-DD. `age` follows from them, as 6Y: at
    the exam, else at the upload, the oldest that the patient was.
    """

    patient_id: str = field(default="", repr=False)
    patient_name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    exam_date: str = field(default="", repr=False)
    side_marker: str = ""
    age: str = field(default="", repr=False)
    is_import: bool = False
    old_after: timedelta = timedelta(hours=24)
    ae_title: str = ""

    @property
    def is_about_patient(self) -> bool:
        """Whether anything is stated about patient or picture."""
        return any(getattr(self, name) for name in FIELDS)

    def as_json(self) -> dict[str, Any]:
        """All of it but for how old an old exam is, which follows from the team's setting."""
        return {name: value for name, value in asdict(self).items() if name != "old_after"}

    def of_archive(self) -> "Stated":
        """The same for the files of a ZIP, which may be of several patients."""
        return Stated(is_import=self.is_import, old_after=self.old_after)

    def added_to(self, upload: Upload) -> Upload:
        """The header with what was typed, for a file without one; `typed` names these fields."""
        if not self.is_about_patient or upload.media_type == "application/dicom":
            return upload
        names = {"exam_date": "study_date"}
        typed = {names.get(n, n): getattr(self, n) for n in FIELDS if getattr(self, n)}
        ages = {"age": self.age} if self.age else {}
        keys = {"patient_id": self.patient_id} if self.patient_id else {}
        header = dict(upload.header)
        if self.exam_date:
            taken = datetime.combine(date.fromisoformat(self.exam_date), datetime.min.time(), UTC)
            header["acquired"] = int(taken.timestamp())
        phi = upload.phi | typed | ages | {"typed": ",".join(typed)}
        return replace(upload, phi=phi, keys=upload.keys | keys, header=header)

    def is_old(self, acquired: int | None, now: datetime) -> bool:
        """Whether the exam comes from an archive or was taken long before it arrives."""
        if self.is_import or acquired is None:
            return self.is_import
        return seconds_since(acquired, now) > self.old_after.total_seconds()


def seconds_since(acquired: int, now: datetime) -> int:
    """How long ago a picture was taken; less than 0 by a clock that is ahead.

    `acquired` is by the clock of the place, as headers have it (see `patient_tags.taken`), so it is
    compared with this machine's local time. A date without a time counts as its end.
    """
    here = calendar.timegm(now.astimezone().timetuple())
    latest = acquired + _DAY if acquired % _DAY == 0 else acquired
    return here - latest


def read(sent: Mapping[str, str], now: datetime, old_after: timedelta) -> Stated:
    """What a form states; Invalid with a sentence for what can't be."""
    marker = sent.get("side_marker", "")
    if marker not in ("", *MARKERS):
        raise Invalid("side_marker", _("Choose how the side marker stands, or leave it out."))
    born = _day(sent.get("birth_date", ""), "birth_date", now)
    taken = _day(sent.get("exam_date", ""), "exam_date", now)
    if born and taken and born > taken:
        raise Invalid("birth_date", _("The birth date is after the exam date."))
    on = date.fromisoformat(taken) if taken else now.date()
    years = dates.years_between(date.fromisoformat(born), on) if born else None
    return Stated(
        patient_id=_text(sent.get("patient_id", ""), 64, "patient_id"),
        patient_name=_text(sent.get("patient_name", ""), 200, "name"),
        birth_date=born,
        exam_date=taken,
        side_marker=marker,
        age="" if years is None else f"{years}Y",
        is_import=sent.get("import", "") == "yes",
        old_after=old_after,
    )


_TOO_LONG: Final = {
    "patient_id": lazy("The patient ID has at most %(most)s characters."),
    "name": lazy("The name has at most %(most)s characters."),
}
_NO_DAY: Final = {
    "birth_date": lazy("The birth date must be a date that has been, as 2024-05-31."),
    "exam_date": lazy("The exam date must be a date that has been, as 2024-05-31."),
}


def _text(sent: str, most: int, what: str) -> str:
    found = clean(sent, most + 1)
    if len(found) > most:
        raise Invalid(what, _TOO_LONG[what] % {"most": most})
    return found


def _day(sent: str, what: str, now: datetime) -> str:
    if not sent.strip():
        return ""
    try:
        day = date.fromisoformat(sent.strip())
    except ValueError:
        day = None
    tomorrow = now.date() + timedelta(days=1)  # somewhere it is tomorrow already
    if day is None or not _OLDEST <= day <= tomorrow:
        raise Invalid(what, str(_NO_DAY[what]))
    return day.isoformat()

"""Which chest X-rays a node has: of a patient before an exam, the newest first, or of a day.

Nothing of what a node answers is believed: answers about other patients, and what can be no UID,
are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from portal.dicom_network import classes
from portal.dicom_network.retrieving.archive import Archive, Named, NotAnswerable

_MODALITIES: Final = frozenset({"CR", "DX"})
_CHEST: Final = ("CHEST", "THORAX")
_MOST_STUDIES: Final = 500
_MOST_STUDIES_OF_DAY: Final = 5000
_MOST_SERIES: Final = 50
_MOST_PICTURES: Final = 50
MOST_OBJECTS: Final = 200
_DAY: Final = re.compile(r"\d{8}", re.ASCII)
# What a search takes for any character, any text and a list (PS3.4 C.2.2.2).
_WILD: Final = frozenset("*?\\")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose X-rays are looked for. `before`: the day of the exam (YYYYMMDD) and `study_uid` its
    own; both empty where they are not known. `most`: of how many exams.
    """

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    study_uid: str = field(repr=False)
    before: str = field(repr=False)
    most: int

    @property
    def can_be_searched(self) -> bool:
        """Whether a search by the patient ID finds no others."""
        return bool(self.patient_id) and not _WILD & set(self.patient_id)


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures that were found, and how many exams were answered and left out."""

    pictures: list[Named]
    studies: int
    left_out: int


def priors(archive: Archive, wanted: Wanted) -> Found:
    """Look for earlier chest X-rays. NotAnswerable and NoAnswer as `Archive.find`."""
    if not wanted.can_be_searched:
        raise NotAnswerable("id_not_searchable")
    answers = archive.find(
        "STUDY",
        _MOST_STUDIES,
        PatientID=wanted.patient_id,
        IssuerOfPatientID="",
        StudyInstanceUID="",
        StudyDate="",
        StudyTime="",
        ModalitiesInStudy="",
    )
    fitting = [one for one in answers if _fits(one, wanted)]
    fitting.sort(key=lambda one: (_text(one, "StudyDate"), _text(one, "StudyTime")), reverse=True)
    pictures, exams = list[Named](), 0
    for study in fitting:
        of_study = _pictures_of(archive, _text(study, "StudyInstanceUID"))
        pictures.extend(of_study[: MOST_OBJECTS - len(pictures)])
        exams += bool(of_study)
        if exams == wanted.most or len(pictures) == MOST_OBJECTS:
            break
    return Found(pictures, len(answers), len(answers) - len(fitting))


def of_day(archive: Archive, day: str, modality: str) -> Iterator[tuple[str, list[Named]]]:
    """The patient ID and the chest X-rays of each exam of a day (YYYYMMDD); `modality`: CR or DX,
    empty for both.
    """
    wanted = frozenset({modality}) if modality else _MODALITIES
    for study in archive.find(
        "STUDY",
        _MOST_STUDIES_OF_DAY,
        PatientID="",
        StudyInstanceUID="",
        StudyDate=day,
        ModalitiesInStudy="",
    ):
        uid, modalities = _text(study, "StudyInstanceUID"), _values(study, "ModalitiesInStudy")
        is_fitting = _text(study, "StudyDate") == day and (not modalities or modalities & wanted)
        if classes.is_uid(uid) and is_fitting:
            yield _text(study, "PatientID"), _pictures_of(archive, uid, wanted)


def _fits(study: Dataset, wanted: Wanted) -> bool:
    """Whether it is an earlier exam of this patient that may have chest X-rays."""
    uid, day = _text(study, "StudyInstanceUID"), _text(study, "StudyDate")
    issuer = _text(study, "IssuerOfPatientID")
    modalities = _values(study, "ModalitiesInStudy")
    return (
        classes.is_uid(uid)
        and uid != wanted.study_uid
        and _text(study, "PatientID") == wanted.patient_id
        and (not issuer or not wanted.issuer or issuer == wanted.issuer)
        and (not modalities or bool(modalities & _MODALITIES))
        and not (_DAY.fullmatch(day) and wanted.before and day > wanted.before)
    )


def _pictures_of(
    archive: Archive, study_uid: str, modalities: frozenset[str] = _MODALITIES
) -> list[Named]:
    series = archive.find(
        "SERIES",
        _MOST_SERIES,
        StudyInstanceUID=study_uid,
        SeriesInstanceUID="",
        Modality="",
        BodyPartExamined="",
    )
    found = list[Named]()
    for one in series:
        series_uid = _text(one, "SeriesInstanceUID")
        if not classes.is_uid(series_uid) or not _is_of_chest(one, modalities):
            continue
        for picture in archive.find(
            "IMAGE",
            _MOST_PICTURES,
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=series_uid,
            SOPInstanceUID="",
            SOPClassUID="",
        ):
            sop_uid, sop_class = _text(picture, "SOPInstanceUID"), _text(picture, "SOPClassUID")
            if classes.is_uid(sop_uid) and sop_class in {"", *classes.PICTURES}:
                found.append(Named(study_uid, series_uid, sop_uid))
    return list(dict.fromkeys(found))


def _is_of_chest(series: Dataset, modalities: frozenset[str]) -> bool:
    """Whether it is radiography, of the chest where that is stated."""
    part = _text(series, "BodyPartExamined").upper()
    is_chest = not part or any(one in part for one in _CHEST)
    return bool(_values(series, "Modality") & modalities) and is_chest


def _text(answer: Dataset, keyword: str) -> str:
    """One value as a text; empty where there is none or several."""
    value = answer.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _values(answer: Dataset, keyword: str) -> set[str]:
    value = answer.get(keyword)
    if value is None or value == "":
        return set()
    several = [value] if isinstance(value, str) else list(value)
    return {str(one).strip().upper() for one in several if str(one).strip()}

"""What DICOMweb serves: instances, by the UIDs that are in their files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from portal.models import Blob
from portal.studies.sealed_fields import Patient

Elements = Mapping[str, Mapping[str, Any]]
"""Elements in the DICOM JSON model by their tags, eight hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Served:
    """One instance. `blob` is the file, or the archive of results of which `member` is one.

    `modality`: of a result, by its kind; of a picture it is in its header. `sha256`: of a result.
    """

    exam_id: UUID
    picture_id: UUID
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    sop_uid: str = field(repr=False)
    patient: Patient = field(repr=False)
    blob: Blob = field(repr=False)
    data_key: bytes = field(repr=False)
    member: str = ""
    modality: str = ""
    sha256: str = ""

    @property
    def is_result(self) -> bool:
        """Whether it is an object of ours, and no picture that came in."""
        return bool(self.member)

    @property
    def key(self) -> tuple[str, str]:
        """Which bytes it is; others have another key."""
        return self.blob.name, self.member


@dataclass(frozen=True, slots=True)
class ExamInstances:
    """What of an exam is served, in the order of arrival, results behind pictures.

    `damaged`: of how many more rows or files nothing can be read.
    """

    served: tuple[Served, ...]
    damaged: int = 0


NOTHING = ExamInstances(())

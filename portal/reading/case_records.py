"""The contents of an opened case, for the pages and the API."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from portal.models import BlobKind, Finding, Reason, RetractionReason, SizeClass, Verdict, View
from portal.reading.signatures.records import AddendumView, SignatureView
from portal.studies import status
from portal.studies.reader_outlines import DraftView, OutlineView
from portal.studies.sealed_fields import Annotation as Annotation
from portal.studies.sealed_fields import Patient
from portal.studies.second_reads.progress import SecondReadView
from portal.studies.status import PictureState, StudyState
from portal.teams.ai_visibility import Visibility
from portal.teams.rules.met import RuleMet


@dataclass(frozen=True, slots=True)
class PredictionView:
    """The model's prediction in full."""

    prediction_id: UUID
    model_id: UUID
    model_name: str
    model_version: str
    model_sha256: str
    retraction: RetractionReason | None  # why, if the model's results were withdrawn
    result: status.Result
    threshold: float | None
    image_threshold: float | None
    likely_threshold: float | None
    operating_point: str | None
    map_rows: int | None
    map_columns: int | None
    measurements: dict[str, Any] | None
    uncertainty: dict[str, Any] | None
    region: dict[str, Any] | None
    other_findings: list[dict[str, Any]] | None
    quality: dict[str, Any]
    statistics: dict[str, Any]
    seconds: float | None
    created: datetime


@dataclass(frozen=True, slots=True)
class ScreenView:
    """A check of a screen: when, and whether all of the test pattern was seen."""

    created: datetime
    is_passed: bool


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One reader's review; those of a version before have no finding.

    `screen`: the reader's last check of the screen before it. `annotations`: by picture.
    """

    review_id: UUID
    reader: str
    reader_id: UUID
    finding: Finding | None
    size: SizeClass | None
    verdict: Verdict
    reasons: tuple[Reason, ...]
    comment: str = field(repr=False)
    created: datetime
    screen: ScreenView | None = None
    annotations: dict[UUID, list[Annotation]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier or later exam of the same patient, or one with a picture under the same UID.

    `exam_date` is the header's, empty without one. `is_later`: taken after the exam that is open;
    None where one of them states no time.
    """

    study_id: UUID
    case_number: str
    created: datetime
    state: StudyState
    exam_date: str = field(repr=False)
    is_later: bool | None


@dataclass(frozen=True, slots=True)
class PictureView:
    """One picture of the exam, as far as all of them are shown together.

    `names_another`: its header names another patient than the exam's first picture does. `blobs`:
    the files of it that can be asked for. `arrival`: the rule that it met; None of a version
    before.
    """

    instance_id: UUID
    view: View
    created: datetime
    media_type: str
    rows: int | None
    columns: int | None
    state: PictureState
    prediction: PredictionView | None
    blobs: frozenset[BlobKind]
    names_another: bool
    arrival: RuleMet | None = None


@dataclass(frozen=True, slots=True)
class StudyView:
    """Everything that the case page shows: the exam, and of its pictures one in full.

    `picture` is the one that was asked for, or that stands for the exam (`exams.leading`); `facts`
    are of it. `ai`: whether the actor may see what the AI found; where not, nothing here holds it.
    `hides_findings`: the same of what colleagues found, outlined and wrote.
    """

    study_id: UUID
    case_number: str
    created: datetime
    uploaded_by: str
    patient: Patient
    state: StudyState
    pictures: list[PictureView]
    picture: PictureView
    facts: dict[str, Any] | None
    reviews: list[ReviewView]
    signatures: list[SignatureView]  # the oldest first
    addenda: list[AddendumView]
    shown: str  # what a signature names as shown, see `signatures.records.shown_of`
    outlines: list[OutlineView]  # of all its pictures, the oldest first
    outline_drafts: list[DraftView]
    second_read: SecondReadView | None
    priors: list[Prior]
    priors_may_lack: bool  # of them some may be missing: rows can't be read
    priors_more: int  # how many there are besides
    shares_uid: bool  # with another picture, see `Instance.same_uid_as`
    same_uid: list[Prior]  # their studies, as far as the actor may see them
    ai: Visibility
    hides_findings: bool


@dataclass(frozen=True, slots=True)
class BlobData:
    """A picture's bytes."""

    data: bytes = field(repr=False)
    media_type: str

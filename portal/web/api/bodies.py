"""The bodies of `/api/v1` as models: its JSON and the schemas of `openapi` follow them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema, SkipJsonSchema, models_json_schema

from portal.intake.submission import Remark
from portal.models import (
    Finding,
    Reason,
    RetractionReason,
    SizeClass,
    Verdict,
    VerdictState,
    View,
)
from portal.reading.reviews import COMMENT_LENGTH
from portal.studies.status import State, Waiting
from worker.contract.measurements import Measurements
from worker.contract.prediction import (
    Band,
    FurtherFinding,
    Quality,
    QualityVerdict,
    Region,
    Uncertainty,
)

Json = dict[str, Any]
_PLACE: Final = "#/components/schemas/"


class Body(BaseModel):
    """A JSON object without further fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_json(self) -> Json:
        """Ready for JSON."""
        return self.model_dump(mode="json")


def _to_milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_to_milliseconds),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


_STATE: Final = (
    "`ready`: the pictures are prepared, and the token's owner may not see what the AI found nor "
    "whether it has (yet): so the team has chosen. `skipped`: a rule of the team keeps all of them "
    "without analysis. `failed`: one could not be done; `no_result`: the quality gate refused them."
)
# JSON as it was stored, which was of its model then: it is sent without another check.
_AsStored = PlainSerializer(lambda value: value)


class Problem(Body):
    """Why a request was not carried out (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, for programs.")
    error_id: str = Field(description="Report this to the administrator.")


class Submitted(Body):
    """What became of a picture that was sent."""

    id: UUID
    case: str
    instance: UUID = Field(description="The picture: its study may have several.")
    duplicate: bool = Field(description="It was here already: `id` is the old.")
    same_uid: bool = Field(
        description="Another picture has the same SOPInstanceUID; both are stored."
    )
    remarks: list[Remark] = Field(
        description="`transfer_syntax_wrong`: the file names another encoding than it has, and was "
        "read as it is encoded. `not_exportable`: it can't be exported without its patient: "
        "a part of its pixels' encoding is unknown. `not_dicom`: exports hold no other pictures. "
        "`typed_not_used`: a DICOM file names its patient itself. `stored_again`: the stored file "
        "of this duplicate was lost or damaged, and was replaced."
    )
    state: State | None


class ArchiveFile(Body):
    """One file of a ZIP."""

    name: str = Field(description="As in the ZIP.")
    outcome: Literal["received", "duplicate", "refused", "skipped"] = Field(
        description="`skipped`: no picture, such as DICOMDIR and hidden files."
    )
    code: str | None = Field(description="Why it was refused, for programs.")
    detail: str | None = Field(description="The same for people.")
    study: Submitted | None


class SubmittedArchive(Body):
    """What became of the files of a ZIP."""

    files: list[ArchiveFile] = Field(description="In its order.")


class Result(Body):
    """The model's result in short."""

    band: Band | None
    probability: float | None
    side: str | None
    distance_mm: float | None
    hemithorax_share: float | None = Field(
        description="Of the hemithorax's area, on the side with the larger share; null where the "
        "border of a lung was not found."
    )
    under_18: bool = Field(
        description="The result of any of its pictures is one of a patient under 18, for whom the "
        "model was not made; each picture's `prediction` has its own."
    )
    retracted: bool = Field(
        description="Its model's results were withdrawn: it is shown, and no longer relied on."
    )
    quality: QualityVerdict


class Standing(Body):
    """How firmly the verdict stands: `amended` is signed again after a signature."""

    state: VerdictState
    author: str | None = Field(description="Who signed it, or saved it while it is preliminary.")
    at: Moment | None = Field(description="When.")
    new_pictures: int = Field(
        description="How many came after it was read: the study is to be read again, and a signed "
        "verdict stays as it was."
    )
    hidden: bool = Field(
        description="Whether what was found is left out, because the token's owner has stated no "
        "finding of their own yet and their team shows a colleague's only then."
    )


class StudySummary(Body):
    """A study in a list."""

    id: UUID
    case: str = Field(description="The short number for conversation.")
    created: Moment | None = Field(description="Null where the study's row is damaged.")
    state: State = Field(description=_STATE)
    waiting_for: Waiting | None
    error_code: str | None
    reviewed: Verdict | None = Field(
        description="The verdict of the review that stands: of the signed one, if there is one, "
        "else of the newest."
    )
    finding: Finding | None = Field(description="Its finding; null before findings were stated.")
    verdict: Standing
    found_after_reading: bool = Field(
        description="The model found something in a picture that had been read without it: the "
        "study is to be read again. Verdict and finding stay as they were stated."
    )
    result: Result | None


class StudyPage(Body):
    """A page of the list."""

    studies: list[StudySummary]
    total: int
    page: int
    per_page: int
    next: str | None = Field(
        description="What `after` asks for to get the page that follows; null on the last one."
    )


class Model(Body):
    """The model that made a prediction."""

    name: str
    version: str
    sha256: str
    retracted: RetractionReason | None = Field(
        description="Why its results were withdrawn; null where they were not."
    )


class Prediction(Body):
    """The model's result in full."""

    model: Model
    band: Band | None
    probability: float | None
    threshold: float | None = Field(description="An older name of `pixel_threshold`.")
    pixel_threshold: float | None = Field(description="From which on a pixel is outlined.")
    operating_point: str | None = Field(
        description="Which of the model's image thresholds calls a picture positive."
    )
    image_threshold: float | None = Field(
        description="That threshold: the band is `possible` from this probability on."
    )
    likely_threshold: float | None = Field(
        description="The band is `likely` from this probability on."
    )
    under_18: bool = Field(
        description="A result of a patient under 18, for whom the model was not made."
    )
    measurements: Annotated[SkipValidation[Measurements | None], _AsStored]
    uncertainty: Annotated[SkipValidation[Uncertainty | None], _AsStored]
    region: Annotated[SkipValidation[Region | None], _AsStored]
    other_findings: list[Annotated[SkipValidation[FurtherFinding], _AsStored]] | None = Field(
        description="What a network of several classes finds beside a pneumothorax."
    )
    quality: Annotated[SkipValidation[Quality], _AsStored] = Field(
        description="`refused` means: no result, read unaided. `reasons` explain why."
    )
    statistics: dict[str, float] | None
    seconds: float | None
    created: Moment


_SIZE: Final = (
    "Share of the lung field's area in percent, estimated by eye; on both sides, of the larger one."
)
_REASON: Final = "Why the finding is another than the AI result, or what is wrong with the outline."


class Annotation(Body):
    """A ruler, or an arrow with a text, that a review keeps."""

    instance: UUID = Field(description="The picture that it is drawn on.")
    kind: Literal["ruler", "arrow"]
    line: list[float] = Field(
        description="From x, y to x, y in pixels of the instance's rows and columns; an arrow "
        "points at the end."
    )
    text: str = Field(description="An arrow's, as the reader wrote it; else empty.")


class Review(Body):
    """One reader's finding, and the verdict on the AI result that follows from it."""

    id: UUID = Field(description="What the next review names as `after`.")
    finding: Finding | None = Field(description="Null before findings were stated.")
    size: SizeClass | None = Field(description=_SIZE)
    verdict: Verdict = Field(
        description="`unaided`: there was no AI result to compare with, or none that the token's "
        "owner may see."
    )
    reason: Reason | None = Field(description=f"{_REASON} Of several the first.")
    reasons: list[Reason] = Field(description="All reasons; empty where there is none.")
    comment: str
    annotations: list[Annotation] = Field(description="What the reader has drawn on the pictures.")
    created: Moment


class Instance(Body):
    """One picture of a study."""

    id: UUID
    created: Moment
    view: View
    rows: int | None
    columns: int | None
    names_another_patient: bool = Field(
        description="Its header names another patient than that of the first picture."
    )
    state: State
    waiting_for: Waiting | None
    error_code: str | None
    prediction: Prediction | None
    blobs: list[str] = Field(description="Files that are ready.")


class Study(StudySummary):
    """One study in full.

    `rows`, `columns`, `prediction` and `blobs` are those of its first frontal picture, `result` is
    that of the most suspicious one.
    """

    rows: int | None
    columns: int | None
    prediction: Prediction | None
    reviews: list[Review]
    blobs: list[str] = Field(description="Pictures that are ready.")
    instances: list[Instance] = Field(
        description="All pictures of the study, in the order of their arrival."
    )


class ReviewConflict(Problem):
    """Why a review was not added: the case or its reviews have changed, or a rule forbids it."""

    newest: Review | SkipJsonSchema[None] = Field(
        None,
        description="With the code `reviewed`, for a token that may read studies: the review that "
        "was added meanwhile.",
    )


class NewReview(Body):
    """A reader's finding as it is sent. Size and reason that are left out stay as they were, if the
    same reader had stated the same finding before.
    """

    finding: Finding
    size: SizeClass | None = Field(None, description=_SIZE)
    reason: Reason | None = Field(
        None, description=f"{_REASON} One that does not fit the result is a conflict."
    )
    reasons: list[Reason] | None = Field(
        None,
        description="Several reasons, each as `reason`; with `reason` beside it that is one more. "
        "An empty list is none.",
        json_schema_extra={"maxItems": len(Reason)},
    )
    comment: str = Field("", json_schema_extra={"maxLength": COMMENT_LENGTH})
    critical: bool | None = Field(
        None,
        description="Whether somebody has to be informed. Left out: of a pneumothorax that no "
        "earlier exam of the patient has.",
    )
    after: UUID | None = Field(
        None,
        description="The newest review that the reader has seen; left out, there was none. Where "
        "another has come since, nothing is stored: 409, code `reviewed`, with the `newest`.",
    )
    seen: str | None = Field(
        None,
        max_length=40,
        description="The `state` of the study that the reader has seen, of several pictures with "
        "their number (`done/2`) and, while it is not settled, how many of them are "
        "(`analysing/2/1`). Where it is another one now: 409, code `changed`.",
    )


class PositiveFinding(NewReview):
    """The reader sees a pneumothorax."""

    finding: Literal[Finding.RIGHT, Finding.LEFT, Finding.BOTH]


class OtherFinding(NewReview):
    """The reader sees none, or is unsure: there is no size."""

    finding: Literal[Finding.NONE, Finding.UNSURE]
    size: None = None


MOST_PER_PAGE: Final = 200
LAST_PAGE: Final = 1_000_000


def _whole_number(value: Any) -> Any:
    """Digits alone: pydantic would take 1_000 and 5.0 as well."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]

# Of a page's end, as `worklist_order.Place` writes it.
_LIST_PLACE: Final = r"^[0-9]_-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?_[0-9a-f]{32}$"


class StudyQuery(Body):
    """Which studies a program asks for."""

    page: WholeNumber = Field(1, ge=1, le=LAST_PAGE, description="Which page, from 1.")
    after: (
        Annotated[str, StringConstraints(pattern=_LIST_PLACE, max_length=100)]
        | SkipJsonSchema[None]
    ) = Field(
        None,
        description="`next` of another page: what follows it, instead of a page by its number. "
        "Quicker in long lists, and nothing is left out or repeated by what comes in meanwhile.",
    )
    per_page: WholeNumber = Field(
        50, ge=1, le=MOST_PER_PAGE, description="Studies on a page; 50 if it is left out."
    )
    state: Literal["to_read", "read"] | State | SkipJsonSchema[None] = Field(
        None, description="Only studies in this state."
    )
    result: (
        Literal["positive", "likely", "possible", "none_found", "no_result"] | SkipJsonSchema[None]
    ) = Field(None, description="Only studies with this result.")
    side: Literal["right", "left", "both"] | SkipJsonSchema[None] = Field(
        None, description="Only findings on this side."
    )
    verdict: VerdictState | Literal["retracted"] | SkipJsonSchema[None] = Field(
        None,
        description="Only studies whose verdict stands so, or whose AI result was retracted.",
    )


class PictureQuery(Body):
    """Which picture of a study a program asks for."""

    instance: UUID | SkipJsonSchema[None] = Field(
        None, description="One of the study's pictures; without it, the first frontal one."
    )


class _Schemas(GenerateJsonSchema):
    """Schemas without a title for each field: it only repeats the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_NAMED: Final = (
    Problem,
    ReviewConflict,
    Submitted,
    SubmittedArchive,
    StudyPage,
    Study,
    Review,
    PositiveFinding,
    OtherFinding,
    Measurements,
    Uncertainty,
    Region,
    FurtherFinding,
    Quality,
)


def ref(*bodies: type[BaseModel]) -> Json:
    """Points to the schema of a body, or to those of which one applies."""
    found = [{"$ref": _PLACE + body.__name__} for body in bodies]
    return found[0] if len(found) == 1 else {"oneOf": found}


def schemas() -> Json:
    """Every named schema of the document."""
    _, found = models_json_schema(
        [(body, "validation") for body in _NAMED],
        ref_template=_PLACE + "{model}",
        schema_generator=_Schemas,
    )
    definitions: Json = found["$defs"]
    return definitions


def parameters(query: type[BaseModel]) -> list[Json]:
    """The query parameters of a request."""
    schema = query.model_json_schema(ref_template=_PLACE + "{model}", schema_generator=_Schemas)
    return [
        {
            "name": name,
            "in": "query",
            "description": found.pop("description"),
            "schema": {key: value for key, value in found.items() if key != "default"},
        }
        for name, found in schema["properties"].items()
    ]

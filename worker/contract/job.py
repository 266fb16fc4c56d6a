"""A job from the claim to its end, as messages between worker and portal."""

from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from worker.contract.facts import Facts
from worker.contract.message import Code, Message, PortalMessage

# The most jobs that a worker can do at once.
SLOTS_MAX: Final = 64
# From this age on pictures are analysed by default.
ADULT_YEARS: Final = 18


class JobKind(StrEnum):
    """What a job does."""

    RENDER = "render"
    SEGMENT = "segment"
    MEASURE = "measure"
    ENCODE = "encode"
    REPORT = "report"
    DRIFT = "drift"
    EXPORT = "export"
    SEND = "send"


# The queues of workers. Each kind that they do has a Celery task.
Queue = Literal[JobKind.RENDER, JobKind.SEGMENT]
QUEUES: Final[tuple[Queue, ...]] = (JobKind.RENDER, JobKind.SEGMENT)
# What the workers of a queue do, what a reader waits for first. Measuring an outline needs the lung
# finder, which the segment workers have loaded; reports, DICOM objects and drift need no model.
KINDS: Final[dict[Queue, tuple[JobKind, ...]]] = {
    JobKind.RENDER: (JobKind.REPORT, JobKind.RENDER, JobKind.ENCODE, JobKind.DRIFT),
    JobKind.SEGMENT: (JobKind.MEASURE, JobKind.SEGMENT),
}
QUEUE_OF: Final[dict[JobKind, Queue]] = {
    kind: queue for queue, kinds in KINDS.items() for kind in kinds
}
# About no picture and no exam.
OF_NO_EXAM: Final = (JobKind.DRIFT,)
# Their results depend on the model that is used.
WITH_MODEL: Final = (JobKind.SEGMENT, JobKind.MEASURE)
TASKS: Final = {
    JobKind.RENDER: "pleura.render",
    JobKind.SEGMENT: "pleura.segment",
    JobKind.MEASURE: "pleura.measure",
    JobKind.REPORT: "pleura.report",
    JobKind.ENCODE: "pleura.encode",
    JobKind.DRIFT: "pleura.drift",
}


def kinds_of(queue: JobKind) -> tuple[JobKind, ...]:
    """What the workers of a queue do; nothing for a kind that has no queue of its name."""
    return next((kinds for name, kinds in KINDS.items() if name is queue), ())


class Hello(Message):
    """A worker reports that it runs. `engine` and `model` may be empty; `slots` is how many jobs it
    can do at once, which those of the version before do not report.
    """

    name: str
    queue: Queue
    engine: str
    model: str
    slots: Annotated[int, Field(ge=1, le=SLOTS_MAX)] = 1


class ClaimRequest(Message):
    """The worker that claims a job, by its name."""

    worker: str


class NextClaim(Message):
    """A worker asks for the job of its queue that comes first.

    `kinds`: those that it does; workers of older versions do not send it and do the queue's own.
    """

    worker: str
    queue: Queue
    kinds: Annotated[list[JobKind], Field(max_length=len(JobKind))] | None = None


class InputFile(PortalMessage):
    """A file that the job reads."""

    bytes: int
    media_type: str


class RequiredModel(PortalMessage):
    """The model of a segment job. `source` and `archive_sha256` are empty for a shipped folder."""

    name: str
    version: str
    sha256: str
    operating_point: str
    source: str = ""
    archive_sha256: str = ""
    files: dict[str, str] | None = None  # each file of the model and its SHA-256


class Claim(PortalMessage):
    """One attempt at a job, given to one worker. `model` None: the worker uses its own. `age_min`:
    from which age on, in years, a picture of a patient under 18 is analysed; a worker of an older
    version refuses them all.
    """

    job: UUID
    kind: JobKind
    attempt: Annotated[int, Field(ge=1)]
    ticket: Annotated[str, Field(repr=False)]
    lease_seconds: Annotated[float, Field(gt=0)]
    soft_seconds: Annotated[float, Field(gt=0)]
    inputs: dict[str, InputFile] = Field(default_factory=dict)
    facts: Facts | None = None
    model: RequiredModel | None = None
    age_min: Annotated[float, Field(ge=0, le=ADULT_YEARS)] = ADULT_YEARS


class Lease(PortalMessage):
    """The answer to a heartbeat: how long the attempt now belongs to its worker."""

    lease_seconds: Annotated[float, Field(gt=0)]


class FailureKind(StrEnum):
    """Whether another attempt may succeed."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


class Failure(Message):
    """The attempt failed. Codes of newer workers than the portal are stored as they are."""

    code: Code
    kind: FailureKind

"""The tables and enums of the clinical record.

Ids are UUIDs made in Python, times are UTC and aware, enums are CHECKed strings. What can name
a patient is in sealed columns (`sealed_*`) or in blobs and nowhere else. A study is an exam of one
or several instances (pictures). Its status is not stored: it follows from the jobs and predictions
of its instances and from its reviews.
"""

from portal.models.base import Base, UtcDateTime, db
from portal.models.governance import (
    AUDIT_NUMBERS,
    AnnouncedPurge,
    AuditEvent,
    AuditHead,
    AuditLink,
    AuditSubject,
    AuditWriter,
    ClockState,
    Hold,
    IntegrityCheck,
    Purge,
    SchedulerSign,
    StartedPurge,
)
from portal.models.jobs import Job, MissingModel, Worker, WorkerToken
from portal.models.people import (
    ApiToken,
    BreakGlass,
    Invitation,
    LoginSession,
    Passkey,
    RecoveryCode,
    Team,
    User,
)
from portal.models.performance import PerformanceMonth
from portal.models.results import ModelVersion, Prediction, Review, ReviewSeen
from portal.models.studies import POSITIVE, READ, REST, UNAIDED, Blob, Instance, Study
from portal.models.viewing import RefusedFile, ReviewDraft, ViewerPreferences
from portal.models.vocabulary import (
    BlobKind,
    BreakGlassReason,
    Finding,
    HoldReason,
    InvitationPurpose,
    JobState,
    ModelState,
    OperatingPoint,
    OverlayMode,
    OverlayShown,
    PurgeReason,
    Reason,
    Role,
    Sex,
    SizeClass,
    Verdict,
    View,
)
from worker.contract.job import JobKind
from worker.contract.prediction import Band, QualityVerdict

__all__ = [
    "AUDIT_NUMBERS",
    "POSITIVE",
    "READ",
    "REST",
    "UNAIDED",
    "AnnouncedPurge",
    "ApiToken",
    "AuditEvent",
    "AuditHead",
    "AuditLink",
    "AuditSubject",
    "AuditWriter",
    "Band",
    "Base",
    "Blob",
    "BlobKind",
    "BreakGlass",
    "BreakGlassReason",
    "ClockState",
    "Finding",
    "Hold",
    "HoldReason",
    "Instance",
    "IntegrityCheck",
    "Invitation",
    "InvitationPurpose",
    "Job",
    "JobKind",
    "JobState",
    "LoginSession",
    "MissingModel",
    "ModelState",
    "ModelVersion",
    "OperatingPoint",
    "OverlayMode",
    "OverlayShown",
    "Passkey",
    "PerformanceMonth",
    "Prediction",
    "Purge",
    "PurgeReason",
    "QualityVerdict",
    "Reason",
    "RecoveryCode",
    "RefusedFile",
    "Review",
    "ReviewDraft",
    "ReviewSeen",
    "Role",
    "SchedulerSign",
    "Sex",
    "SizeClass",
    "StartedPurge",
    "Study",
    "Team",
    "User",
    "UtcDateTime",
    "Verdict",
    "View",
    "ViewerPreferences",
    "Worker",
    "WorkerToken",
    "db",
]

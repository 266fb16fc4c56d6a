"""The enums of the tables. Those that workers use too are in `worker.contract`."""

from enum import StrEnum


class Role(StrEnum):
    """What a person is in the department; rights follow from it in `access`."""

    TECHNOLOGIST = "technologist"
    READER = "reader"
    ADMIN = "admin"
    AUDITOR = "auditor"


class InvitationPurpose(StrEnum):
    """Why a one-time link was made."""

    INVITE = "invite"
    RESET = "reset"


class JobState(StrEnum):
    """The one state that is stored."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class BlobKind(StrEnum):
    """What an encrypted file holds."""

    SOURCE = "source"
    PIXELS = "pixels"
    PREVIEW = "preview"
    THUMB = "thumb"
    PROBABILITY = "probability"
    MASK = "mask"
    OVERLAY = "overlay"
    REVIEW_MASK = "review_mask"
    REPORT_CONTENT = "report_content"
    REPORT = "report"
    FILED_OBJECT = "filed_object"


class View(StrEnum):
    """How the beam went through the chest (DICOM PS3.3 C.8.11.5, View Position).

    A closed list: what else a header has in that place could name a patient.
    """

    PA = "PA"
    AP = "AP"
    LL = "LL"
    RL = "RL"
    LLD = "LLD"
    RLD = "RLD"
    LLO = "LLO"
    RLO = "RLO"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str | None) -> "View":
        """The view that a header names, `unknown` for any other text."""
        try:
            return cls(text or "unknown")
        except ValueError:
            return cls.UNKNOWN

    @property
    def is_frontal(self) -> bool:
        """Whether the beam went from back to front or from front to back."""
        return self in (View.PA, View.AP)


class Sex(StrEnum):
    """The patient's sex as the header has it (DICOM PS3.3 C.7.1.1)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str | None) -> "Sex":
        """The sex that a header names, `unknown` for any other text."""
        try:
            return cls(text or "unknown")
        except ValueError:
            return cls.UNKNOWN


class ModelState(StrEnum):
    """The state of a model: not yet promoted, in use, or replaced by another."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"


class OperatingPoint(StrEnum):
    """Which of its thresholds a model calls a picture at, from the lowest to the highest."""

    HIGH_SENSITIVITY = "high_sensitivity"
    BALANCED = "balanced"
    HIGH_PRECISION = "high_precision"


class Finding(StrEnum):
    """A reader's finding: where there is a pneumothorax, of the patient's sides."""

    NONE = "none"
    RIGHT = "right"
    LEFT = "left"
    BOTH = "both"
    UNSURE = "unsure"

    @property
    def is_positive(self) -> bool:
        """Whether the reader sees a pneumothorax."""
        return self in (Finding.RIGHT, Finding.LEFT, Finding.BOTH)


class SizeClass(StrEnum):
    """A reader's estimate of a pneumothorax's share of the lung field's area, by eye.

    On both sides: of the larger one.
    """

    BELOW_10 = "below_10"
    FROM_10_TO_30 = "10_to_30"
    ABOVE_30 = "above_30"
    UNKNOWN = "unknown"


class Stratum(StrEnum):
    """The AI's result of an exam, by which exams are drawn for a second read."""

    LIKELY = "likely"
    POSSIBLE = "possible"
    NONE_FOUND = "none_found"
    NO_RESULT = "no_result"


class Verdict(StrEnum):
    """How a reader's finding compares with the model's result; `unaided`: there was none."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    UNAIDED = "unaided"


class VerdictState(StrEnum):
    """How firmly the verdict on an exam stands. `amended`: signed again after a signature."""

    AI_ONLY = "ai_only"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"


class Reason(StrEnum):
    """Why a reader's finding is another than the model's, or what is wrong with the outline."""

    MISSED = "missed"
    FALSE_ALARM = "false_alarm"
    OUTLINE_TOO_LARGE = "outline_too_large"
    OUTLINE_TOO_SMALL = "outline_too_small"
    WRONG_SIDE = "wrong_side"
    SKIN_FOLD = "skin_fold"
    CHEST_DRAIN = "chest_drain"
    BULLA = "bulla"
    CLOTHING = "clothing"
    SCAPULA = "scapula"
    POOR_IMAGE = "poor_image"
    OTHER = "other"


class AiShown(StrEnum):
    """When a team's readers see what the AI found: with the picture, after their own first verdict
    on the exam, or never, as in a study of reading unaided.
    """

    WITH_PICTURE = "with_picture"
    AFTER_VERDICT = "after_verdict"
    NEVER = "never"


class Language(StrEnum):
    """The language of pages and texts (ISO 639-1), of a team or a person: `portal.languages`."""

    EN = "en"
    DE = "de"


class ProofMethod(StrEnum):
    """How a person has shown who they are: what they signed in with, and the second factor."""

    PASSWORD_CODE = "password_code"  # noqa: S105  # pragma: allowlist secret
    PASSWORD_PASSKEY = "password_passkey"  # noqa: S105  # pragma: allowlist secret
    SSO_CODE = "sso_code"
    SSO_PASSKEY = "sso_passkey"


class RetractionReason(StrEnum):
    """Why a model's results are withdrawn, coded."""

    WRONG_RESULTS = "wrong_results"
    WRONG_SETTINGS = "wrong_settings"
    WITHDRAWN_BY_MAKER = "withdrawn_by_maker"
    INCIDENT = "incident"
    OTHER = "other"


class OverlayShown(StrEnum):
    """When the AI overlay is drawn: never, once its key asks for it, or at once."""

    OFF = "off"
    KEY = "key"
    ON = "on"


class OverlayMode(StrEnum):
    """How the AI overlay is drawn."""

    OUTLINE = "outline"
    FILL = "fill"
    HEAT = "heat"


class BreakGlassReason(StrEnum):
    """Why a person opens a case that is not theirs, coded."""

    EMERGENCY = "emergency"
    SECOND_OPINION = "second_opinion"
    INCIDENT = "incident"
    FAULT = "fault"


class PurgeReason(StrEnum):
    """Why a study was destroyed, coded: a free text could name a patient."""

    PATIENT_REQUEST = "patient_request"
    SENT_BY_MISTAKE = "sent_by_mistake"
    WRONG_PATIENT = "wrong_patient"
    TEST_DATA = "test_data"
    RETENTION_ENDED = "retention_ended"
    OTHER = "other"


class MergeReason(StrEnum):
    """Why two patient IDs are one patient's, coded: a free text could name a patient."""

    TWO_IDS = "two_ids"
    TYPING_ERROR = "typing_error"
    TEMPORARY_ID = "temporary_id"
    OTHER_ISSUER = "other_issuer"
    OTHER = "other"


class OrderPriority(StrEnum):
    """How urgent an order is: HL7 table 0485, of which all others count as routine."""

    STAT = "stat"
    ASAP = "asap"
    ROUTINE = "routine"


class HospitalReportState(StrEnum):
    """A report of the hospital's: the final one, or one that corrects it (HL7 table 0123)."""

    FINAL = "final"
    CORRECTED = "corrected"


class HoldReason(StrEnum):
    """Why a study must not be purged, coded."""

    LEGAL_DISPUTE = "legal_dispute"
    INCIDENT = "incident"
    AUTHORITY = "authority"
    OTHER = "other"


class CriticalState(StrEnum):
    """Whether somebody is still to be informed of a critical finding.

    `withdrawn`: a reader stated since that there is none, or that it is not critical.
    """

    OPEN = "open"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Means(StrEnum):
    """How somebody was informed of a critical finding."""

    PHONE = "phone"
    IN_PERSON = "in_person"
    MESSAGE = "message"
    OTHER = "other"


class Channel(StrEnum):
    """Where a notification is sent."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class NotificationState(StrEnum):
    """What became of a notification. `dropped`: there was nobody to send it to."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class ArrivalEnd(StrEnum):
    """What becomes of a picture that arrives, by the rule that it meets. `keep`: it is stored and
    shown and not analysed; `keep_out`: nothing of it is stored; `quarantine`: it is kept sealed
    for a time, outside of all lists.
    """

    ANALYSE = "analyse"
    OFF_PEAK = "off_peak"
    KEEP = "keep"
    KEEP_OUT = "keep_out"
    QUARANTINE = "quarantine"


class RulesChange(StrEnum):
    """What was done to a team's list of rules."""

    ADDED = "added"
    CHANGED = "changed"
    MOVED = "moved"
    SWITCHED_ON = "switched_on"
    SWITCHED_OFF = "switched_off"
    REMOVED = "removed"
    RESTORED = "restored"

"""Why a job failed, coded: the portal stores the code and shows a sentence for it."""

from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """The codes that workers report and those that the portal itself gives."""

    # The file cannot be read (`ml.images.picture.Unreadable`).
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    NO_PIXELS = "no_pixels"
    NOT_SINGLE_FRAME = "not_single_frame"
    UNSUPPORTED_MODALITY = "unsupported_modality"
    UNSUPPORTED_PHOTOMETRIC = "unsupported_photometric"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    DECODE_FAILED = "decode_failed"
    DECODE_LIMIT = "decode_limit"
    DECODER_LOST = "decoder_lost"
    # The picture or the model is not what the job needs.
    FACTS_MISSING = "facts_missing"
    PIXELS_DO_NOT_FIT = "pixels_do_not_fit"
    OUTLINE_DOES_NOT_FIT = "outline_does_not_fit"
    REPORT_REFUSED = "report_refused"
    REPORT_LIMIT = "report_limit"
    REPORT_UNAVAILABLE = "report_unavailable"
    OBJECTS_REFUSED = "objects_refused"
    OBJECTS_LIMIT = "objects_limit"
    OBJECTS_UNAVAILABLE = "objects_unavailable"
    MODEL_UNCLEAR = "model_unclear"
    MODEL_MISSING = "model_missing"
    MODEL_TAMPERED = "model_tampered"
    # The worker could not do it this time.
    ENGINE_LOST = "engine_lost"
    ENGINE_FAILED = "engine_failed"
    OUT_OF_MEMORY = "out_of_memory"
    PROCESS_LOST = "process_lost"
    TIMEOUT = "timeout"
    UNEXPECTED = "unexpected"
    WRONG_QUEUE = "wrong_queue"
    # Between worker and portal.
    PORTAL_UNREACHABLE = "portal_unreachable"
    PORTAL_BROKEN = "portal_broken"
    WORKER_TOKEN_REFUSED = "worker_token_refused"  # noqa: S105  # a code
    ATTEMPT_LOST = "attempt_lost"
    INPUT_REFUSED = "input_refused"
    RESULT_REFUSED = "result_refused"
    # The portal's own.
    LEASE_EXPIRED = "lease_expired"
    GAVE_UP = "gave_up"
    RECORD_DAMAGED = "record_damaged"
    WORKER_TOO_OLD = "worker_too_old"


# What a file's decoder may answer: that the file can't be read, and no other reason.
OF_FILES: Final = frozenset(
    {
        ErrorCode.EMPTY,
        ErrorCode.NOT_AN_IMAGE,
        ErrorCode.TRUNCATED,
        ErrorCode.TOO_LARGE,
        ErrorCode.NO_PIXELS,
        ErrorCode.NOT_SINGLE_FRAME,
        ErrorCode.UNSUPPORTED_MODALITY,
        ErrorCode.UNSUPPORTED_PHOTOMETRIC,
        ErrorCode.UNSUPPORTED_TRANSFER_SYNTAX,
        ErrorCode.DECODE_FAILED,
        ErrorCode.DECODE_LIMIT,
    }
)
# The attempt was ended by what is neither the job's nor its worker's fault.
FROM_OUTSIDE: Final = frozenset({ErrorCode.PORTAL_UNREACHABLE, ErrorCode.PORTAL_BROKEN})

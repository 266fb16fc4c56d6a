"""The check of an uploaded file: a checked header, or `Refused` with a reason, and nothing else.

No header is read in this process (see `portal.formats.header_pool`), and no error of reading one
comes out of here: whatever a file leads to is a reason.
"""

import logging

from portal.formats import header_pool, upload_header
from portal.formats.header_pool import Commitment, ObjectHeader, Work
from portal.formats.refusals import Limits, Refused, refuse
from portal.formats.upload_header import Upload

__all__ = [
    "Commitment",
    "Limits",
    "ObjectHeader",
    "Refused",
    "Upload",
    "Work",
    "check",
    "commitment",
    "object_header",
    "pixels_digest",
]

_log = logging.getLogger(__name__)


def check(filename: str, data: bytes, limits: Limits, work: Work | None = None) -> Upload:
    """Read the header of a DICOM, PNG or JPEG file; Refused has the reason.

    The processor time that it took is added to `work`.
    """
    if not data:
        raise refuse("empty")
    if len(data) > limits.max_bytes:
        raise refuse("too_large", megabytes=limits.max_bytes // (1024 * 1024))
    if upload_header.media_type(data) is None:
        raise refuse("not_an_image")
    try:
        return header_pool.shared().read(filename, data, limits, work)
    except Refused:
        raise
    except Exception as error:  # a broken answer, or no process can be started
        _log.exception("a header could not be read")
        raise refuse("unreadable") from error


def object_header(data: bytes, limits: Limits, work: Work | None = None) -> ObjectHeader:
    """What an object that is no picture is filed by (see `dicom.object_header`), or Refused.

    The processor time that it took is added to `work`.
    """
    if len(data) > limits.max_bytes:
        raise refuse("too_large", megabytes=limits.max_bytes // (1024 * 1024))
    try:
        return header_pool.shared().object_header(data, limits, work)
    except Refused:
        raise
    except Exception as error:
        _log.exception("a header could not be read")
        raise refuse("unreadable") from error


def commitment(data: bytes) -> Commitment:
    """What a request for storage commitment, or its report, names (see `dicom.commitment`), or
    Refused.
    """
    try:
        return header_pool.shared().commitment(data)
    except Refused:
        raise
    except Exception as error:
        _log.exception("a request could not be read")
        raise refuse("unreadable") from error


def pixels_digest(data: bytes, work: Work | None = None) -> str:
    """The digest of an accepted picture's pixels (see `dicom.pixels_digest`), or Refused.

    The processor time that it took is added to `work`.
    """
    try:
        return header_pool.shared().pixels_digest(data, work)
    except Refused:
        raise
    except Exception as error:
        _log.exception("a picture could not be read")
        raise refuse("unreadable") from error

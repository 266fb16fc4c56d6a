"""The encode job: a picture's result becomes DICOM objects, which a process of its own makes."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from typing import Final

from worker.client.portal_client import Attempt
from worker.contract.contents.object_content import ObjectsFound
from worker.contract.error_codes import ErrorCode
from worker.contract.files import FileKind
from worker.contract.message import InvalidMessage
from worker.contract.result import ObjectsResult
from worker.encode.inputs import joined
from worker.errors import Permanent, Transient
from worker.render.pictures import Decoder
from worker.settings import Settings

log = logging.getLogger(__name__)

PROGRAM: Final = "worker.encode.encode_process"
NEEDED: Final = "highdicom"
# What the process may answer: that this header or content makes no objects, or a limit.
_REFUSED: Final = {
    ErrorCode.DECODE_LIMIT: ErrorCode.OBJECTS_LIMIT,
    ErrorCode.OBJECTS_LIMIT: ErrorCode.OBJECTS_LIMIT,
}


class Objects:
    """Makes objects; its process is started with the first set, and again when it was lost."""

    def __init__(self, settings: Settings, program: str = PROGRAM) -> None:
        self._settings, self._program = settings, program
        self._process: Decoder | None = None

    def make(self, attempt: Attempt) -> ObjectsResult:
        """Do one encode job up to its result; the caller finishes it."""
        content = attempt.read_input(FileKind.REPORT_CONTENT)
        header = attempt.read_input(FileKind.SOURCE)
        found, archive = self.archive_of(content, header)
        attempt.store_output(FileKind.REPORT, archive)
        return ObjectsResult(objects=found)

    def archive_of(self, content: bytes, header: bytes) -> tuple[ObjectsFound, bytes]:
        """What a content's objects are, and the archive that holds them.

        Transient OBJECTS_UNAVAILABLE where this machine can't make any: another worker may.
        Permanent OBJECTS_REFUSED or OBJECTS_LIMIT for what makes none.
        """
        head, parts = self._started().answer(joined(content, header))
        if "error" in head:
            raise Permanent(_REFUSED.get(head["error"], ErrorCode.OBJECTS_REFUSED))
        try:
            (archive,) = parts
            found = ObjectsFound.parse(head["objects"])
        except (InvalidMessage, KeyError, ValueError):
            raise Permanent(ErrorCode.RESULT_REFUSED) from None
        if found.sha256 != hashlib.sha256(archive).hexdigest():
            raise Permanent(ErrorCode.RESULT_REFUSED)
        return found, archive

    def _started(self) -> Decoder:
        if self._process is None:
            if importlib.util.find_spec(NEEDED) is None:
                log.warning("This worker makes no DICOM objects: highdicom is not installed.")
                raise Transient(ErrorCode.OBJECTS_UNAVAILABLE)
            try:
                self._process = Decoder(self._settings, self._program)
            except EOFError:
                log.error("the process that makes DICOM objects does not start")
                raise Transient(ErrorCode.OBJECTS_UNAVAILABLE) from None
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()
            self._process = None

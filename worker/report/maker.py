"""The report job: a report's content becomes a PDF, which is made in a process of its own."""

from __future__ import annotations

import hashlib
import logging

from worker.client.portal_client import Attempt
from worker.contract.contents.report_content import ReportFound
from worker.contract.error_codes import ErrorCode
from worker.contract.files import FileKind
from worker.contract.message import InvalidMessage
from worker.contract.result import ReportResult
from worker.errors import Permanent, Transient
from worker.render.pictures import Decoder
from worker.report import parts_needed
from worker.report.parts_needed import FONT_SETTINGS
from worker.settings import Settings

log = logging.getLogger(__name__)

PROGRAM = "worker.report.report_process"
# What the report process may answer: that this content makes no report, or a limit.
_REFUSED = {
    ErrorCode.DECODE_LIMIT: ErrorCode.REPORT_LIMIT,
    ErrorCode.REPORT_LIMIT: ErrorCode.REPORT_LIMIT,
}


class Reports:
    """Makes reports; its process is started with the first one, and again when it was lost."""

    def __init__(self, settings: Settings, program: str = PROGRAM) -> None:
        self._settings, self._program = settings, program
        self._process: Decoder | None = None

    def make(self, attempt: Attempt) -> ReportResult:
        """Do one report job up to its result; the caller finishes it."""
        content = attempt.read_input(FileKind.REPORT_CONTENT)
        found, pdf = self.pdf_of(content)
        attempt.store_output(FileKind.REPORT, pdf)
        return ReportResult(report=found)

    def pdf_of(self, content: bytes) -> tuple[ReportFound, bytes]:
        """What a content's PDF is, and its bytes.

        Transient REPORT_UNAVAILABLE where this machine can't make one: another worker may.
        Permanent REPORT_REFUSED or REPORT_LIMIT for what makes no report.
        """
        head, parts = self._started().answer(content)
        if "error" in head:
            raise Permanent(_REFUSED.get(head["error"], ErrorCode.REPORT_REFUSED))
        try:
            (pdf,) = parts
            found = ReportFound.parse(head["report"])
        except (InvalidMessage, KeyError, ValueError):
            raise Permanent(ErrorCode.RESULT_REFUSED) from None
        if found.sha256 != hashlib.sha256(pdf).hexdigest():
            raise Permanent(ErrorCode.RESULT_REFUSED)
        return found, pdf

    def _started(self) -> Decoder:
        if self._process is None:
            lacking = parts_needed.missing()
            if lacking:
                log.warning(lacking)
                raise Transient(ErrorCode.REPORT_UNAVAILABLE)
            fonts = {"FONTCONFIG_FILE": str(FONT_SETTINGS)}
            try:
                self._process = Decoder(self._settings, self._program, fonts)
            except EOFError:
                log.error("the process that makes reports does not start")
                raise Transient(ErrorCode.REPORT_UNAVAILABLE) from None
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()
            self._process = None

"""The process that sends reports: it looks for what targets are to get, and sends it
(`sends.process`). It opens vault and database as the portal does; no message is written to a disk.
"""

import logging
import threading
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal.governance import scheduler_signs
from portal.hl7.sending import acks, ledger, mllp, oru, preparation, targets, triggers
from portal.hl7.sending.acks import Ack, BadAnswer, Meaning
from portal.hl7.sending.mllp import NoAnswer
from portal.hl7.sending.preparation import Prepared
from portal.listeners import process
from portal.models import ReportSend, SendState, Study
from portal.reports.requests import Compose
from portal.sends import remarks
from portal.sends.process import Sending
from portal.sends.queue import Claim
from portal.services import Services
from portal.studies import sealed_fields

_log = logging.getLogger(__name__)

_CLOCK_SECONDS: Final = 60.0
_LONGEST_REMARK: Final = 120
_KIND: Final = "ORU^R01^ORU_R01"


class ReportSender(Sending[ReportSend]):
    """Sends reports. `compose`: how their text is written, in the pages' wording.
    `answer_seconds`: how long a target may take for its answer.
    """

    def __init__(
        self,
        services: Services,
        engine: Engine,
        compose: Compose,
        *,
        answer_seconds: float = mllp.ANSWER_SECONDS,
    ) -> None:
        super().__init__(services, engine, ledger.QUEUE, scheduler_signs.REPORT_SENDER)
        self._compose = compose
        self._answer_seconds = answer_seconds

    def look(self) -> int:
        """Add the sends of what is new; how many. None while the clock is wrong."""
        now = self._services.clock()
        with self._sessions() as session:
            return triggers.look(session, now) if self._is_clock_right(session) else 0

    def _do(self, claimed: Claim) -> None:
        services, now = self._services, self._services.clock()
        with self._sessions() as session:
            if not self._is_clock_right(session):
                row = ledger.QUEUE.of(session, claimed)
                ledger.QUEUE.wait(session, row, SendState.WAITING, _CLOCK_SECONDS, "clock")
                return
            prepared = preparation.prepare(services, session, self._compose, claimed, now)
        if prepared is None:
            return
        try:
            answered = self._send(prepared)
        except (NoAnswer, BadAnswer) as why:
            with self._sessions() as session:
                row = ledger.QUEUE.of(session, claimed)
                row.answer, row.sealed_remark = "", None
                ledger.try_later(session, row, why.code, services.clock())
        else:
            self._settle(claimed, prepared, answered)

    def _send(self, prepared: Prepared) -> Ack:
        settings, target = self._services.settings, prepared.target
        with mllp.called(settings, target, self._answer_seconds) as called:
            with self._sessions() as session:
                targets.note_certificate(session, target.id, called.certificate_ends)
            assert settings.hl7 is not None
            now = self._services.clock()
            first = oru.header(settings.hl7, target, _KIND, prepared.control_id, now)
            raw = called.send(first + prepared.body)
        return acks.read(raw, prepared.control_id, target.charset)

    def _settle(self, claimed: Claim, prepared: Prepared, answered: Ack) -> None:
        """Write down what the target has answered, its words without what names the patient."""
        vault, now = self._services.vault, self._services.clock()
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, claimed)
            row.answer, row.sealed_remark = answered.codes[:40], None
            remark = remarks.without_patient(answered.remark, prepared.patient, _LONGEST_REMARK)
            if remark and answered.meaning is not Meaning.ACCEPTED:
                # The send's own exam, which may have been joined into the one that was sent.
                exam = session.get_one(Study, row.study_id, populate_existing=True)
                data_key = sealed_fields.key_of(vault, exam)
                row.sealed_remark = sealed_fields.seal_remark(vault, data_key, row.id, remark)
            match answered.meaning:
                case Meaning.ACCEPTED:
                    ledger.accept(session, row, now)
                case Meaning.AGAIN:
                    ledger.try_later(session, row, "answered_error", now)
                case Meaning.NEVER:
                    ledger.fail(session, row, "answered_refused", now)

    def _fail(self, session: Session, row: ReportSend, reason: str) -> None:
        ledger.fail(session, row, reason, self._services.clock())


def run(services: Services, engine: Engine, compose: Compose) -> None:
    """Send until SIGTERM or SIGINT."""
    sender = ReportSender(services, engine, compose)
    process.begin(services.settings.log_level, sender.stopping)
    threading.excepthook = _log_its_kind
    _log.info("sending reports")
    sender.run()
    _log.info("stopping")


def _log_its_kind(failed: threading.ExceptHookArgs) -> None:
    """A thread that ends in an error: its text may quote what was sent."""
    if failed.exc_type is not SystemExit:
        _log.error("a thread ended: %s", failed.exc_type.__name__)

"""One attempt of a send: its objects are stored with the node, and then proven to be there.

The proof is the node's storage commitment, else that C-FIND has the object, else there is none, and
the send ends as sent without proof. Each answer is written down before the next object is sent.
Objects that the node has are not sent again; one whose answer was lost is, under the same UID.
"""

import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy.orm import Session

from portal import audit
from portal.dicom_network import classes
from portal.dicom_network.sending import answers, ledger, peer, preparation, proofs
from portal.dicom_network.sending.answers import Meaning
from portal.dicom_network.sending.peer import File, NoAnswer, Peer
from portal.dicom_network.sending.preparation import Made
from portal.models import (
    DicomNode,
    DicomSend,
    DicomSentObject,
    Instance,
    SendProof,
    SendState,
    SentState,
)
from portal.sends import queue
from portal.sends.queue import Claim
from portal.services import Services
from portal.settings import Settings
from portal.studies import sealed_fields
from portal.vault import NotReadable

# A node that commits on the same association mostly does so at once.
SAME_ASSOCIATION_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 30.0

Sessions = Callable[[], Session]


def proof_seconds(settings: Settings) -> float:
    """How long a report of storage commitment is waited for before C-FIND is asked."""
    return float(settings.dicom_proof_seconds)


@dataclass(frozen=True, slots=True)
class _Object:
    """An object that is to be sent or proven: its key and state in the ledger, and its file."""

    sop_key: str
    state: SentState
    made: Made
    file: File


class Attempt:
    """An attempt of one send, with the node called once. Raises Lapsed where the claim is lost."""

    def __init__(
        self,
        services: Services,
        sessions: Sessions,
        claimed: Claim,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        same_seconds: float = SAME_ASSOCIATION_SECONDS,
    ) -> None:
        self._services = services
        self._sessions = sessions
        self._claimed = claimed
        self._answer_seconds, self._same_seconds = answer_seconds, same_seconds

    def send(self) -> None:
        """Store what the node does not have yet, then prove it."""
        if self._is_over():
            self._settle("")
            return
        node, objects = self._begun()
        waiting = [one for one in objects if one.state is SentState.WAITING]
        try:
            with self._called(node, [one.file for one in objects]) as called:
                self._store_all(called, waiting)
                self._prove(called, objects)
        except NoAnswer as lost:
            self._settle(lost.code)
        else:
            self._settle("")

    def prove(self) -> None:
        """Look for what the node has taken and has not committed."""
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, self._claimed)
            node = session.get_one(DicomNode, row.node_id)
            taken = self._of_state(session, row, SentState.TAKEN)
        try:
            with self._called(node, []) as called:
                self._find(called, taken, is_last=True)
        except NoAnswer:
            with self._sessions() as session:
                row = ledger.QUEUE.of(session, self._claimed)
                row.attempts += 1
                if row.attempts < queue.MOST_ATTEMPTS:
                    pause = queue.pause_after(row.attempts)
                    ledger.QUEUE.wait(session, row, SendState.PROVING, pause, "no_answer")
                    return
                for one in ledger.objects_of(session, row.id):
                    if one.state is SentState.TAKEN:
                        one.state, one.changed = SentState.UNPROVEN, self._now()
                session.commit()
        self._settle("")

    def _is_over(self) -> bool:
        """Whether nothing is left to be sent or proven."""
        with self._sessions() as session:
            found = ledger.objects_of(session, self._claimed.send_id)
            session.commit()
        return not any(one.state in (SentState.WAITING, SentState.TAKEN) for one in found)

    def _begun(self) -> tuple[DicomNode, list[_Object]]:
        """The node and what it does not have yet; the access log has the attempt before it
        begins.
        """
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, self._claimed)
            row.attempts += 1
            row.commitment_id = uuid4()
            node = session.get_one(DicomNode, row.node_id, populate_existing=True)
            audit.append(
                session,
                "dicom_send_begun",
                now=self._now(),
                study_id=row.study_id,
                subject_id=node.id,
                detail={
                    "send": row.id.hex,
                    "attempt": row.attempts,
                    "report": row.report_id.hex if row.report_id else "",
                    "called_at": f"{node.host}:{node.port}",
                },
            )
            session.commit()
            return node, self._of_state(session, row, SentState.WAITING, SentState.TAKEN)

    def _of_state(self, session: Session, row: DicomSend, *states: SentState) -> list[_Object]:
        known = ledger.objects_of(session, row.id)
        wanted = {one.sop_key: one.state for one in known if one.state in states}
        report_id = row.report_id
        session.commit()
        if report_id is None:
            return []
        vault, found = self._services.vault, list[_Object]()
        for made in preparation.files(session, vault, report_id):
            key = vault.lookup("sop_uid", made.about.instance)
            if key in wanted:
                found.append(_Object(key, wanted[key], made, _file(made)))
        return found

    def _called(self, node: DicomNode, files: list[File]) -> AbstractContextManager[Peer]:
        return peer.called(
            self._services.settings, node, files, self._take, seconds=self._answer_seconds
        )

    def _take(self, data: bytes) -> int:
        """A report that comes on this association, in its thread."""
        report = proofs.read(data)
        if report is None:
            return proofs.INVALID_ARGUMENT
        with self._sessions() as session:
            known = proofs.apply(
                session,
                self._services.vault,
                self._claimed.receiver_id,
                report,
                self._now(),
                settles=False,
            )
        return proofs.SUCCESS if known else proofs.INVALID_ARGUMENT

    def _store_all(self, called: Peer, objects: list[_Object]) -> None:
        for number, one in enumerate(objects, 1):
            if not called.accepts(one.file.sop_class, one.file.transfer_syntax):
                self._note(one, SentState.FAILED, "context_refused")
                continue
            answer = called.store(number, one.file)
            match answers.meaning(answer.status):
                case Meaning.STORED:
                    state, code = SentState.TAKEN, ""
                case Meaning.AGAIN:
                    state, code = SentState.WAITING, "put_off"
                case Meaning.NEVER:
                    state, code = SentState.FAILED, "refused"
            self._note(one, state, code, answer)
            with self._sessions() as session:
                self._claimed = ledger.QUEUE.prolong(session, self._claimed)

    def _note(
        self, sent: _Object, state: SentState, code: str, answer: peer.Answer | None = None
    ) -> None:
        """Write down what the node has answered to an object."""
        vault = self._services.vault
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, self._claimed)
            one = session.get_one(DicomSentObject, (row.id, sent.sop_key), populate_existing=True)
            instance = session.get_one(Instance, one.instance_id, populate_existing=True)
            patient = sealed_fields.open_picture_patient(vault, sent.made.data_key, instance)
            one.state, one.code, one.changed = state, code, self._now()
            one.attempts += 1
            one.status, one.sealed_comment = None, None
            if answer is not None:
                one.status = answer.status
                comment = answers.comment(answer.comment, patient)
                if comment:
                    one.sealed_comment = sealed_fields.seal_answer(
                        vault, sent.made.data_key, one, comment
                    )
            session.commit()

    def _prove(self, called: Peer, objects: list[_Object]) -> None:
        taken = [one for one in objects if one.sop_key in self._taken()]
        if not taken:
            return
        named = [(one.file.sop_class, one.file.sop_instance) for one in taken]
        if called.accepts(classes.COMMITMENT):
            with self._sessions() as session:
                row = ledger.QUEUE.of(session, self._claimed)
                commitment_id = row.commitment_id
                session.commit()
            assert commitment_id is not None
            if called.ask_for_commitment(proofs.transaction_uid(commitment_id), named):
                called.await_report(self._same_seconds)
                return
        self._find(called, taken, is_last=False)

    def _taken(self) -> set[str]:
        with self._sessions() as session:
            found = ledger.objects_of(session, self._claimed.send_id)
            session.commit()
        return {one.sop_key for one in found if one.state is SentState.TAKEN}

    def _find(self, called: Peer, objects: list[_Object], *, is_last: bool) -> None:
        """Look for each object. `is_last`: what is not there is not looked for again."""
        can = called.accepts(peer.FIND)
        for one in objects:
            about = one.made.about
            found = called.has(one.made.study_uid, about.series, about.instance) if can else None
            if found is False and not is_last:
                continue  # it may be filed in a moment
            with self._sessions() as session:
                row = ledger.QUEUE.of(session, self._claimed)
                entry = session.get_one(
                    DicomSentObject, (row.id, one.sop_key), populate_existing=True
                )
                if entry.state is SentState.TAKEN:
                    self._found(entry, found)
                session.commit()

    def _found(self, entry: DicomSentObject, found: bool | None) -> None:
        now = self._now()
        if found:
            ledger.prove(entry, SendProof.FOUND, now)
        elif found is None:
            entry.state, entry.changed = SentState.UNPROVEN, now
        else:
            entry.state, entry.code, entry.changed = SentState.WAITING, "not_found", now

    def _settle(self, code: str) -> None:
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, self._claimed)
            if code:
                self._note_lost(session, row, code)
            ledger.settle(
                session, row, self._now(), proof_seconds=proof_seconds(self._services.settings)
            )

    def _note_lost(self, session: Session, row: DicomSend, code: str) -> None:
        """What has no answer of its own yet keeps the reason why the attempt ended."""
        for one in ledger.objects_of(session, row.id):
            if one.state is SentState.WAITING:
                one.code, one.changed = code, self._now()
        session.flush()

    def _now(self) -> datetime:
        return self._services.clock()


def _file(made: Made) -> File:
    """The file of an object, where it is the one that its list names; else NotReadable."""
    try:
        file = peer.parts_of(made.data)
    except (ValueError, struct.error, UnicodeDecodeError):
        raise NotReadable("an object is no DICOM file") from None
    if (file.sop_class, file.sop_instance) != (made.about.sop_class, made.about.instance):
        raise NotReadable("an object is not the one that its list names")
    return file

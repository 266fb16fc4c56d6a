"""A PACS made with pynetdicom that can be faulty: it refuses, forgets, hangs, drops."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context, build_role

from portal.dicom_network import classes
from portal.dicom_network.sending.peer import FIND
from tests.support.dicom.listening import OURS
from worker.contract.contents.object_content import ObjectKind
from xray_files import kinds

TITLE = "PACS"
OBJECTS = (*sorted(classes.OBJECTS), classes.SECONDARY_CAPTURE)
SYNTAXES = (kinds.EXPLICIT, kinds.IMPLICIT, "1.2.840.10008.1.2.4.50")
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
ALL = ",".join(one.value for one in ObjectKind)


@dataclass
class Pacs:
    """What it has and how it behaves.

    commits: `same` association, a `new` one to `reports_to`, `never`, or it knows no commitment
    (empty). statuses: the answers to C-STORE in their order, then 0. hangs, drops: after the data
    set of the first object came. forgets: it stores nothing of what it takes.
    """

    refused: tuple[str, ...] = ()
    statuses: list[int] = field(default_factory=list)
    comment: str = ""
    commits: str = "same"
    finds: bool = True
    forgets: bool = False
    hangs: bool = False
    drops: bool = False
    reports_to: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)
    syntaxes: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    port: int = 0
    reported: threading.Event = field(default_factory=threading.Event)

    def store(self, event: Any) -> int | Dataset:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.taken.append(uid)
        if self.hangs:
            time.sleep(4)
        if self.drops:
            self.drops = False
            event.assoc.abort()
            return 0
        status = self.statuses.pop(0) if self.statuses else 0
        if status == 0 and not self.forgets:
            self.stored[uid] = event.encoded_dataset(include_meta=False)
            self.syntaxes[uid] = str(event.context.transfer_syntax)
        answer = Dataset()
        answer.Status = status
        if self.comment:
            answer.ErrorComment = self.comment
        return answer

    def commit(self, event: Any) -> tuple[int, None]:
        asked = event.action_information
        if self.commits == "never":
            return 0, None
        report = self.report(asked)
        where = self._on_new if self.commits == "new" else self._on_same
        threading.Thread(target=where, args=(event.assoc, *report), daemon=True).start()
        return 0, None

    def report(self, asked: Dataset) -> tuple[Dataset, int]:
        report = Dataset()
        report.TransactionUID = asked.TransactionUID
        report.ReferencedSOPSequence, report.FailedSOPSequence = [], []
        for item in asked.ReferencedSOPSequence:
            if str(item.ReferencedSOPInstanceUID) in self.stored:
                report.ReferencedSOPSequence.append(item)
            else:
                item.FailureReason = 0x0112
                report.FailedSOPSequence.append(item)
        if not report.FailedSOPSequence:
            del report.FailedSOPSequence
            return report, 1
        return report, 2

    def _on_same(self, association: Any, report: Dataset, event_type: int) -> None:
        time.sleep(0.2)
        association.send_n_event_report(
            report, event_type, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
        )

    def _on_new(self, association: Any, report: Dataset, event_type: int) -> None:
        while association.is_established:  # until it was released
            time.sleep(0.05)
        entity = ApplicationEntity(TITLE)
        entity.add_requested_context(classes.COMMITMENT, [kinds.EXPLICIT])
        calling = entity.associate(
            "127.0.0.1",
            self.reports_to,
            ae_title=OURS,
            ext_neg=[build_role(classes.COMMITMENT, scp_role=True)],
        )
        if calling.is_established:
            status, _ = calling.send_n_event_report(
                report, event_type, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
            )
            calling.release()
            if "Status" in status and status.Status == 0:
                self.reported.set()

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        # It leaves keys aside, as some do: all that it has.
        for uid in self.stored:
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = uid
            yield 0xFF00, found


@contextmanager
def running(pacs: Pacs, address: str) -> Iterator[Pacs]:
    """The PACS at an address of this machine that is no loopback."""
    entity = ApplicationEntity(TITLE)
    entity.network_timeout = entity.dimse_timeout = 30
    for one in OBJECTS:
        if one not in pacs.refused:
            entity.add_supported_context(one, list(SYNTAXES))
    handlers: list[Any] = [(evt.EVT_C_STORE, pacs.store)]
    if pacs.commits:
        context = build_context(classes.COMMITMENT, [kinds.EXPLICIT])
        entity.supported_contexts = [*entity.supported_contexts, context]
        handlers.append((evt.EVT_N_ACTION, pacs.commit))
    if pacs.finds:
        entity.add_supported_context(FIND, [kinds.EXPLICIT, kinds.IMPLICIT])
        handlers.append((evt.EVT_C_FIND, pacs.find))
    server = entity.start_server((address, pacs.port), block=False, evt_handlers=handlers)
    assert server is not None
    pacs.port = int(server.server_address[1])
    try:
        yield pacs
    finally:
        server.shutdown()

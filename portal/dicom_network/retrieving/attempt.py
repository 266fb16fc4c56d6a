"""One attempt of a retrieval: the node is searched, then asked for each picture that is not here.

Each picture is asked for by itself, so what was stored is known whenever an attempt ends. What came
or was refused for good is not asked for again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydicom.dataset import Dataset
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal import audit
from portal.dicom_network import arrivals
from portal.dicom_network.retrieving import archive, asking, ledger, search
from portal.dicom_network.retrieving.archive import Archive, Named, NotAnswerable
from portal.dicom_network.retrieving.ledger import Claim
from portal.dicom_network.retrieving.search import Found, Wanted
from portal.dicom_network.sending.peer import NoAnswer
from portal.models import (
    DicomNode,
    DicomSource,
    Instance,
    RetrieveKind,
    Study,
)
from portal.services import Services
from portal.studies import header_columns, sealed_fields
from portal.teams import settings as team_settings
from portal.vault import NotReadable

ANSWER_SECONDS: Final = 60.0
# An object is taken for longer than it is waited for: its node may be a little late.
_TAKEN_SECONDS: Final = archive.OBJECT_SECONDS + 60.0

Sessions = Callable[[], Session]


@dataclass(frozen=True, slots=True)
class _Begun:
    """What an attempt is about."""

    node: DicomNode
    kind: RetrieveKind
    study_id: UUID
    wanted: Wanted


class Attempt:
    """An attempt of one retrieval, with the node called once. Raises Lapsed where the claim is
    lost.
    """

    def __init__(
        self,
        services: Services,
        sessions: Sessions,
        claimed: Claim,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        search_seconds: float = archive.SEARCH_SECONDS,
    ) -> None:
        self._services, self._sessions, self.claimed = services, sessions, claimed
        self._answer_seconds, self._search_seconds = answer_seconds, search_seconds

    def run(self) -> None:
        """Search, ask, and settle what becomes of the retrieval."""
        begun = self._begun()
        if begun is None:
            return
        try:
            with self._called(begun) as called:
                called.require()
                found = search.priors(called, begun.wanted)
                self._ask_for_all(called, begun, self._noted(begun, found))
        except NoAnswer as lost:
            self._settle(lost.code)
        except NotAnswerable as why:
            with self._sessions() as session:
                ledger.fail(session, ledger.of(session, self.claimed), why.code, self._now())
        else:
            self._settle("")

    def _begun(self) -> _Begun | None:
        """What to look for; None where that is over. The access log has the query before it is
        made.
        """
        vault, now = self._services.vault, self._now()
        with self._sessions() as session:
            row = ledger.of(session, self.claimed)
            node = session.get_one(DicomNode, row.node_id, populate_existing=True)
            source = session.get(DicomSource, node.id, populate_existing=True)
            study = session.get_one(Study, row.study_id, populate_existing=True)
            why = _why_not(node, source, study)
            if why or source is None:
                ledger.drop(session, row, why, now)
                return None
            try:
                phi = sealed_fields.open_phi(vault, sealed_fields.key_of(vault, study), study)
            except (NotReadable, UnicodeDecodeError):
                ledger.fail(session, row, "damaged", now)
                return None
            row.attempts += 1
            audit.append(
                session,
                "dicom_query_begun",
                now=now,
                study_id=row.study_id,
                subject_id=node.id,
                detail={
                    "retrieval": row.id.hex,
                    "attempt": row.attempts,
                    "asked_by": row.asked_by.hex if row.asked_by else "",
                    "called_at": f"{node.host}:{node.port}",
                },
            )
            wanted = Wanted(
                patient_id=phi.get("patient_id", ""),
                issuer=phi.get("issuer", ""),
                study_uid=phi.get("study_uid", ""),
                before=phi.get("study_date", "").replace("-", ""),
                most=team_settings.settings_of(session, study.team_id).priors_most,
            )
            begun = _Begun(node, source.kind, study.id, wanted)
            session.commit()
            return begun

    def _called(self, begun: _Begun) -> AbstractContextManager[Archive]:
        return archive.called(
            self._services.settings,
            begun.node,
            begun.kind,
            lambda event: self._take(begun.node, event),
            seconds=self._answer_seconds,
            search_seconds=self._search_seconds,
        )

    def _take(self, node: DicomNode, event: Any) -> int | Dataset:
        """C-STORE on our association: what was asked for comes in as by the listener."""
        request, bounded = event.request, event.assoc.dimse
        is_dropped = bounded.is_too_large or bounded.is_without_room
        sent = arrivals.Sent(
            sop_class=str(request.AffectedSOPClassUID),
            sop_instance=str(request.AffectedSOPInstanceUID),
            context_class=str(event.context.abstract_syntax),
            transfer_syntax=str(event.context.transfer_syntax),
            data_set=b"" if is_dropped else event.encoded_dataset(include_meta=False),
            is_too_large=bounded.is_too_large,
            is_without_room=bounded.is_without_room,
        )
        request.DataSet = None  # one copy is enough
        answer = arrivals.take(
            *(self._services, self._sessions, node.id, node.host or "", sent), is_answer=True
        )
        return arrivals.as_status(answer)

    def _noted(self, begun: _Begun, found: Found) -> list[Named]:
        """Write down what was found; which of it is to be asked for."""
        vault = self._services.vault
        with self._sessions() as session:
            row = ledger.of(session, self.claimed)
            known = asking.of(session, row.id)
            to_ask, here = list[Named](), 0
            for one in found.pictures:
                state = known.get(asking.key_of(vault, one.sop_uid))
                if state is None and self._is_here(session, begun, one):
                    here += 1
                elif state not in asking.ENDED:
                    to_ask.append(one)
            row.found, row.known = len(found.pictures), here
            audit.append(
                session,
                "dicom_queried",
                now=self._now(),
                study_id=row.study_id,
                subject_id=row.node_id,
                detail={
                    "retrieval": row.id.hex,
                    "exams": found.studies,
                    "left_out": found.left_out,
                    "pictures": row.found,
                    "known": here,
                },
            )
            session.commit()
        return to_ask

    def _is_here(self, session: Session, begun: _Begun, one: Named) -> bool:
        key = header_columns.keyed(self._services.vault, "sop_uid", {"sop_uid": one.sop_uid})
        is_known = exists().where(Instance.team_id == begun.node.team_id, Instance.sop_key == key)
        return session.scalar(select(is_known)) is True

    def _ask_for_all(self, called: Archive, begun: _Begun, pictures: list[Named]) -> None:
        vault = self._services.vault
        patient_key = header_columns.number_key(vault, "patient_id", begun.wanted.patient_id)
        for one in pictures:
            key = asking.key_of(vault, one.sop_uid)
            with self._sessions() as session:
                self.claimed = ledger.prolong(session, self.claimed)
                row = ledger.of(session, self.claimed)
                asking.begin(session, row, key, patient_key, _TAKEN_SECONDS)
                session.commit()
            code = "no_answer"
            try:
                code = called.retrieve(one)
            except NoAnswer as lost:
                code = lost.code
                raise
            finally:
                with self._sessions() as session:
                    asking.close(session, self.claimed.retrieval_id, key, code)

    def _settle(self, code: str) -> None:
        with self._sessions() as session:
            ledger.settle(session, ledger.of(session, self.claimed), code, self._now())

    def _now(self) -> datetime:
        return self._services.clock()


def _why_not(node: DicomNode, source: DicomSource | None, study: Study) -> str:
    """Why nothing is looked for any more; empty where it is."""
    if source is None:
        return "not_queried"
    if node.team_id != study.team_id:
        return "other_team"
    return "purged" if study.purged_at is not None else ""

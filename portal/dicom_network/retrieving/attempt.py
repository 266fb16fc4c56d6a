"""One attempt of a retrieval: the node is searched, then asked for each picture that is not here.

Each picture is asked for by itself, so what was stored is known whenever an attempt ends. What came
or was refused for good is not asked for again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal import audit
from portal.dicom_network import arrivals
from portal.dicom_network.retrieving import archive, asking, backfills, ledger, search
from portal.dicom_network.retrieving.archive import Archive, Named, NotAnswerable
from portal.dicom_network.retrieving.ledger import Claim
from portal.dicom_network.retrieving.search import Wanted
from portal.dicom_network.sending.peer import NoAnswer
from portal.models import (
    AskedState,
    DicomBackfill,
    DicomNode,
    DicomRetrieval,
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
# After so many pictures of a day (`search.MOST_OBJECTS`) others of the node have their turn.
_ROUND_SECONDS: Final = 1.0
_GOES_ON: Final = "goes_on"
# An object is taken for longer than it is waited for: its node may be a little late.
_TAKEN_SECONDS: Final = archive.OBJECT_SECONDS + 60.0

Sessions = Callable[[], Session]


class _NotNow(Exception):
    """The node may not be asked any more, or is another team's now."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What an attempt is about: the patient of an exam, or a day of a back-fill (YYYYMMDD).
    `goes_on`: it goes on after as many pictures of the day as are asked for at a time.
    """

    node: DicomNode
    kind: RetrieveKind
    wanted: Wanted | None = None
    day: str = ""
    modality: str = ""
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Pictures that are to be asked for, and how many are here already."""

    to_ask: list[Named]
    here: int


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
                if begun.wanted is not None:
                    self._retrieve_priors(called, begun, begun.wanted)
                    is_complete = True
                else:
                    is_complete = self._retrieve_day(called, begun)
        except NoAnswer as lost:
            self._settle(lost.code)
        except _NotNow:
            with self._sessions() as session:
                row = ledger.of(session, self.claimed)
                row.attempts -= 1  # none that failed
                self._wait(session, row, 0.0, "")
        except NotAnswerable as why:
            with self._sessions() as session:
                ledger.fail(session, ledger.of(session, self.claimed), why.code, self._now())
        else:
            if is_complete:
                self._settle("")

    def _begun(self) -> _Begun | None:
        """What to look for; None where that is over. The access log has the query before it is
        made.
        """
        now = self._now()
        with self._sessions() as session:
            row = ledger.of(session, self.claimed)
            node = session.get_one(DicomNode, row.node_id, populate_existing=True)
            source = session.get(DicomSource, node.id, populate_existing=True)
            if source is None:
                ledger.drop(session, row, "not_queried", now)
                return None
            if row.study_id is None:
                found = self._day_of(session, row, node, source)
            else:
                found = self._priors_of(session, row, node, source)
            if found is None:
                return None
            if row.attempts >= ledger.MOST_ATTEMPTS:  # the last one had no end: it was killed
                ledger.fail(session, row, row.reason or "no_answer", now)
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
            session.commit()
            return found

    def _priors_of(
        self, session: Session, row: DicomRetrieval, node: DicomNode, source: DicomSource
    ) -> _Begun | None:
        """The patient of the exam; None where the retrieval has ended."""
        vault, now = self._services.vault, self._now()
        study = session.get_one(Study, row.study_id, populate_existing=True)
        if study.purged_at is not None or node.team_id != study.team_id:
            why = "purged" if study.purged_at is not None else "other_team"
            ledger.drop(session, row, why, now)
            return None
        try:
            phi = sealed_fields.open_phi(vault, sealed_fields.key_of(vault, study), study)
        except (NotReadable, UnicodeDecodeError):
            ledger.fail(session, row, "damaged", now)
            return None
        wanted = Wanted(
            patient_id=phi.get("patient_id", ""),
            issuer=phi.get("issuer", ""),
            study_uid=phi.get("study_uid", ""),
            before=phi.get("study_date", "").replace("-", ""),
            most=team_settings.settings_of(session, study.team_id).priors_most,
        )
        return _Begun(node, source.kind, wanted)

    def _day_of(
        self, session: Session, row: DicomRetrieval, node: DicomNode, source: DicomSource
    ) -> _Begun | None:
        """The day of a back-fill; None where it may not go on now."""
        if self._lets_go(session, row):
            return None
        backfill = session.get_one(DicomBackfill, row.backfill_id)
        assert row.day is not None
        return _Begun(
            *(node, source.kind),
            day=f"{row.day:%Y%m%d}",
            modality=backfill.modality,
            goes_on=row.reason == _GOES_ON,
        )

    def _lets_go(self, session: Session, row: DicomRetrieval) -> bool:
        """Whether the back-fill may not go on now; then the retrieval waits or has ended."""
        why, seconds = backfills.why_not(session, row, self._now())
        if why == "ended_by_admin":
            ledger.count(session, row)
            ledger.drop(session, row, why, self._now())
        elif why:
            self._wait(session, row, seconds, why)
        return bool(why)

    def _wait(self, session: Session, row: DicomRetrieval, seconds: float, why: str) -> None:
        """Let go of a day that goes on later."""
        ledger.count(session, row)
        ledger.wait(session, row, seconds, why)

    def _called(self, begun: _Begun) -> AbstractContextManager[Archive]:
        return archive.called(
            self._services.settings,
            begun.node,
            begun.kind,
            lambda event: self._take(begun.node, event),
            seconds=self._answer_seconds,
            search_seconds=self._search_seconds,
            before_search=self._prolong,
        )

    def _prolong(self) -> None:
        """The claim for longer: one patient may have many exams, each of which is searched."""
        with self._sessions() as session:
            self.claimed = ledger.prolong(session, self.claimed)

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

    def _retrieve_priors(self, called: Archive, begun: _Begun, wanted: Wanted) -> None:
        found = search.priors(called, wanted)
        with self._sessions() as session:
            row = ledger.of(session, self.claimed)
            sorted_ = self._sorted(session, begun.node, found.pictures)
            row.found, row.known = len(found.pictures), sorted_.here
            counts = {"exams": found.studies, "left_out": found.left_out}
            self._log_answer(session, row, counts)
            session.commit()
        self._ask_for_all(called, begun.node, wanted.patient_id, sorted_.to_ask)

    def _retrieve_day(self, called: Archive, begun: _Begun) -> bool:
        """Retrieve a day's pictures, exam by exam; False where it goes on later."""
        exams = found = here = asked = 0
        if not begun.goes_on:
            with self._sessions() as session:
                asking.forget_failed(session, ledger.of(session, self.claimed).id)
                session.commit()
        for patient_id, pictures in search.of_day(called, begun.day, begun.modality):
            with self._sessions() as session:
                self.claimed = ledger.prolong(session, self.claimed)
                row = ledger.of(session, self.claimed)
                row.attempts -= 1  # where it goes on later, this was none that failed
                if self._lets_go(session, row):
                    return False
                if asked >= search.MOST_OBJECTS:
                    self._wait(session, row, _ROUND_SECONDS, _GOES_ON)
                    return False
                row.attempts += 1
                # What did not come waits for the next attempt, or a day of many such has no end.
                over = (*asking.ENDED, AskedState.FAILED)
                sorted_ = self._sorted(session, begun.node, pictures, over)
                exams, found, here = exams + 1, found + len(pictures), here + sorted_.here
                row.found, row.known = max(row.found, found), max(row.known, here)
                session.commit()
            self._ask_for_all(called, begun.node, patient_id, sorted_.to_ask)
            asked += len(sorted_.to_ask)
        with self._sessions() as session:
            row = ledger.of(session, self.claimed)
            row.found, row.known = found, here
            self._log_answer(session, row, {"exams": exams, "left_out": 0})
            session.commit()
        return True

    def _sorted(
        self,
        session: Session,
        node: DicomNode,
        pictures: list[Named],
        over: tuple[AskedState, ...] = asking.ENDED,
    ) -> _Sorted:
        """Which pictures are to be asked for: none that is here or `over`."""
        vault = self._services.vault
        known = asking.of(session, self.claimed.retrieval_id)
        to_ask, here = list[Named](), 0
        for one in pictures:
            state = known.get(asking.key_of(vault, one.sop_uid))
            if state is None and self._is_here(session, node, one):
                here += 1
            elif state not in over:
                to_ask.append(one)
        return _Sorted(to_ask, here)

    def _log_answer(self, session: Session, row: DicomRetrieval, counts: dict[str, int]) -> None:
        audit.append(
            session,
            "dicom_queried",
            now=self._now(),
            study_id=row.study_id,
            subject_id=row.node_id,
            detail={
                "retrieval": row.id.hex,
                **counts,
                "pictures": row.found,
                "known": row.known,
            },
        )

    def _is_here(self, session: Session, node: DicomNode, one: Named) -> bool:
        key = header_columns.keyed(self._services.vault, "sop_uid", {"sop_uid": one.sop_uid})
        is_known = exists().where(Instance.team_id == node.team_id, Instance.sop_key == key)
        return session.scalar(select(is_known)) is True

    def _ask_for_all(
        self, called: Archive, node: DicomNode, patient_id: str, pictures: list[Named]
    ) -> None:
        """Ask for each picture by itself. Without a patient ID its header may have any. Raises
        _NotNow.
        """
        vault = self._services.vault
        patient_key = ""
        if patient_id:
            patient_key = header_columns.patient_key(vault, "", patient_id)
        for one in pictures:
            key = asking.key_of(vault, one.sop_uid)
            with self._sessions() as session:
                self.claimed = ledger.prolong(session, self.claimed)
                row = ledger.of(session, self.claimed)
                if ledger.team_of(session, node.id) != node.team_id:
                    raise _NotNow
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

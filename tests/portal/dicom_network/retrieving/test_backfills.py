"""Back-fill by date: day by day in the off-peak hours, paused, resumed, ended."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.dicom_network.retrieving import backfills, ledger, search
from portal.dicom_network.retrieving.backfills import BackfillLine, Typed
from portal.dicom_network.retrieving.retriever import Retriever
from portal.errors import Conflict, Invalid
from portal.models import (
    BackfillState,
    DicomNode,
    DicomRetrieval,
    RetrievalState,
    TeamChoices,
)
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom import archive
from tests.support.dicom.archive import Archive, film, retrieving, source

DAYS = Typed("2020-01-01", "2020-01-03", "")


def hours(clinic: Clinic, *, is_now: bool) -> None:
    """Let the off-peak hours of the team be all of the day, or another hour than this one."""
    here = NOW.astimezone().hour
    begin = here if is_now else (here + 3) % 24
    with clinic.session as session:
        session.merge(
            TeamChoices(
                team_id=clinic.owner.team_id,
                off_peak_from=begin,
                off_peak_until=begin if is_now else (begin + 1) % 24,
            )
        )
        session.commit()


@contextmanager
def archived(clinic: Clinic, pacs: Archive) -> Iterator[tuple[Retriever, DicomNode]]:
    """A retriever of an archive, in the off-peak hours."""
    address = own_address()
    hours(clinic, is_now=True)
    with archive.running(pacs, address), retrieving(clinic, address, pacs.port) as retriever:
        yield retriever, source(clinic, pacs.port, address, priors=False)


def begin(clinic: Clinic, node: DicomNode, typed: Typed = DAYS) -> UUID:
    with clinic.session as session:
        return backfills.begin(session, clinic.admin, node.id, typed, NOW)


def set_state(clinic: Clinic, backfill_id: UUID, state: BackfillState) -> None:
    with clinic.session as session:
        backfills.set_state(session, clinic.admin, backfill_id, state, NOW)


def line(clinic: Clinic) -> BackfillLine:
    with clinic.session as session:
        (found,) = backfills.lines(session, clinic.admin)
    return found


def days(clinic: Clinic) -> dict[date, tuple[RetrievalState, str]]:
    with clinic.session as session:
        rows = session.scalars(select(DicomRetrieval).order_by(DicomRetrieval.day))
        return {one.day: (one.state, one.reason) for one in rows if one.day}


def films() -> list[bytes]:
    return [
        film("20200101", PatientID="ONE"),
        film("20200103", PatientID="TWO"),
        film("20200103", PatientID="THREE", Modality="CR"),
        film("20200104", PatientID="FOUR"),
        film("20200103", PatientID="FIVE", Modality="CT"),
    ]


def test_day_by_day_the_newest_first(clinic: Clinic) -> None:
    with archived(clinic, Archive(films())) as (retriever, node):
        begin(clinic, node)
        order = list[date]()
        while retriever.look():
            order.append(min(days(clinic)))
            assert retriever.step(node.id)
            assert not retriever.step(node.id)
    assert order == [date(2020, 1, 3), date(2020, 1, 2), date(2020, 1, 1)]
    found = line(clinic)
    assert (found.state, found.days, found.of_days) == (BackfillState.DONE, 3, 3)
    assert (found.found, found.known, found.retrieved, found.failed) == (3, 0, 3, 0)
    assert all(one.is_old for one in archive.studies(clinic))
    assert archive.asked_objects(clinic) == []


def test_one_modality_and_what_is_here_already(clinic: Clinic) -> None:
    here, *others = films()
    clinic.submit(here)
    with archived(clinic, Archive([here, *others])) as (retriever, node):
        begin(clinic, node, Typed("2020-01-01", "2020-01-03", "DX"))
        while retriever.look():
            retriever.step(node.id)
    found = line(clinic)
    assert (found.found, found.known, found.retrieved) == (2, 1, 1)


def test_only_in_the_off_peak_hours(clinic: Clinic) -> None:
    with archived(clinic, Archive(films())) as (retriever, node):
        hours(clinic, is_now=False)
        begin(clinic, node)
        assert retriever.look() == 0
        hours(clinic, is_now=True)
        assert retriever.look() == 1
        hours(clinic, is_now=False)
        assert retriever.step(node.id)
        assert days(clinic) == {date(2020, 1, 3): (RetrievalState.WAITING, "off_peak")}
        assert archive.the_retrieval(clinic).attempts == 0
        assert not retriever.step(node.id)  # not before they begin
    assert archive.pictures(clinic) == 0


def test_a_paused_one_rests_and_is_resumed(clinic: Clinic) -> None:
    with archived(clinic, Archive(films())) as (retriever, node):
        backfill_id = begin(clinic, node)
        retriever.look()
        set_state(clinic, backfill_id, BackfillState.PAUSED)
        assert retriever.step(node.id)
        assert days(clinic) == {date(2020, 1, 3): (RetrievalState.WAITING, "paused")}
        assert (retriever.look(), retriever.step(node.id)) == (0, False)
        set_state(clinic, backfill_id, BackfillState.RUNNING)
        assert retriever.step(node.id)
    assert days(clinic) == {date(2020, 1, 3): (RetrievalState.DONE, "")}
    assert archive.pictures(clinic) == 2


def test_an_ended_one_is_over(clinic: Clinic) -> None:
    with archived(clinic, Archive(films())) as (retriever, node):
        backfill_id = begin(clinic, node)
        retriever.look()
        with pytest.raises(Conflict) as refused:
            begin(clinic, node)
        assert refused.value.code == "one_at_a_time"
        set_state(clinic, backfill_id, BackfillState.ENDED)
        assert retriever.step(node.id)
        assert days(clinic) == {date(2020, 1, 3): (RetrievalState.DROPPED, "ended_by_admin")}
        assert retriever.look() == 0
        with pytest.raises(Conflict):
            set_state(clinic, backfill_id, BackfillState.RUNNING)
        begin(clinic, node)  # another one may begin


def test_so_many_pictures_a_round(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_OBJECTS", 1)
    with archived(clinic, Archive(films())) as (retriever, node):
        begin(clinic, node)
        retriever.look()
        archive.due(clinic)
        assert retriever.step(node.id)
        assert days(clinic) == {date(2020, 1, 3): (RetrievalState.WAITING, "goes_on")}
        assert archive.pictures(clinic) == 1
        archive.due(clinic)
        assert retriever.step(node.id)
    assert days(clinic) == {date(2020, 1, 3): (RetrievalState.DONE, "")}
    assert (archive.pictures(clinic), line(clinic).retrieved) == (2, 2)


def test_a_day_of_pictures_that_never_come_is_over_after_its_last_attempt(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_OBJECTS", 1)
    pacs = Archive(films(), status=0xC001)
    with archived(clinic, pacs) as (retriever, node):
        begin(clinic, node)
        retriever.look()
        for _ in range(ledger.MOST_ATTEMPTS):
            for reason in ("goes_on", "node_failed"):
                archive.due(clinic)
                assert retriever.step(node.id)
                assert days(clinic)[date(2020, 1, 3)][1] == reason
    assert days(clinic) == {date(2020, 1, 3): (RetrievalState.FAILED, "node_failed")}
    asked = Counter(pacs.asked)
    assert list(asked.values()) == [ledger.MOST_ATTEMPTS] * 2


def test_priors_come_before_a_day(clinic: Clinic) -> None:
    with archived(clinic, Archive(films())) as (retriever, node):
        begin(clinic, node)
        retriever.look()
        archive.ask(clinic, clinic.submit(film(f"{NOW:%Y%m%d}")).study_id)
        assert retriever.step(node.id)
        assert days(clinic) == {date(2020, 1, 3): (RetrievalState.WAITING, "")}


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        (Typed("", "2020-01-01", ""), "days"),
        (Typed("2020-01-02", "2020-01-01", ""), "days"),
        (Typed("1979-12-31", "1980-01-01", ""), "days"),
        (Typed("2020-01-01", "2999-01-01", ""), "days"),
        (Typed("2000-01-01", "2015-01-01", ""), "days"),
        (Typed("2020-01-01", "2020-01-01", "CT"), "modality"),
    ],
)
def test_what_can_t_be_is_refused(clinic: Clinic, typed: Typed, wrong: str) -> None:
    node = source(clinic, 104, "10.1.2.3")
    with pytest.raises(Invalid) as refused:
        begin(clinic, node, typed)
    assert refused.value.code == wrong


def test_only_admins_and_only_nodes_that_may_be_queried(clinic: Clinic) -> None:
    node = source(clinic, 104, "10.1.2.3", queried="")
    with pytest.raises(Denied):
        begin(clinic, node)
    with clinic.session as session, pytest.raises(Denied):
        backfills.begin(session, clinic.mate, node.id, DAYS, NOW)
    with clinic.session as session, pytest.raises(Denied):
        backfills.set_state(session, clinic.admin, node.id, BackfillState.PAUSED, NOW)

"""Purge with proof, legal holds, retention: what goes, what stays, and what is written down."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal import errors
from portal.access import Denied
from portal.audit import verification
from portal.governance import clock, joins, legal_holds, purges, retention
from portal.models import AuditEvent, HoldReason, Purge, PurgeReason, Study
from portal.reading import reviews
from portal.settings import Settings
from portal.vault.blob_store import StorageUnavailable
from tests.portal.vault.test_vault import files
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED
from tests.support.wait import only_on_sqlite

REQUEST = PurgeReason.PATIENT_REQUEST


def purge(clinic: Clinic, study_id: UUID, now: datetime = NOW, reference: str = "") -> Purge:
    with clinic.session as session:
        proof = purges.purge(
            session, clinic.vault, clinic.admin, study_id, now, reason=REQUEST, reference=reference
        )
    assert proof is not None
    return proof


def hold(clinic: Clinic, study_id: UUID) -> None:
    with clinic.session as session:
        legal_holds.hold(session, clinic.admin, study_id, reason=HoldReason.LEGAL_DISPUTE, now=NOW)


def review(clinic: Clinic, study_id: UUID, now: datetime = NOW) -> None:
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=now)


def keeping(clinic: Clinic, **days: int) -> Settings:
    return clinic.core.settings.model_copy(
        update={f"retention_{kind}_days": n for kind, n in days.items()}
    )


def due(clinic: Clinic, settings: Settings, now: datetime) -> dict[UUID, str]:
    with clinic.session as session:
        return {one.study_id: one.kind for one in retention.due(session, settings, now)}


def is_purged(clinic: Clinic, study_id: UUID) -> bool:
    with clinic.session as session:
        return session.get_one(Study, study_id).wrapped_key is None


# The proof


def test_the_proof_names_the_key_every_file_and_nothing_of_the_patient(clinic: Clinic) -> None:
    study_id = clinic.done()
    on_disk = {path.name: path.stat().st_size for path in files(clinic.core.data_dir)}
    with clinic.session as session:
        ring_key = session.get_one(Study, study_id).key_id
    proof = purge(clinic, study_id, reference="DS-2026/14")
    proved = json.loads(proof.proof)
    assert {file["name"] for file in proved["destroyed"]["files"]} == set(on_disk)
    assert proved["destroyed"]["key"]["ring_key"] == ring_key
    assert (proved["reason"], proved["reference"]) == ("patient_request", "DS-2026/14")
    assert proved["purged_by"] == str(clinic.admin.user_id)
    # Not the year alone: a digest may have such digits.
    for word in ("PHANTOM", "P-0001", "19630501", "1963-05", "A-77"):
        assert word not in proof.proof


def test_after_a_purge_nothing_of_the_study_remains(clinic: Clinic) -> None:
    study_id = clinic.done()
    purge(clinic, study_id)
    with clinic.session as session:
        left = purges.residual_data(session, clinic.vault, study_id)
    assert left.is_empty
    assert (left.key, left.sealed_values, left.lookups, left.files) == (False, 0, 0, 0)


def test_a_bucket_that_is_away_does_not_undo_a_purge(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = clinic.done()

    def away(_name: str) -> None:
        raise StorageUnavailable("the bucket does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(clinic.vault, "destroy", away)
        with clinic.session as session:
            proof = purges.purge(session, clinic.vault, clinic.admin, study_id, NOW, reason=REQUEST)
        assert proof is None
        assert is_purged(clinic, study_id)
        with clinic.session as session:
            assert purges.residual_data(session, clinic.vault, study_id).files > 0
    with clinic.session as session:
        assert purges.finish_started(session, clinic.vault, NOW) == 1
        assert purges.residual_data(session, clinic.vault, study_id).is_empty


def test_a_file_that_comes_back_is_seen(clinic: Clinic) -> None:
    study_id = clinic.done()
    path = files(clinic.core.data_dir)[0]
    data = path.read_bytes()
    purge(clinic, study_id)
    path.write_bytes(data)
    with clinic.session as session:
        left = purges.residual_data(session, clinic.vault, study_id)
    assert left.files == 1
    assert not left.is_empty


def test_the_proofs_digest_stands_in_the_log(clinic: Clinic) -> None:
    proof = purge(clinic, clinic.done())
    with clinic.session as session:
        row = session.scalars(select(AuditEvent).where(AuditEvent.event == "study_purged")).one()
        assert json.loads(row.detail)["proof"] == proof.digest
        assert purges.is_genuine(session, session.get_one(Purge, proof.study_id))
        assert verification.verify(session).is_whole


def test_a_proof_that_was_changed_is_not_genuine(clinic: Clinic) -> None:
    proof = purge(clinic, clinic.done())
    with clinic.session as session:
        row = session.get_one(Purge, proof.study_id)
        session.expunge(row)
        row.proof = row.proof.replace("patient_request", "test_data")
        assert not purges.is_genuine(session, row)


@pytest.mark.parametrize("verb", ["UPDATE purges SET reference = 'x1'", "DELETE FROM purges"])
def test_proofs_can_only_be_added(clinic: Clinic, verb: str) -> None:
    purge(clinic, clinic.done())
    with clinic.session as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(verb))


@pytest.mark.parametrize("reference", ["Zebra", "DS 14 Zebra", "x" * 39 + "12", "4\n5", "=1"])
def test_a_name_is_no_reference(clinic: Clinic, reference: str) -> None:
    study_id = clinic.done()
    with pytest.raises(errors.Conflict, match=r"^bad_reference:"):
        purge(clinic, study_id, reference=reference)
    assert not is_purged(clinic, study_id)


def test_a_second_purge_and_an_unknown_case_are_refused(clinic: Clinic) -> None:
    study_id = clinic.done()
    purge(clinic, study_id)
    with pytest.raises(errors.Conflict, match=r"^already_purged:"):
        purge(clinic, study_id)
    with pytest.raises(errors.Conflict, match=r"^no_such_case:"):
        purge(clinic, uuid4())


# Found without seeing a patient


def test_a_case_is_found_by_number_and_id_without_patient_data(clinic: Clinic) -> None:
    study_id = clinic.done()
    for asked in (study_id.hex[:6], study_id.hex[:6].upper(), str(study_id), f" {study_id.hex} "):
        with clinic.session as session:
            (found,) = legal_holds.find_cases(session, clinic.admin, asked)
        assert (found.study_id, found.team, found.state, found.files) == (
            *(study_id, "Here", "done"),
            6,
        )
        assert "PHANTOM" not in repr(found)
    for asked in ("", "PHANTOM^ONE", "P-0001", "zzzzzz", str(uuid4())):
        with clinic.session as session:
            assert legal_holds.find_cases(session, clinic.admin, asked) == []


@pytest.mark.parametrize("person", ["owner", "mate", "auditor", "outsider"])
def test_only_an_administrator_finds_holds_lifts_and_reads_proofs(
    clinic: Clinic, person: str
) -> None:
    study_id, actor = clinic.done(), getattr(clinic, person)
    tries: list[Callable[..., object]] = [
        lambda session: legal_holds.find_cases(session, actor, str(study_id)),
        lambda session: legal_holds.hold(
            session, actor, study_id, reason=HoldReason.OTHER, now=NOW
        ),
        lambda session: legal_holds.lift(session, actor, study_id, now=NOW),
        lambda session: legal_holds.holds(session, actor),
        lambda session: purges.proofs(session, actor),
        lambda session: purges.proof_of(session, actor, study_id),
    ]
    for attempt in tries:
        with clinic.session as session, pytest.raises(Denied):
            attempt(session)


def sweep(clinic: Clinic, settings: Settings, until: int, since: int = 0) -> list[list[UUID]]:
    """Rounds of retention, one a day, by a scheduler that runs on; what each has purged."""
    found = []
    for day in range(since, until + 1):
        with clinic.session as session:
            clock.judge(session, after(days=day), timedelta(days=1))
            done = retention.run(session, clinic.vault, settings, after(days=day))
        found.append([one.study_id for one in done.purged])
    return found


def purged_in(rounds: list[list[UUID]]) -> list[UUID]:
    return [study_id for one in rounds for study_id in one]


# Holds


def test_a_held_study_is_not_purged_by_a_person_or_by_retention(clinic: Clinic) -> None:
    study_id, other = clinic.done(), clinic.done()
    hold(clinic, study_id)
    with pytest.raises(errors.Conflict, match=r"^held:"):
        purge(clinic, study_id)
    settings = keeping(clinic, unreviewed=10)
    with clinic.session as session:
        assert retention.held_back(session, settings, after(days=11)) == 1
    assert purged_in(sweep(clinic, settings, until=12)) == [other]
    assert not is_purged(clinic, study_id)


def test_a_lifted_hold_holds_no_longer(clinic: Clinic) -> None:
    study_id = clinic.done()
    hold(clinic, study_id)
    with pytest.raises(errors.Conflict, match=r"^held:"):
        hold(clinic, study_id)
    with clinic.session as session:
        assert [number for _, number in legal_holds.holds(session, clinic.admin)] == [
            study_id.hex[:6].upper()
        ]
        legal_holds.lift(session, clinic.admin, study_id, reference="AZ-7", now=NOW)
        assert legal_holds.holds(session, clinic.admin) == []
    with clinic.session as session, pytest.raises(errors.Conflict, match=r"^not_held:"):
        legal_holds.lift(session, clinic.admin, study_id, now=NOW)
    purge(clinic, study_id)
    with clinic.session as session:
        events = session.scalars(
            select(AuditEvent.event).where(AuditEvent.study_id == study_id)
        ).all()
    assert events[-4:] == ["hold_set", "hold_lifted", "purge_started", "study_purged"]


# Retention


def test_nothing_is_due_as_long_as_no_days_are_set(clinic: Clinic) -> None:
    clinic.done()
    assert due(clinic, clinic.core.settings, after(days=40_000)) == {}


def test_each_class_has_its_own_time(clinic: Clinic) -> None:
    reviewed, unreviewed = clinic.done(), clinic.done()
    refused = clinic.done(**REFUSED)
    failed = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(failed).id)
    assert ticket is not None
    clinic.fail(ticket, "decode_failed", "permanent")
    review(clinic, reviewed, after(days=5))
    settings = keeping(clinic, reviewed=30, unreviewed=20, no_result=10)
    assert due(clinic, settings, after(days=9)) == {}
    no_result = {refused: "no_result", failed: "no_result"}
    assert due(clinic, settings, after(days=11)) == no_result
    assert due(clinic, settings, after(days=21)) == no_result | {unreviewed: "unreviewed"}
    assert reviewed not in due(clinic, settings, after(days=34))  # 30 days from its review
    assert due(clinic, settings, after(days=36))[reviewed] == "reviewed"


def test_a_class_without_days_is_never_purged(clinic: Clinic) -> None:
    reviewed, unreviewed = clinic.done(), clinic.done()
    review(clinic, reviewed)
    assert due(clinic, keeping(clinic, reviewed=30), after(days=400)) == {reviewed: "reviewed"}
    assert due(clinic, keeping(clinic, unreviewed=30), after(days=400)) == {
        unreviewed: "unreviewed"
    }


def test_retention_purges_what_is_due_with_its_reason(clinic: Clinic) -> None:
    old = [clinic.done() for _ in range(3)]
    young = clinic.done(now=after(days=20))
    settings = keeping(clinic, unreviewed=30)
    *before, last = sweep(clinic, settings, until=31)
    assert purged_in(before) == []
    assert set(last) == set(old)
    assert not is_purged(clinic, young)
    with clinic.session as session:
        for study_id in old:
            assert purges.residual_data(session, clinic.vault, study_id).is_empty
            proof = session.get_one(Purge, study_id)
            assert (proof.reason, proof.purged_by) == (PurgeReason.RETENTION_ENDED, None)
        again = retention.run(session, clinic.vault, settings, after(days=31))
    assert (again.purged, again.left, again.clock_state) == ([], [], "ok")


def test_retention_does_not_purge_what_a_picture_or_a_join_has_just_reached(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = {"StudyInstanceUID": "1.2.3.5"}
    grown = clinic.submit(**uid, SOPInstanceUID="1.2.3.5.1").study_id
    joined, young = clinic.done(), clinic.done(now=after(days=30))
    settings, now = keeping(clinic, unreviewed=30), after(days=31)
    sweep(clinic, settings, until=30)
    with clinic.session as session:
        clock.judge(session, now, timedelta(days=1))
        found = retention.due(session, settings, now)
    assert {one.study_id for one in found} == {grown, joined}
    clinic.submit(now=now, **uid, SOPInstanceUID="1.2.3.5.2")
    with clinic.session as session:
        joins.join(session, clinic.vault, clinic.admin, young, joined, now)
    monkeypatch.setattr(retention, "_ripe", lambda *_args: (found, []))
    with clinic.session as session:
        done = retention.run(session, clinic.vault, settings, now)
    assert done.purged == []
    assert not any(is_purged(clinic, study_id) for study_id in (grown, joined, young))


def test_a_case_is_listed_for_seven_days_and_a_hold_takes_it_off(clinic: Clinic) -> None:
    first, second = clinic.done(), clinic.done()
    settings = keeping(clinic, unreviewed=30)
    sweep(clinic, settings, until=22)
    with clinic.session as session:
        assert retention.announced(session, clinic.admin) == ([], 0)
    sweep(clinic, settings, since=23, until=24)
    with clinic.session as session, pytest.raises(Denied):
        retention.announced(session, clinic.mate)
    with clinic.session as session:
        listed, total = retention.announced(session, clinic.admin)
        events = session.scalars(
            select(AuditEvent.study_id).where(AuditEvent.event == "purge_announced")
        ).all()
    assert {one.study_id for one in listed} == {first, second} == set(events)
    assert total == 2
    assert all(one.earliest > after(days=30) for one in listed)
    hold(clinic, second)
    assert purged_in(sweep(clinic, settings, since=25, until=32)) == [first]
    with clinic.session as session:
        assert retention.announced(session, clinic.admin) == ([], 0)
        legal_holds.lift(session, clinic.admin, second, now=after(days=32))
    assert purged_in(sweep(clinic, settings, since=33, until=39)) == []
    assert purged_in(sweep(clinic, settings, since=40, until=41)) == [second]


def test_a_jump_of_the_clock_skips_no_day_of_the_list(clinic: Clinic) -> None:
    study_id = clinic.done()
    settings = keeping(clinic, unreviewed=10)
    sweep(clinic, settings, until=4)
    for hours in range(3):  # six days in which the scheduler has run three hours
        with clinic.session as session:
            clock.judge(session, after(days=10, hours=hours), timedelta(hours=1))
            done = retention.run(
                session, clinic.vault, settings, after(days=10 + hours, hours=hours)
            )
        assert (done.purged, done.clock_state) == ([], "ok")
    assert not is_purged(clinic, study_id)


def test_a_round_purges_twenty_at_most(clinic: Clinic) -> None:
    studies = {clinic.submit().study_id for _ in range(22)}
    settings = keeping(clinic, unreviewed=10)
    assert purged_in(sweep(clinic, settings, until=9)) == []
    rounds = sweep(clinic, settings, since=10, until=13)
    assert [len(one) for one in rounds if one] == [20, 2]
    assert set(purged_in(rounds)) == studies


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("instances", "created", "1xx"), ("instances", "view", "nonsense")],
)
def test_a_study_that_cannot_be_read_keeps_no_other_from_retention(
    clinic: Clinic, table: str, column: str, value: str
) -> None:
    """A time that comes before all others would be first in each round."""
    if value == "1xx":
        only_on_sqlite(clinic.core.engine)
    damaged, well = clinic.done(), clinic.done()
    settings = keeping(clinic, unreviewed=10)
    spoil(clinic.core, table, column, value, f"study_id = '{damaged.hex}'")
    assert purged_in(sweep(clinic, settings, until=10)) == []
    with clinic.session as session:
        clock.judge(session, after(days=11), timedelta(days=1))
        done = retention.run(session, clinic.vault, settings, after(days=11))
    assert [one.study_id for one in done.purged] == [well]
    assert done.unreadable == [damaged]
    assert set(due(clinic, settings, after(days=11))) <= {damaged}


def test_of_a_hold_and_a_purge_at_the_same_time_only_one_comes_through(clinic: Clinic) -> None:
    def attempt(act: Callable[[], object]) -> bool:
        try:
            act()
        except errors.Conflict:
            return False
        return True

    for _ in range(8):
        study_id = clinic.done()
        with ThreadPoolExecutor(2) as pool:
            held = pool.submit(attempt, lambda study_id=study_id: hold(clinic, study_id))
            purged = pool.submit(attempt, lambda study_id=study_id: purge(clinic, study_id))
            assert [held.result(60), purged.result(60)].count(True) == 1
        assert is_purged(clinic, study_id) is purged.result()

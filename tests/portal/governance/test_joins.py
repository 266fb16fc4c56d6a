"""Two exams that are one: keys move, files do not, holds and purges are united."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal import audit
from portal.access import Denied
from portal.audit import verification
from portal.errors import Conflict
from portal.governance import joins, legal_holds, purges, retention
from portal.models import (
    POSITIVE,
    Blob,
    HoldReason,
    Instance,
    Job,
    JobKind,
    Purge,
    PurgeReason,
    Study,
)
from portal.operations import integrity, key_rotation
from portal.reading import case, reviews, worklist
from portal.reading.lists.history import history
from portal.studies import exams
from portal.vault import Vault
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import facts_of, rendered


def reviewed(clinic: Clinic, minute: int, comment: str) -> UUID:
    study_id = clinic.done(after(minutes=minute))
    with clinic.session as session:
        reviews.add_review(
            session,
            clinic.vault,
            clinic.mate,
            study_id,
            finding="unsure",
            comment=comment,
            now=after(minutes=minute + 1),
        )
    return study_id


def join(clinic: Clinic, survivor: UUID, absorbed: UUID) -> None:
    with clinic.session as session:
        joins.join(session, clinic.vault, clinic.admin, survivor, absorbed, after(hours=1))


def digests(clinic: Clinic) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(clinic.core.data_dir)
    }


@pytest.fixture
def pair(clinic: Clinic) -> tuple[UUID, UUID]:
    """Two reviewed exams of the same patient."""
    return reviewed(clinic, 0, "the first"), reviewed(clinic, 10, "the second")


def whole(clinic: Clinic) -> bool:
    with clinic.session as session:
        report = integrity.inspect(
            session, clinic.vault, after(hours=3), progress=lambda _done, _all: None
        )
        assert verification.verify(session).is_whole
    return (report.findings, report.orphans) == ([], [])


@pytest.mark.parametrize(
    ("survivor", "absorbed", "is_old"),
    [(True, False, False), (False, True, False), (True, True, True)],
)
def test_an_exam_of_today_is_raised_although_it_is_joined_with_an_old_one(
    clinic: Clinic, survivor: bool, absorbed: bool, is_old: bool
) -> None:
    one, two = clinic.done(), clinic.done(after(minutes=1))
    with clinic.session as session:
        for study_id, value in ((one, survivor), (two, absorbed)):
            session.get_one(Study, study_id).is_old = value
        session.commit()
    join(clinic, one, two)
    with clinic.session as session:
        study = session.get_one(Study, one)
        assert (study.is_old, study.rank == POSITIVE) == (is_old, not is_old)
        # Its turnaround begins with the exam of today.
        assert study.new_since == (after(minutes=1) if survivor and not absorbed else None)


def test_a_joined_exam_is_found_by_the_family_names_of_both(clinic: Clinic) -> None:
    one = clinic.submit(PatientName="Zebra^Ann", StudyInstanceUID="1.2.1").study_id
    two = clinic.submit(PatientName="Okapi^Ann", StudyInstanceUID="1.2.2").study_id
    join(clinic, one, two)
    for name in ("zebra", "Okapi"):
        with clinic.session as session:
            page = worklist.worklist(
                session, clinic.vault, clinic.mate, query=name, now=after(hours=1)
            )
        assert [row.study_id for row in page.rows] == [one]


def test_everything_is_read_in_one_case_and_no_file_was_touched(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    one, two = pair
    before = digests(clinic)
    join(clinic, one, two)
    assert digests(clinic) == before
    assert whole(clinic)
    for asked in pair:
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, clinic.mate, asked, after(hours=1))
            for picture in view.pictures:
                for kind in picture.blobs:
                    read = case.read_blob(
                        session,
                        clinic.vault,
                        clinic.mate,
                        asked,
                        kind,
                        after(hours=1),
                        picture=picture.instance_id,
                    )
                    assert read.data
        assert view.study_id == one
        assert len(view.pictures) == 2
        assert [review.comment for review in view.reviews] == ["the first", "the second"]
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, now=after(hours=1))
        own = history(session, clinic.vault, clinic.mate, now=after(hours=1))
        by_number = worklist.worklist(
            session, clinic.vault, clinic.mate, query=two.hex[:6], now=after(hours=1)
        )
    assert [row.study_id for row in page.rows] == [one]
    assert [row.study_id for row in own.rows] == [one]
    assert [row.study_id for row in by_number.rows] == [one]


def test_the_old_id_still_means_its_own_picture(clinic: Clinic, pair: tuple[UUID, UUID]) -> None:
    one, two = pair
    with clinic.session as session:
        own = {row.study_id: row.id for row in session.scalars(select(Instance))}
    join(clinic, one, two)
    for asked in pair:
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, clinic.mate, asked, NOW)
        assert view.picture.instance_id == own[asked]


def test_a_hold_on_either_holds_both_and_each_is_lifted_by_itself(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    one, two = pair
    with clinic.session as session:
        for study_id in pair:
            legal_holds.hold(
                session, clinic.admin, study_id, reason=HoldReason.INCIDENT, now=after(minutes=30)
            )
    join(clinic, one, two)
    for _ in pair:
        with clinic.session as session, pytest.raises(Conflict) as held:
            purges.purge(
                session, clinic.vault, clinic.admin, two, NOW, reason=PurgeReason.TEST_DATA
            )
        assert held.value.code == "held"
        with clinic.session as session:
            assert legal_holds.find_cases(session, clinic.admin, two.hex[:6])[0].hold
            legal_holds.lift(session, clinic.admin, two, now=after(hours=2))
    with clinic.session as session:
        assert legal_holds.held(session, one) is None


def test_a_purge_destroys_both_and_the_proof_names_all(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    one, two = pair
    join(clinic, one, two)
    with clinic.session as session:
        proof = purges.purge(
            session, clinic.vault, clinic.admin, two, after(hours=2), reason=PurgeReason.TEST_DATA
        )
        pictures = session.scalars(select(Instance)).all()
        assert proof.study_id == one
        for named in (one, two, *(row.id for row in pictures)):
            assert str(named) in proof.proof
        assert purges.residual_data(session, clinic.vault, two).is_empty
        assert purges.is_genuine(session, session.get_one(Purge, one))
        assert purges.proof_of(session, clinic.admin, two) is not None
        assert session.scalars(select(Blob)).all() == []
        rows = session.scalars(select(Study)).all()
    assert all(row.wrapped_key is None and row.purged_at for row in rows)
    assert all(row.wrapped_key is None and row.sealed_phi is None for row in pictures)
    assert files(clinic.core.data_dir) == []
    assert whole(clinic)


def test_keys_rotate_after_a_join(clinic: Clinic, pair: tuple[UUID, UUID]) -> None:
    join(clinic, *pair)
    rotating = Vault(clinic.core.settings)
    new = rotating.add_key(NOW)
    with clinic.session as session:
        done = key_rotation.rewrap(session, rotating, NOW)
        assert key_rotation.keys_in_use(session, rotating) == {new}
    assert (done.studies, done.pictures) == (2, 2)
    assert whole(clinic)


def test_a_rotation_in_the_middle_of_a_join_leaves_every_key_readable(
    clinic: Clinic, pair: tuple[UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The join goes by a key ring that it read before, as a command's is for a minute."""
    rotating, wrap = Vault(clinic.core.settings), clinic.vault.wrap
    running: list[Future[None]] = []

    def rotate() -> None:
        rotating.add_key(NOW)
        with clinic.session as session:
            key_rotation._rewrap_all(session, rotating, Instance)  # its studies are moved already

    with ThreadPoolExecutor(1) as pool:

        def wrap_and_rotate(*place: Any) -> Any:
            wrapped = wrap(*place)
            if not running:
                running.append(pool.submit(rotate))
                wait(running, timeout=1)
            return wrapped

        monkeypatch.setattr(clinic.vault, "wrap", wrap_and_rotate)
        join(clinic, *pair)
        running[0].result(60)
    assert whole(clinic)


def test_a_running_job_ends_in_the_exam_that_holds_its_picture(clinic: Clinic) -> None:
    one = clinic.done()
    two = clinic.submit(now=after(minutes=1)).study_id
    ticket = clinic.claim(clinic.job(two).id)
    assert ticket is not None
    join(clinic, one, two)
    clinic.store(ticket, **rendered(8, 6))
    follower = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert follower is not None
    clinic.segment(follower)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, one, after(hours=1))
    assert view.state.is_settled
    assert all(picture.prediction for picture in view.pictures)
    assert whole(clinic)


def test_a_chain_of_joins_leads_to_the_last(clinic: Clinic) -> None:
    one, two, three = (clinic.done(after(minutes=n)) for n in range(3))
    join(clinic, two, three)
    join(clinic, one, two)
    with clinic.session as session:
        assert session.get_one(Study, three).joined_into == one
        view = case.open_study(session, clinic.vault, clinic.mate, three, after(hours=1))
    assert (view.study_id, len(view.pictures)) == (one, 3)
    assert whole(clinic)


def test_what_cannot_be_joined_is_refused_and_left_as_it_is(clinic: Clinic) -> None:
    one, two = clinic.done(), clinic.done(after(minutes=1))
    theirs = clinic.submit(actor=clinic.outsider).study_id
    gone = clinic.done(after(minutes=2))
    with clinic.session as session:
        purges.purge(session, clinic.vault, clinic.admin, gone, NOW, reason=PurgeReason.TEST_DATA)
    for survivor, absorbed, code in (
        (one, one, "same_case"),
        (one, theirs, "another_team"),
        (one, gone, "already_purged"),
        (gone, one, "already_purged"),
        (one, UUID(int=1), "no_such_case"),
    ):
        with pytest.raises(Conflict) as refused:
            join(clinic, survivor, absorbed)
        assert refused.value.code == code
    join(clinic, one, two)
    with pytest.raises(Conflict) as refused:
        join(clinic, one, two)
    assert refused.value.code == "already_joined"
    with clinic.session as session, pytest.raises(Denied):
        joins.join(session, clinic.vault, clinic.mate, one, two, NOW)
    assert whole(clinic)


def test_retention_counts_from_the_last_picture_and_any_review(clinic: Clinic) -> None:
    settings = clinic.core.settings.__class__.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(clinic.core.data_dir),
            "PLEURA_RETENTION_REVIEWED_DAYS": "10",
            "PLEURA_RETENTION_UNREVIEWED_DAYS": "5",
        }
    )
    old, young = clinic.done(), reviewed(clinic, 24 * 60, "the next day")
    join(clinic, old, young)
    with clinic.session as session:
        assert retention.due(session, settings, after(days=10, hours=1)) == []
        (due,) = retention.due(session, settings, after(days=11, hours=1))
    assert (due.study_id, due.kind) == (old, "reviewed")


def test_jobs_go_over_with_their_pictures(clinic: Clinic, pair: tuple[UUID, UUID]) -> None:
    join(clinic, *pair)
    with clinic.session as session:
        jobs = session.scalars(select(Job)).all()
    assert {job.study_id for job in jobs} == {pair[0]}
    assert sorted(job.kind for job in jobs) == [JobKind.RENDER] * 2 + [JobKind.SEGMENT] * 2


def test_the_log_of_a_joined_case_is_found_by_either_number_or_id(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    with clinic.session as session:  # a list that shows both, before they are one
        worklist.worklist(session, clinic.vault, clinic.mate, now=after(minutes=40))
    join(clinic, *pair)
    other = clinic.done(after(minutes=50))
    found = []
    with clinic.session as session:
        for named in (*pair, *(study_id.hex[:6] for study_id in pair)):
            ids = exams.ids_of_case(session, str(named))
            criteria = audit.AuditFilter(study_ids=ids)
            rows = audit.search(session, clinic.auditor, now=after(hours=2), criteria=criteria)
            found.append([(row.seq, row.event, row.study_id) for row in rows])
        assert exams.ids_of_case(session, "no case") == ()
        assert exams.ids_of_case(session, str(UUID(int=1))) == (UUID(int=1),)
    assert found[0] == found[1] == found[2] == found[3]
    assert {study_id for _, _, study_id in found[0]} == {*pair, None}
    events = [event for _, event, _ in found[0]]
    assert events.count("study_submitted") == events.count("review_added") == 2
    assert "worklist_read" in events
    assert other not in {study_id for _, _, study_id in found[0]}

"""A picture that is here already: decided by content under a lock, and healed where it is lost."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.errors import Conflict
from portal.formats.header_pool import HeaderPool
from portal.formats.zip_archive import ArchiveLimits
from portal.governance import joins
from portal.intake import zip_submission
from portal.models import AuditEvent, BlobKind, Instance, JobState, Purge, Study
from portal.studies import sealed_fields, stored_files
from portal.vault import NotReadable, Vault
from tests.campaigns import same_uid
from tests.campaigns.same_uid import purge, shown
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.pictures import dicom
from tests.support.wait import (
    noted_while_waiting,
    only_on_postgresql,
    stopped_once,
    until_it_waits,
)

LIMITS = ArchiveLimits(2**26, 2**26)


def stored(clinic: Clinic, instance_id: UUID) -> bytes:
    """The picture's file, decrypted."""
    with clinic.session as session:
        instance = session.get_one(Instance, instance_id)
        blob = stored_files.current(session, instance_id, BlobKind.SOURCE)
        assert blob is not None
        key = sealed_fields.instance_key_of(clinic.vault, instance)
        return stored_files.read(clinic.vault, key, blob)


def one_uid(count: int) -> bytes:
    """A ZIP of so many different pictures of one SOPInstanceUID."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(1, count + 1):
            archive.writestr(f"{number}.dcm", shown(number))
    return stream.getvalue()


def sent(clinic: Clinic, archive: bytes) -> list[zip_submission.Arrival]:
    with clinic.session as session:
        arrivals = zip_submission.submit_archive(
            session, clinic.vault, clinic.owner, archive, NOW, limits=LIMITS
        )
        return list(arrivals)


# Work


def test_a_zip_of_one_uid_reads_the_first_picture_once(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, read = Vault.get, list[str]()

    def counted(vault: Vault, data_key: bytes, **parts: Any) -> bytes:
        read.append(parts["name"])
        return get(vault, data_key, **parts)

    monkeypatch.setattr(Vault, "get", counted)
    found = sent(clinic, one_uid(6))
    assert [one.outcome for one in found] == ["received"] * 6
    assert [one.submitted.same_uid for one in found if one.submitted] == [False, *[True] * 5]
    assert len(read) == 1


def test_comparing_pixels_counts_as_work_of_the_zip(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = HeaderPool.pixels_digest

    def slow(pool: HeaderPool, data: bytes, *work: Any) -> str:
        found = digest(pool, data, *work)
        for one in work:
            one.seconds += LIMITS.most_seconds(len(data))
        return found

    monkeypatch.setattr(HeaderPool, "pixels_digest", slow)
    found = sent(clinic, one_uid(4))
    assert [one.code for one in found] == ["", "", "archive_work", "archive_work"]


def test_the_database_is_free_while_pixels_are_compared(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = noted_while_waiting(monkeypatch, clinic.core.engine)
    sent(clinic, one_uid(3))
    assert [what for what, _ in noted].count("pixels_digest") == 3, (
        "the first one's, and two others"
    )
    assert all(is_free for _, is_free in noted), noted


# A stored file that is lost


@pytest.mark.parametrize("harm", ["lost", "damaged", "cut off"])
def test_the_same_file_takes_the_place_of_a_lost_one(clinic: Clinic, harm: str) -> None:
    data = dicom()
    first = clinic.submit(data)
    job = clinic.job(first.study_id)
    ticket = clinic.claim(job.id)
    assert ticket is not None
    (path,) = files(clinic.core.data_dir)
    sealed = path.read_bytes()
    path.unlink()
    if harm != "lost":
        path.write_bytes(sealed[:-1] if harm == "cut off" else flipped(sealed))
    clinic.fail(ticket, "input_refused", "permanent")
    with pytest.raises(NotReadable):
        stored(clinic, first.instance_id)
    again = clinic.submit(data, now=after(minutes=1))
    assert (again.duplicate, again.remarks) == (True, ("stored_again",))
    assert (again.study_id, again.instance_id) == (first.study_id, first.instance_id)
    assert stored(clinic, first.instance_id) == data
    assert again.job_id == job.id
    assert clinic.state_of(job.id) is JobState.QUEUED
    assert files(clinic.core.data_dir) == [path]
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
    assert rows[-1].event == "study_sent_again"
    assert rows[-1].detail == f'{{"stored_again":"{first.instance_id.hex}"}}'
    assert clinic.submit(data).remarks == ()


def test_a_lost_file_is_put_back_by_a_colleague_who_learns_nothing_of_the_case(
    clinic: Clinic,
) -> None:
    data = dicom()
    first = clinic.submit(data)
    files(clinic.core.data_dir)[0].unlink()
    with pytest.raises(Conflict) as conflict:
        clinic.submit(data, actor=clinic.colleague)
    assert conflict.value.code == "already_sent"
    assert stored(clinic, first.instance_id) == data


def test_the_same_pixels_in_another_file_are_stored_beside_one_that_is_lost(
    clinic: Clinic,
) -> None:
    clinic.submit(shown(1))
    others = [clinic.submit(shown(2, StudyDescription=f"export {n}")) for n in range(2)]
    assert [one.duplicate for one in others] == [False, True]
    for path in files(clinic.core.data_dir):
        path.unlink()
    data = shown(2, StudyDescription="export 3")
    last = clinic.submit(data)
    assert (last.duplicate, last.same_uid) == (False, True)
    assert stored(clinic, last.instance_id) == data


def test_a_picture_whose_key_is_gone_is_not_called_a_duplicate(clinic: Clinic) -> None:
    data = dicom()
    first = clinic.submit(data)
    with clinic.session as session:
        session.get_one(Instance, first.instance_id).key_id = "gone"
        session.commit()
    with pytest.raises(Conflict) as conflict:
        clinic.submit(data)
    assert conflict.value.code == "key_missing"


# Two at once, held in both orders


@pytest.mark.parametrize("held", [1, 2])
@pytest.mark.parametrize("place", [same_uid.after_the_look, same_uid.before_the_file])
def test_two_pictures_of_a_uid_are_both_kept_in_either_order(
    clinic: Clinic, held: int, place: same_uid.Place
) -> None:
    if place is same_uid.after_the_look:
        only_on_postgresql(clinic.core.engine)
    data, other = shown(held), shown(3 - held)
    first, second = same_uid.between(clinic, data, other, place)
    assert (first.duplicate, second.duplicate) == (False, False)
    assert (first.same_uid, second.same_uid) == (False, True)
    assert stored(clinic, first.instance_id) == other
    assert stored(clinic, second.instance_id) == data


@pytest.mark.parametrize("other_header", [False, True])
def test_a_picture_that_is_purged_after_the_look_is_stored_anew(
    clinic: Clinic, other_header: bool
) -> None:
    """Else it would be called a duplicate of what nobody has any more."""
    only_on_postgresql(clinic.core.engine)
    data = shown(1)
    first = clinic.submit(data)
    data = shown(1, StudyDescription="exported again") if other_header else data
    words = "instances.sop_key = " if other_header else "instances.content_key = "
    with stopped_once(clinic.core.engine, words, lambda: purge(clinic, first.study_id)):
        again = clinic.submit(data)
    assert not again.duplicate
    assert again.study_id != first.study_id
    assert stored(clinic, again.instance_id) == data


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_purge_waits_for_the_answer_about_a_known_picture(clinic: Clinic, is_lost: bool) -> None:
    """The other order: answered under the exam's lock, then purged, with all of its files."""
    only_on_postgresql(clinic.core.engine)
    data = shown(1)
    first = clinic.submit(data)
    if is_lost:
        files(clinic.core.data_dir)[0].unlink()
    with ThreadPoolExecutor(1) as pool:
        running = list[Future[None]]()

        def purge_too() -> None:
            running.append(pool.submit(purge, clinic, first.study_id))
            until_it_waits(clinic.core.engine, running[0])
            assert not running[0].done()

        with stopped_once(clinic.core.engine, "FOR NO KEY UPDATE", purge_too):
            again = clinic.submit(data)
        running[0].result(60)
    assert (again.duplicate, again.study_id) == (True, first.study_id)
    with clinic.session as session:
        assert session.get_one(Study, first.study_id).purged_at is not None
        assert session.scalars(select(Purge.study_id)).all() == [first.study_id]
    assert files(clinic.core.data_dir) == []


def test_a_picture_whose_exam_is_joined_after_the_look_leads_to_the_exam_that_holds_it(
    clinic: Clinic,
) -> None:
    only_on_postgresql(clinic.core.engine)
    data = shown(1)
    first, other = clinic.submit(data), clinic.submit()

    def join() -> None:
        with clinic.session as session:
            joins.join(session, clinic.vault, None, other.study_id, first.study_id, NOW)

    with stopped_once(clinic.core.engine, "instances.content_key = ", join):
        again = clinic.submit(data)
    assert (again.duplicate, again.study_id) == (True, other.study_id)

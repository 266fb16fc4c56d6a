"""The overlay, which is drawn from stored files, or was stored by a worker of a version before."""

import sys
from types import FrameType

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.formats.limited_work import PLACES, Busy, places
from portal.models import Blob, BlobKind
from portal.reading import case, served_files
from portal.vault import NotReadable
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import prediction_of, segmented
from tests.support.pictures import png


def test_the_overlay_is_drawn_when_it_is_asked_for_and_never_stored(clinic: Clinic) -> None:
    study_id = clinic.done()
    for _ in range(2):
        with clinic.session as session:
            found = case.read_blob(session, clinic.vault, clinic.mate, study_id, "overlay", NOW)
        assert found.media_type == "image/png"
        assert found.data.startswith(b"\x89PNG")
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
        assert BlobKind.OVERLAY not in session.scalars(select(Blob.kind)).all()
    assert BlobKind.OVERLAY in view.picture.blobs


def test_an_overlay_is_drawn_by_another_process_and_remembered(clinic: Clinic) -> None:
    """No function of the drawing runs where pages are made, and the second time none at all."""
    study_id = clinic.done()
    other_id = clinic.submit(
        StudyInstanceUID="1.2.826.4711", SOPInstanceUID="1.2.826.4712"
    ).study_id
    clinic.segment(clinic.render(other_id))
    called = set[str]()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        called.add(frame.f_code.co_filename.rpartition("/")[2])

    def read(which: object) -> bytes:
        with clinic.session as session:
            return case.read_blob(session, clinic.vault, clinic.mate, which, "overlay", NOW).data

    sys.setprofile(note)
    try:
        first = read(study_id)
    finally:
        sys.setprofile(None)
    assert "served_files.py" in called
    assert "drawn_overlay.py" not in called
    for _ in range(PLACES):
        assert places.acquire(blocking=False)
    try:
        assert read(study_id) == first
        with pytest.raises(Busy):  # who would be one more to wait is told so
            read(other_id)
    finally:
        for _ in range(PLACES):
            places.release()
    assert read(other_id).startswith(b"\x89PNG")


def test_no_more_overlays_are_remembered_than_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_files, "_MOST_REMEMBERED", 10)
    drawn = served_files._Drawn()
    drawn.put(("a", "a"), b"123456")
    drawn.put(("b", "b"), b"1234")
    assert drawn.get(("a", "a")) == b"123456"
    drawn.put(("c", "c"), b"1234")
    assert drawn.get(("b", "b")) is None  # asked for the longest time ago
    assert drawn.get(("c", "c")) == b"1234"
    drawn.put(("d", "d"), bytes(11))
    assert drawn.get(("d", "d")) is None


def test_the_overlay_of_a_worker_of_the_version_before_is_taken_and_served(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    ticket = clinic.claim(clinic.render(study_id))
    assert ticket is not None
    theirs = png(colour=2)
    clinic.store(ticket, **segmented(), overlay=theirs)
    clinic.finish(ticket, {"prediction": prediction_of()})
    with clinic.session as session:
        found = case.read_blob(session, clinic.vault, clinic.mate, study_id, "overlay", NOW)
    assert found.data == theirs


def test_there_is_no_overlay_before_there_is_a_mask(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    clinic.render(study_id)
    with clinic.session as session, pytest.raises(Denied):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, "overlay", NOW)
    assert BlobKind.OVERLAY not in served_files.available({BlobKind.PIXELS, BlobKind.PREVIEW})


def test_a_mask_that_is_gone_is_reported_as_damage(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        name = session.scalars(select(Blob.name).where(Blob.kind == BlobKind.MASK)).one()
    clinic.vault.destroy(name)
    with clinic.session as session, pytest.raises(NotReadable):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, "overlay", NOW)

"""The overlay, which is drawn from stored files, or was stored by a worker of a version before."""

import pytest
from sqlalchemy import select

from portal.access import Denied
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

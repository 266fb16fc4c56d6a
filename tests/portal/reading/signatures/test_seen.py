"""What was seen at a signature: pictures, results, outlines and reviews of then, nothing later."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from portal import audit
from portal.access import Denied
from portal.models import BlobKind
from portal.models.viewing import PICTURE_SHOWN
from portal.reading import reviews
from portal.reading.case_records import StudyView
from portal.reading.signatures import seen
from portal.reading.viewing import shown
from portal.studies import exams
from portal.web.present import sign_view
from tests.portal.reading.signatures.test_view import SENT
from tests.portal.reading.test_signing import add, sign
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.outlines.pages import Page, drawn
from tests.support.queries.damaged_pages import overwrite_page_of

UID = {"StudyInstanceUID": "1.2.3.9"}


def opened(clinic: Clinic, study_id: UUID, signature: UUID) -> StudyView:
    with clinic.session as session:
        view, signed = seen.open_signed(
            session, clinic.vault, clinic.mate, study_id, signature, NOW
        )
    assert signed.signature_id == signature
    return view


def test_what_came_later_is_not_in_it(clinic: Clinic) -> None:
    study_id = clinic.submit(**UID, SOPInstanceUID="1.2.3.9.1").study_id
    clinic.segment(clinic.render(study_id))
    editor = Page(clinic, study_id, clinic.mate)
    picture = editor.picture
    editor.begin()
    first = editor.save(drawn((0, 4))).outline
    assert first is not None
    view = {"pictures": [SENT["pictures"][0] | {"picture": str(picture)}]}
    signature = sign(clinic, study_id, seen_view=view).signature
    editor.begin(after(minutes=2))
    editor.save(drawn((2, 6)), now=after(minutes=2))
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id), finding="none", now=after(minutes=3)
        )
    add(clinic, study_id, "later", now=after(minutes=4))
    clinic.submit(**UID, SOPInstanceUID="1.2.3.9.2", now=after(minutes=5))
    then = opened(clinic, study_id, signature.id)
    assert [one.instance_id for one in then.pictures] == [picture]
    assert [one.outline_id for one in then.outlines] == [first.id]
    assert [one.finding for one in then.reviews] == ["right"]
    assert (then.state.finding, then.state.standing.state) == ("right", "final")
    assert (then.state.new_pictures, then.addenda) == (0, [])
    assert then.picture.prediction is not None
    assert BlobKind.PROBABILITY in then.picture.blobs


def test_a_picture_that_the_signer_did_not_have_on_the_screen_is_named(clinic: Clinic) -> None:
    study_id = clinic.submit(**UID, SOPInstanceUID="1.2.3.9.1").study_id
    clinic.segment(clinic.render(study_id))
    clinic.submit(**UID, SOPInstanceUID="1.2.3.9.2")
    signature = sign(clinic, study_id).signature

    def stated() -> str:
        with clinic.session as session:
            view, signed = seen.open_signed(
                session, clinic.vault, clinic.mate, study_id, signature.id, NOW
            )
        return sign_view.seen(view, signed).not_shown

    assert stated() == ""  # nothing is known, as of a version before
    with clinic.session as session:
        pictures = [row.id for row in exams.pictures(session, [study_id])[study_id]]
        shown.note(session, clinic.mate, study_id, pictures[0], signature.created)
        shown.note(session, clinic.mate, study_id, pictures[1], after(hours=5))
    assert stated() == "Picture 2 was not shown in full on the signer’s screen before."


def test_a_damaged_page_of_the_log_keeps_nobody_from_what_was_seen(clinic: Clinic) -> None:
    study_id, mark = clinic.done(), "mark-of-the-damaged-row"
    signature = sign(clinic, study_id).signature
    with clinic.session as session:
        (picture,) = exams.pictures(session, [study_id])[study_id]
        for number in range(240):
            named = {"event": PICTURE_SHOWN, "subject_id": picture.id} if number == 120 else {}
            stated: dict[str, Any] = {"event": "tested", "detail": {"text": "x" * 200}} | named
            stated["detail"] = {"text": mark} if named else stated["detail"]
            audit.append(session, actor=clinic.mate, now=NOW, **stated)
        session.commit()
    overwrite_page_of(clinic.core.engine, "audit_events", f"detail LIKE '%{mark}%'", mark)
    assert opened(clinic, study_id, signature.id).picture.instance_id == picture.id
    with clinic.session as session:
        shown.note(session, clinic.mate, study_id, picture.id, after(minutes=9))


def test_a_result_that_came_later_is_not_shown(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    signature = sign(clinic, study_id, finding="none").signature
    clinic.segment(segment)
    then = opened(clinic, study_id, signature.id)
    assert then.picture.prediction is None
    assert BlobKind.PROBABILITY not in then.picture.blobs
    assert BlobKind.PIXELS in then.picture.blobs
    assert (then.state.result, then.state.reviewed) == (None, "unaided")


def test_a_signature_of_another_case_is_not_found(clinic: Clinic) -> None:
    one, other = clinic.done(), clinic.done()
    signature = sign(clinic, one).signature
    for study_id, named in ((other, signature.id), (one, uuid4())):
        with clinic.session as session, pytest.raises(Denied):
            seen.open_signed(session, clinic.vault, clinic.mate, study_id, named, NOW)
    with clinic.session as session, pytest.raises(Denied):
        seen.open_signed(session, clinic.vault, clinic.outsider, one, signature.id, NOW)

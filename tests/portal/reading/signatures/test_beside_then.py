"""The picture beside at a signature: what is stored of it, and that it is opened as it was then."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from portal.access import Denied
from portal.errors import Invalid
from portal.governance import purges
from portal.models import BlobKind, PurgeReason
from portal.reading.signatures import seen
from portal.reading.viewing.beside import Beside
from portal.web.present import sign_view
from tests.portal.reading.signatures.test_view import SENT
from tests.portal.reading.test_signing import sign
from tests.portal.reading.viewing.test_beside import exam, picture_of
from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import Page, drawn


def view_of(*pictures: UUID) -> dict[str, Any]:
    return {"pictures": [SENT["pictures"][0] | {"picture": str(one)} for one in pictures]}


def opened(clinic: Clinic, study_id: UUID, signature: UUID, picture: UUID | None = None) -> Beside:
    with clinic.session as session:
        return seen.open_beside(
            *(session, clinic.vault, clinic.mate, study_id, signature, after(hours=1)),
            picture=picture,
        )


def test_both_views_and_all_digests_are_stored_and_the_prior_is_as_it_was(clinic: Clinic) -> None:
    prior, current = exam(clinic, "20240601"), exam(clinic, "20250601")
    page = Page(clinic, prior, clinic.mate)
    page.begin()
    first = page.save(drawn((0, 4))).outline
    assert first is not None
    both = view_of(picture_of(clinic, current), picture_of(clinic, prior))
    signature = sign(clinic, current, seen_view=both).signature
    assert signature.view == both
    named = picture_of(clinic, prior).hex
    for kind in ("pixels", "mask", "probability"):
        assert len(signature.hashes[f"{kind}/{named}"]) == 64
    assert f"outlines/{first.id.hex}" in signature.hashes
    page.begin(after(minutes=2))
    page.save(drawn((2, 6)), now=after(minutes=2))
    found = opened(clinic, current, signature.id)
    assert found.view is not None
    assert found.shown is not None
    assert (found.shown.study_id, found.shown.seconds, found.shown.exam_date) == (
        prior,
        365 * 24 * 3600,
        "2024-06-01",
    )
    assert [one.outline_id for one in found.view.outlines] == [first.id]
    assert found.view.picture.prediction is not None
    assert f"predictions/{found.view.picture.prediction.prediction_id.hex}" in signature.hashes
    assert BlobKind.PROBABILITY in found.view.picture.blobs
    assert found.choices == [found.shown]


def test_a_result_that_the_prior_got_later_is_not_shown(clinic: Clinic) -> None:
    prior, current = exam(clinic, "20240601", rendered=False), exam(clinic, "20250601")
    segment = clinic.render(prior)
    both = view_of(picture_of(clinic, current), picture_of(clinic, prior))
    signature = sign(clinic, current, seen_view=both).signature
    clinic.segment(segment)
    found = opened(clinic, current, signature.id)
    assert found.view is not None
    assert found.view.picture.prediction is None
    assert BlobKind.PROBABILITY not in found.view.picture.blobs


def test_the_page_gets_both_views_and_where_the_other_picture_is(clinic: Clinic) -> None:
    prior, current = exam(clinic, "20240601"), exam(clinic, "20250601")
    main, beside = picture_of(clinic, current), picture_of(clinic, prior)
    alone = sign(clinic, current, seen_view=view_of(main)).signature
    pair = sign(
        clinic, current, finding="left", seen_view=view_of(main, beside), now=after(minutes=2)
    ).signature
    with clinic.session as session:
        args = (session, clinic.vault, clinic.mate, current)
        for signature, shown in ((alone, None), (pair, str(beside))):
            view, signed = seen.open_signed(*args, signature.id, after(hours=1))
            then = sign_view.view_then(view, signed)
            assert then is not None
            assert (then["beside"] or {}).get("picture") == shown
            assert bool(sign_view.beside_url(view, signed)) is (shown is not None)


def test_another_teams_picture_is_not_stored_as_seen(clinic: Clinic) -> None:
    current, theirs = exam(clinic, "20250601"), clinic.done(actor=clinic.outsider)
    for other in (picture_of(clinic, theirs), uuid4()):
        with pytest.raises(Invalid) as refused:
            sign(clinic, current, seen_view=view_of(picture_of(clinic, current), other))
        assert refused.value.code == "view"


def test_a_prior_that_is_gone_or_did_not_lie_there_is_not_found(clinic: Clinic) -> None:
    prior, current = exam(clinic, "20240601"), exam(clinic, "20250601")
    third = exam(clinic, "20230601")
    both = view_of(picture_of(clinic, current), picture_of(clinic, prior))
    signature = sign(clinic, current, seen_view=both).signature
    with pytest.raises(Denied):
        opened(clinic, current, signature.id, picture_of(clinic, third))
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, None, prior, after(minutes=5)),
            reason=PurgeReason.PATIENT_REQUEST,
        )
    with pytest.raises(Denied):
        opened(clinic, current, signature.id)

"""Revision 0054: a review's one reason stays as it is, and several are not taken back unseen."""

import pytest

from portal import database
from portal.audit import verification
from portal.models import Review
from portal.reading import reviews
from tests.support.clinic import Clinic
from tests.support.core import NOW


def test_one_reason_survives_both_ways_and_several_refuse_the_way_back(clinic: Clinic) -> None:
    first, second = clinic.done(), clinic.done()

    def state(study_id: object, reason: str) -> object:
        with clinic.session as session:
            return reviews.add_review(
                *(session, clinic.vault, clinic.mate, study_id),  # type: ignore[arg-type]
                finding="none",
                reason=reason,
                now=NOW,
            ).review.id

    one = state(first, "skin_fold")
    database.downgrade(clinic.core.engine, "0053")
    database.upgrade(clinic.core.engine)
    with clinic.session as session:
        assert session.get_one(Review, one).reasons == ("skin_fold",)
    several = state(second, "skin_fold,poor_image")
    with pytest.raises(RuntimeError, match="several reasons"):
        database.downgrade(clinic.core.engine, "0053")
    with clinic.session as session:
        assert session.get_one(Review, several).reasons == ("skin_fold", "poor_image")
        assert verification.verify(session).bad_records == ()

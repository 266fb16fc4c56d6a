"""A reader's own numbers, and the numbers of all readers without names."""

from datetime import datetime

import pytest

from portal.access import Actor, Denied
from portal.accounts.sessions import actor_of
from portal.models import Role
from portal.performance import months, own_reading
from portal.performance.own_reading import OwnReading
from portal.reading import reviews
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.people import add_person

NONE = OwnReading(0, 0, 0, 0, 0)


def read(clinic: Clinic, finding: str, at: datetime, actor: Actor | None = None) -> None:
    study = clinic.done(at)
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, actor or clinic.mate, study), finding=finding, now=at
        )


def test_a_reader_sees_own_numbers_and_not_those_of_another(clinic: Clinic) -> None:
    for finding in ("right", "right", "none", "unsure"):
        read(clinic, finding, after(hours=1))
    with clinic.session as session:
        assert own_reading.own(session, clinic.mate, after(hours=2)) == OwnReading(4, 2, 1, 1, 0)
        assert own_reading.own(session, clinic.outsider, after(hours=2)) == NONE


def test_an_exam_counts_once_by_the_newest_review_and_only_for_thirty_days(clinic: Clinic) -> None:
    study = clinic.done()
    for hours, finding in ((1, "none"), (2, "right")):
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, study),
                finding=finding,
                now=after(hours=hours),
            )
    with clinic.session as session:
        assert own_reading.own(session, clinic.mate, after(hours=3)) == OwnReading(1, 1, 0, 0, 0)
        assert own_reading.own(session, clinic.mate, after(days=31)) == NONE


@pytest.mark.parametrize("who", ["owner", "admin", "auditor"])
def test_who_does_not_review_has_no_numbers(clinic: Clinic, who: str) -> None:
    with clinic.session as session, pytest.raises(Denied):
        own_reading.own(session, getattr(clinic, who), NOW)


def test_readers_are_counted_without_names_and_only_where_there_are_three(clinic: Clinic) -> None:
    month = months.until(NOW)[-1]
    for actor, count in ((clinic.mate, 2), (clinic.outsider, 1)):
        for _ in range(count):
            study = clinic.done(actor=actor)
            with clinic.session as session:
                reviews.add_review(
                    *(session, clinic.vault, actor, study), finding="right", now=after(hours=1)
                )
    with clinic.session as session:
        assert own_reading.without_names(session, month) == []
        third = actor_of(add_person(session, Role.READER, "third@example.org", team="Here"))
        session.commit()
    for _ in range(3):
        read(clinic, "right", after(hours=1), third)
    with clinic.session as session:
        assert own_reading.without_names(session, month) == [1, 2, 3]

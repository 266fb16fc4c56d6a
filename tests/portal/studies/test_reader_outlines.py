"""Which versions of an outline count: not a draft that another reader took over, until a review
refers to it; in a report, an export, the sentence and the Dice of two readers.
"""

import json
from typing import Any
from uuid import UUID

import pytest

from portal.formats import mask_png
from portal.models import Outline
from portal.reading.second_reads import outline_dice
from portal.studies import reader_outlines
from portal.web.present.reports import text as report_text
from tests.portal.exchange.test_deidentified_export import export
from tests.portal.reports.test_requests import ask, content_of
from tests.portal.sentences.test_of_case import sentence
from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import Page, drawn, measured
from tests.support.second_reads.readers import colleague, state

OWN, LEFT_OPEN = (3, 12), (20, 21)


@pytest.fixture
def study(clinic: Clinic) -> UUID:
    """The mate has stated a pneumothorax with an outline of their own."""
    study_id = clinic.done()
    page = Page(clinic, study_id, clinic.mate)
    page.begin()
    page.save(drawn(OWN))
    page.measure(measured(9, side="right", distance_mm=18.0))
    state(clinic, clinic.mate, study_id, "right", after(minutes=1))
    return study_id


def taken_over(clinic: Clinic, study_id: UUID) -> Any:
    """A colleague takes over what the mate has begun anew, and leaves it; returns the colleague."""
    mine, second = Page(clinic, study_id, clinic.mate), colleague(clinic, "second")
    mine.begin(after(minutes=2))
    mine.draft(drawn(LEFT_OPEN), now=after(minutes=2))
    theirs = Page(clinic, study_id, second)
    theirs.begin(after(minutes=3), take_over=True)
    theirs.leave(after(minutes=4))
    assert [one.kept for one in mine.versions()] == [False, True]
    return second


def mask_of(clinic: Clinic, study_id: UUID) -> tuple[bytes, int]:
    """The mask of an export, and how many versions are listed."""
    _, files = export(clinic, study_id)
    assert files["reader-mask-by-a.png"] == files["reader-mask.png"]
    (picture,) = json.loads(files["result.json"])["pictures"]
    return files["reader-mask.png"], len(picture["reader_outlines"])


def newest(clinic: Clinic, study_id: UUID) -> Outline:
    with clinic.session as session:
        pictures = Page(clinic, study_id, clinic.mate).picture
        (found,) = reader_outlines.newest(session, [pictures], only_counting=True).values()
        return found


def test_a_draft_that_was_taken_over_counts_nowhere_until_a_review_refers_to_it(
    clinic: Clinic, study: UUID
) -> None:
    said, report = sentence(clinic, study), ask(clinic, study, after(minutes=1)).report.id
    assert "on the reader’s outline" in said
    second = taken_over(clinic, study)

    assert sentence(clinic, study) == said
    assert mask_of(clinic, study) == (mask_png.write([OWN], 8, 6), 1)
    assert ask(clinic, study, after(minutes=5)).report.id == report, "nothing has changed"
    assert newest(clinic, study).pixels == 9

    state(clinic, second, study, "right", after(minutes=6))
    assert mask_of(clinic, study) == (mask_png.write([LEFT_OPEN], 8, 6), 2)
    again = ask(clinic, study, after(minutes=7))
    assert again.report.id != report
    content, parts = content_of(clinic, again)
    (label,) = [one.label for one in content.pictures[0].outlines]
    assert label == str(report_text.LABELS["reader"])
    assert parts[1] == drawn(LEFT_OPEN)
    assert sentence(clinic, study) != said  # it is not measured yet


def test_the_dice_of_two_readers_is_that_of_what_they_have_stated(
    clinic: Clinic, study: UUID
) -> None:
    second = taken_over(clinic, study)
    page = Page(clinic, study, second)
    page.begin(after(minutes=8))
    page.save(drawn(OWN), now=after(minutes=9))
    with clinic.session as session:
        given = session, clinic.vault, study, clinic.mate.user_id, second.user_id
        assert outline_dice.between(*given) == 1.0

"""The Dice of two readers' outlines, kept with the second read where both have drawn."""

import pytest

from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import Page, drawn
from tests.support.second_reads.readers import ask, colleague, second_read, state


def outline(clinic: Clinic, actor: object, study_id: object, runs: bytes, minutes: int) -> Page:
    page = Page(clinic, study_id, actor)  # type: ignore[arg-type]
    page.begin(after(minutes=minutes))
    page.save(runs, now=after(minutes=minutes))
    return page


def test_both_outlines_are_compared_each_reader_s_newest(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    outline(clinic, clinic.mate, study_id, drawn((0, 20)), 0)
    outline(clinic, clinic.mate, study_id, drawn((0, 4)), 1)
    state(clinic, clinic.mate, study_id, "right", after(minutes=2))
    ask(clinic, clinic.mate, study_id, after(minutes=2))
    page = Page(clinic, study_id, second)
    assert (page.begin(after(minutes=3)).origin, page.opened.is_draft) == ("empty", False)
    page.save(drawn((2, 6)), now=after(minutes=3))
    # Nor is what they have drawn compared with what they have not seen.
    assert [one.dice_before for one in page.versions()][-1] is None
    state(clinic, second, study_id, "right", after(minutes=4))
    assert second_read(clinic, study_id).outline_dice == pytest.approx(2 * 2 / 8)


def test_where_one_has_not_drawn_there_is_no_number(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    outline(clinic, clinic.mate, study_id, drawn((0, 4)), 0)
    state(clinic, clinic.mate, study_id, "right", after(minutes=2))
    ask(clinic, clinic.mate, study_id, after(minutes=2))
    state(clinic, second, study_id, "right", after(minutes=4))
    assert second_read(clinic, study_id).outline_dice is None

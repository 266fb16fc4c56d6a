"""What a page names as shown: digests of one length, each part told apart."""

from uuid import uuid4

from portal.reading.signatures import records
from portal.studies.status import PictureState, State, StudyState


def state(pictures: int, of: State = State.DONE) -> StudyState:
    some = tuple(PictureState(uuid4(), of, True, None, None, None) for _ in range(pictures))
    return StudyState(uuid4(), of, True, None, None, None, None, pictures=some)


def test_each_part_that_changes_is_named() -> None:
    exam, result, outline = state(1), uuid4(), uuid4()
    shown = records.shown_of(exam, [result], [outline])
    assert records.changes(shown, records.shown_of(exam, [result], [outline])) == []
    assert records.changes(shown, records.shown_of(exam, [uuid4()], [outline])) == ["result"]
    assert records.changes(shown, records.shown_of(exam, [result], [])) == ["outline"]
    assert records.changes("x", shown) == ["picture", "result", "outline"]
    other = records.shown_of(state(2), [result], [outline])
    assert records.changes(shown, other) == ["picture"]


def test_it_has_one_length_whatever_was_found() -> None:
    lengths = {
        len(records.shown_of(state(pictures), [uuid4()] * pictures, [uuid4()] * outlines))
        for pictures in (1, 4)
        for outlines in (0, 3)
    }
    assert len(lengths) == 1

"""A reader's finding against the model's result: the whole table, and that reasons fit it."""

from typing import Any

import pytest

from portal.models import Band, Finding, QualityVerdict, Reason, Verdict
from portal.reading import findings
from portal.studies import status
from portal.studies.status import Result
from tests.support.clinic import Clinic


def result(band: Band, side: str | None) -> Result:
    return Result(band, 0.5, side, None, QualityVerdict.FIT, [])


NONE_FOUND = result(Band.NONE_FOUND, None)
RIGHT = result(Band.LIKELY, "right")
BOTH = result(Band.POSSIBLE, "both")
NO_SIDE = result(Band.LIKELY, None)  # above the threshold, and nothing outlined

AGREE, DISAGREE, UNAIDED = Verdict.AGREE, Verdict.DISAGREE, Verdict.UNAIDED
TABLE: list[tuple[Result | None, dict[str, Verdict], str | None]] = [
    (None, dict.fromkeys(("none", "right", "left", "both"), UNAIDED), None),
    (NONE_FOUND, {"none": AGREE} | dict.fromkeys(("right", "left", "both"), DISAGREE), "none"),
    (RIGHT, {"none": DISAGREE, "right": AGREE, "left": DISAGREE, "both": DISAGREE}, "right"),
    (BOTH, {"none": DISAGREE, "right": DISAGREE, "left": DISAGREE, "both": AGREE}, "both"),
    (NO_SIDE, {"none": DISAGREE, "right": AGREE, "left": AGREE, "both": AGREE}, None),
]


@pytest.mark.parametrize(("ai", "verdicts", "same"), TABLE)
def test_the_verdict_follows_from_finding_and_result(
    ai: Result | None, verdicts: dict[str, Verdict], same: str | None
) -> None:
    found = {one.value: findings.verdict_of(one, ai) for one in Finding}
    assert found == verdicts | {"unsure": Verdict.UNSURE}
    assert findings.same_as(ai) == same


@pytest.mark.parametrize("ai", [None, NONE_FOUND, RIGHT, BOTH, NO_SIDE])
def test_reasons_fit_the_case(ai: Result | None) -> None:
    def of(name: str) -> set[Reason]:
        return set(findings.reasons_for(Finding(name), ai))

    everything = {reason for one in Finding for reason in of(one.value)}
    is_positive = ai is not None and findings.is_positive(ai)
    assert (Reason.MISSED in everything) == (ai is NONE_FOUND)
    assert (Reason.FALSE_ALARM in everything) == is_positive
    assert (Reason.WRONG_SIDE in everything) == (ai in (RIGHT, BOTH))
    assert Reason.MISSED not in of("none")
    for one in Finding:
        disagrees = findings.verdict_of(one, ai) is Verdict.DISAGREE
        first = findings.reasons_for(one, ai)[:1]
        usual = (Reason.MISSED, Reason.FALSE_ALARM, Reason.WRONG_SIDE)
        assert (bool(first) and first[0] in usual) == disagrees
        assert one.is_positive or not of(one.value) & {Reason.OUTLINE_TOO_LARGE}


def test_what_is_taken_for_a_pneumothorax_is_a_reason_and_a_drain_beside_one_too() -> None:
    lookalikes = {Reason.CHEST_DRAIN, Reason.BULLA, Reason.CLOTHING, Reason.SCAPULA}
    assert lookalikes <= set(findings.reasons_for(Finding.NONE, RIGHT))
    assert lookalikes <= set(findings.reasons_for(Finding.UNSURE, RIGHT))
    for ai in (None, NONE_FOUND, RIGHT, BOTH):
        for one in (Finding.RIGHT, Finding.LEFT, Finding.BOTH):
            assert Reason.CHEST_DRAIN in findings.reasons_for(one, ai)
    assert Reason.CHEST_DRAIN not in findings.reasons_for(Finding.NONE, NONE_FOUND)


@pytest.mark.parametrize(
    ("first", "counts"), [({}, True), ({"band": "none_found", "probability": 0.04}, False)]
)
def test_beside_a_picture_that_is_waited_for_only_what_was_found_counts(
    clinic: Clinic, first: dict[str, Any], counts: bool
) -> None:
    """Of two pictures one has its result: what was found stays found, "none" may not."""
    uid = {"StudyInstanceUID": "1.2.3.9"}
    study_id = clinic.submit(**uid, SOPInstanceUID="1.2.3.9.1").study_id
    clinic.segment(clinic.render(study_id), **first)
    clinic.submit(**uid, SOPInstanceUID="1.2.3.9.2")
    with clinic.session as session:
        state = status.of_studies(session, [study_id])[study_id]
    assert state.result is not None
    assert (findings.result_of(state) is not None) == counts

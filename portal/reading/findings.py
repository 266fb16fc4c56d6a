"""A reader's finding against the model's result: whether they agree, and which reasons fit.

Pure functions. The model's result counts only once no picture of the case is waited for any more.
"""

from collections.abc import Sequence
from typing import Final

from portal.models import Band, Finding, Reason, Review, Verdict
from portal.studies.status import Result, StudyState, suspicion
from portal.teams.ai_visibility import Visibility

_NOT_THERE: Final = (
    Reason.FALSE_ALARM,
    Reason.SKIN_FOLD,
    Reason.CHEST_DRAIN,
    Reason.BULLA,
    Reason.CLOTHING,
    Reason.SCAPULA,
    Reason.POOR_IMAGE,
    Reason.OTHER,
)
_OVERLOOKED: Final = (Reason.MISSED, Reason.CHEST_DRAIN, Reason.POOR_IMAGE, Reason.OTHER)
_ELSEWHERE: Final = (
    Reason.WRONG_SIDE,
    Reason.CHEST_DRAIN,
    Reason.BULLA,
    Reason.POOR_IMAGE,
    Reason.OTHER,
)
# A drain beside a pneumothorax is worth stating where nothing else differs, too.
_OUTLINE: Final = (Reason.OUTLINE_TOO_LARGE, Reason.OUTLINE_TOO_SMALL, Reason.CHEST_DRAIN)
_UNAIDED: Final = (Reason.POOR_IMAGE, Reason.OTHER)


def result_of(state: StudyState) -> Result | None:
    """The model's result of a case; None while it is waited for and where there is none.

    What was found in one picture stands, and is on the page, while others are waited for. One that
    was retracted is none: nobody agrees with it.
    """
    result = state.result
    if result is not None and result.retracted:
        found = (picture.result for picture in state.pictures if picture.result is not None)
        valid = (one for one in found if not one.retracted)
        result = min(valid, key=suspicion, default=None)
    if result is None or result.band is None:
        return None
    return result if state.is_settled or is_positive(result) else None


def is_positive(result: Result) -> bool:
    """Whether the model found a pneumothorax."""
    return result.band in (Band.LIKELY, Band.POSSIBLE)


def same_as(result: Result | None) -> Finding | None:
    """The finding of a reader who agrees; None where there is no result, or none with a side."""
    if result is None:
        return None
    if not is_positive(result):
        return Finding.NONE
    sides = (Finding.RIGHT, Finding.LEFT, Finding.BOTH)
    return next((side for side in sides if side.value == result.side), None)


def verdict_of(finding: Finding, result: Result | None) -> Verdict:
    """Whether the reader agrees: on whether there is a pneumothorax, and on the side, where the
    model names one.
    """
    if finding is Finding.UNSURE:
        return Verdict.UNSURE
    if result is None:
        return Verdict.UNAIDED
    if finding.is_positive is not is_positive(result):
        return Verdict.DISAGREE
    return Verdict.AGREE if same_as(result) in (None, finding) else Verdict.DISAGREE


def reasons_for(finding: Finding, result: Result | None) -> tuple[Reason, ...]:
    """The reasons that fit. Of a reader who disagrees the first one is true in any case."""
    verdict = verdict_of(finding, result)
    if result is None:
        if verdict is Verdict.UNSURE:
            return _UNAIDED
        return (Reason.CHEST_DRAIN,) if finding.is_positive else ()
    if verdict is Verdict.UNSURE:
        return _NOT_THERE[1:] if is_positive(result) else _OVERLOOKED[1:]
    if verdict is Verdict.AGREE:
        return _OUTLINE if finding.is_positive else ()
    if not finding.is_positive:
        return _NOT_THERE
    return _ELSEWHERE if is_positive(result) else _OVERLOOKED


def shown_verdict(review: Review, ai: Visibility) -> Verdict:
    """The verdict of a review for who may not see the AI result: as if there were none."""
    hides = not ai.is_visible and review.verdict is not Verdict.UNSURE
    return Verdict.UNAIDED if hides else review.verdict


def shown_reasons(review: Review, ai: Visibility) -> tuple[Reason, ...]:
    """Likewise the reasons: one that fits only beside an AI result states what that was."""
    return review.reasons if ai.is_visible else unaided_reasons(review.finding, review.reasons)


def unaided_reasons(finding: Finding | None, reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """Of the reasons that a reader gave those that fit the finding whatever the AI found."""
    fitting = reasons_for(finding, None) if finding is not None else ()
    return tuple(one for one in reasons if one in fitting)

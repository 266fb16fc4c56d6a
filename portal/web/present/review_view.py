"""The reader's part of the case page: earlier versions, and what the form offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.access import Actor
from portal.languages import _, pgettext
from portal.models import Finding
from portal.reading import findings
from portal.reading.case_records import ReviewView, StudyView
from portal.studies.status import State
from portal.web.present import outline_view, wording
from portal.web.present.viewing import screen

# As on a film: the patient's right is on the reader's left.
_KEYS: Final = {
    Finding.NONE: "0",
    Finding.RIGHT: "R",
    Finding.LEFT: "L",
    Finding.BOTH: "B",
    Finding.UNSURE: "U",
}


@dataclass(frozen=True)
class ReviewLine:
    """One version of the review. `drawn`: how many rulers and arrows it keeps of the picture."""

    id: str
    label: str
    size: str
    reason: str
    comment: str
    reader: str
    mine: bool
    when: datetime
    screen: str
    drawn: int


@dataclass(frozen=True)
class FindingButton:
    """One finding that can be stated: its code, the button's text and tip, and its key."""

    code: str
    text: str
    tip: str
    key: str


@dataclass(frozen=True)
class ReviewForm:
    """What a reader can state. `agree` is the finding of who agrees with the AI, "" where there is
    none to agree with; `chosen`: the reasons given last; `known` is read by
    static/js/case/review.js.
    """

    findings: list[FindingButton]
    sizes: list[tuple[str, str]]
    reasons: list[tuple[str, str]]
    size_note: str
    agree: str
    agree_text: str
    no_agree: str
    finding: str
    size: str
    chosen: list[str]
    seen: str
    readable: bool
    known: dict[str, Any]


def review_lines(
    reviews: Sequence[ReviewView], actor: Actor, picture: UUID | None
) -> list[ReviewLine]:
    """The versions of the review as this person sees them beside this picture, the newest first."""
    return [
        ReviewLine(
            id=review.review_id.hex,
            label=wording.review_label(
                review.verdict.value, review.finding.value if review.finding else None
            ),
            size=str(wording.SIZES[review.size.value]) if review.size else "",
            reason=wording.reasons_text(review.reasons),
            comment=review.comment,
            reader=review.reader,
            mine=review.reader_id == actor.user_id,
            when=review.created,
            screen=screen.note(review.screen, review.created),
            drawn=len(review.annotations.get(picture, ())) if picture else 0,
        )
        for review in reversed(reviews)
    ]


def review_form(view: StudyView, actor: Actor) -> ReviewForm:
    """The form for this person, with what they stated last."""
    result = findings.result_of(view.state)
    agrees = findings.same_as(result)
    stated = stated_by(view.reviews, actor)
    return ReviewForm(
        findings=[_button(one, key) for one, key in _KEYS.items()],
        sizes=[("", pgettext("of a pneumothorax", "Size")), *wording.SIZES.items()],
        reasons=list(wording.REASONS.items()),
        size_note=wording.SIZE_METHOD,
        agree=agrees.value if agrees else "",
        agree_text=_agree_text(agrees),
        no_agree="" if agrees else _why_no_agreement(view),
        finding=stated["finding"],
        size=stated["size"],
        chosen=[one for one in stated["reason"].split(",") if one],
        seen=view.state.as_seen,
        readable=is_readable(view),
        known={
            "seen": view.state.as_seen,
            "after": view.reviews[-1].review_id.hex if view.reviews else "",
            "drawn": outline_view.drawn(view),
            "shown": view.shown,
            "agree": agrees.value if agrees else "",
            "stated": stated,
            "reasons": {one.value: list(findings.reasons_for(one, result)) for one in Finding},
        },
    )


def stated_by(reviews: Sequence[ReviewView], actor: Actor) -> dict[str, str]:
    """The codes of the newest review by this person; empty where there is none. Of several reasons
    with commas between them.
    """
    mine = next((one for one in reversed(reviews) if one.reader_id == actor.user_id), None)
    return {
        "finding": mine.finding.value if mine and mine.finding else "",
        "size": mine.size.value if mine and mine.size else "",
        "reason": ",".join(mine.reasons) if mine else "",
    }


def is_readable(view: StudyView) -> bool:
    """Whether the case can be judged: its picture is prepared, or has failed."""
    return view.state.state not in (State.RECEIVED, State.PREPARING)


def _agree_text(agrees: Finding | None) -> str:
    if agrees is None:
        return ""
    if agrees is Finding.NONE:
        return _("Agree: none found")
    return _("Agree: %(finding)s", finding=wording.FINDINGS_WITHIN[agrees.value])


def _button(finding: Finding, key: str) -> FindingButton:
    within = wording.FINDINGS_WITHIN[finding.value]
    return FindingButton(
        code=finding.value,
        text=pgettext("sides", "Both")
        if finding is Finding.BOTH
        else str(wording.FINDINGS[finding.value]),
        tip=_("Pneumothorax: %(finding)s (%(key)s)", finding=within, key=key),
        key=key,
    )


def _why_no_agreement(view: StudyView) -> str:
    if not view.ai.is_visible:
        return _("Your finding is one read without the AI.")
    if not view.state.is_settled:
        return _("No AI result yet: a finding now is one read unaided.")
    if findings.result_of(view.state) is None:
        return _("No AI result: read unaided.")
    return _("The AI names no side: choose one.")

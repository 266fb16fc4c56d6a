"""Readers' findings: added, never changed. Whether a reader agrees with the model follows from the
finding and the model's result (`findings`).
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.critical import findings as critical_findings
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean_lines
from portal.languages import _
from portal.models import (
    Finding,
    Reason,
    Review,
    ReviewAnnotations,
    ReviewSeen,
    SecondRead,
    SizeClass,
    Study,
    Verdict,
)
from portal.reading import findings
from portal.reading.case import load
from portal.reading.case_records import ScreenView
from portal.reading.second_reads import outline_dice
from portal.reading.viewing import annotations, screen_checks
from portal.studies import exams, reader_outlines, sealed_fields, status, worklist_order
from portal.studies.sealed_fields import Annotation
from portal.studies.second_reads import progress
from portal.studies.status import Result, State, StudyState
from portal.teams import ai_visibility
from portal.teams.ai_visibility import Visibility
from portal.teams.settings import settings_of
from portal.vault import Vault

COMMENT_LENGTH: Final = 2000

_Code = TypeVar("_Code", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Saved:
    """A review as it is stored. `is_new` is false where the newest one states the same already.

    `seen`: the rows of what it was about. `ai`: what the reader may see of the AI once it is saved;
    `verdict` and `reasons` go by it. `second_reads`: those that have begun or gone on with it.
    """

    review: Review
    comment: str
    is_new: bool
    ai: Visibility
    seen: list[ReviewSeen] = field(default_factory=list)
    drawings: list[ReviewAnnotations] = field(default_factory=list)
    screen: ScreenView | None = None
    annotations: dict[UUID, list[Annotation]] = field(default_factory=dict, repr=False)
    second_reads: list[SecondRead] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The verdict as the reader may see it."""
        return findings.shown_verdict(self.review, self.ai)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons as the reader may see them."""
        return findings.shown_reasons(self.review, self.ai)


def add_review(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    *,
    finding: str,
    size: str | None = None,
    reason: str | None = None,
    comment: str = "",
    seen: str | None = None,
    after: str | None = None,
    drawn: str | None = None,
    critical: bool | None = None,
    screen_check: UUID | None = None,
    now: datetime,
) -> Saved:
    """Add a reader's finding on a study; earlier ones stay. It names the pictures that are there,
    and of each the newest prediction and the newest outline by a reader, and keeps the rulers and
    arrows of the reader's drafts. The same once more, without a new comment, adds nothing.

    A `size` or `reason` of None is that of the reader's review before, if it has the same finding;
    "" is none. `reason` may name several, with commas between them. Who disagrees without a reason
    gets the one that is true in any case.
    `seen` is the state that the reader had before them, with the number of pictures if there were
    several ("done/2"): nobody judges a result or a picture that came in meanwhile. `after` is the
    id of the newest review that they had before them, "" if there was none, and `drawn` that of
    the outlines (`reader_outlines.as_seen`). `critical`: whether somebody is to be informed; None:
    if a pneumothorax is new (`critical.findings`). `screen_check` is the reader's last check of the
    screen in use. Raises Invalid for unknown codes, Conflict where there is nothing to judge yet,
    the state, the newest review or the outlines are not those seen, or the reason does not fit;
    Denied.
    """
    study = load_to_review(session, actor, study_id)
    codes = finding, size, reason
    saved = state_finding(
        *(session, vault, actor, study, codes, comment, now),
        seen=seen,
        after=after,
        drawn=drawn,
        critical=critical,
        screen_check=screen_check,
    )
    if saved.is_new:
        log(session, actor, study.id, saved, now)
    session.commit()
    return saved


def load_to_review(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The exam, locked until the caller's commit; Denied where the actor may not judge it."""
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    # Locked before anything is looked at: what comes in meanwhile was not seen, and waits.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    return study


def state_finding(
    session: Session,
    vault: Vault,
    actor: Actor,
    study: Study,
    codes: tuple[str, str | None, str | None],
    comment: str,
    now: datetime,
    *,
    seen: str | None = None,
    after: str | None = None,
    drawn: str | None = None,
    critical: bool | None = None,
    screen_check: UUID | None = None,
) -> Saved:
    """`add_review` in the caller's transaction, with the exam of `load_to_review`: the caller logs
    what is new (`log`) and commits. `codes`: finding, size and reason.
    """
    state = status.of_studies(session, [study.id])[study.id]
    text = clean_lines(comment, COMMENT_LENGTH + 1)
    if len(text) > COMMENT_LENGTH:
        raise Invalid(
            "comment_too_long", _("A comment has at most %(most)s characters.", most=COMMENT_LENGTH)
        )
    ai = ai_visibility.of_exam(session, actor, study)
    shown = state if ai.is_visible else status.without_ai(state)
    if seen is not None and seen != shown.as_seen:
        raise Conflict(
            "changed", _("The case has changed since you opened it. Look at it again, then save.")
        )
    reads = ai_visibility.readings(session, [study.id])
    hides = reads.hides_findings(actor, study.id)
    own = _newest(session, study.id, actor.user_id)
    review = _stated(study.id, actor.user_id, state, own, codes, ai, now)
    newest = last = _newest(session, study.id)
    if hides:
        newest = None  # as the page of who does not see it has it
    seen_rows = _seen_rows(session, study.id, review.id, reads.authors(actor, study.id))
    outlines = [row.outline_id for row in seen_rows if row.outline_id is not None]
    if drawn is not None and drawn != reader_outlines.as_seen(outlines):
        raise Conflict(
            "outlined",
            _(
                "An outline was saved since you opened this case, in another window or by a "
                "colleague. Look at it, then save yours again; what you wrote is still here."
            ),
        )
    review.screen_check_id = screen_check
    pictures = exams.pictures(session, [study.id])[study.id]
    drawings = annotations.for_review(session, vault, review, pictures)
    if newest is not None and _is_same(session, newest, review, seen_rows):
        written = comment_of(session, vault, newest)
        if text in ("", written) and annotations.are_same(
            session, vault, newest.id, drawings, pictures
        ):
            if critical is not None:
                critical_findings.follow(session, actor, study, newest, critical, now)
            ai = ai_visibility.of_exam(session, actor, study)
            return Saved(newest, written, is_new=False, ai=ai, seen=seen_rows)
    if after is not None and after != (newest.id.hex if newest else ""):
        raise Conflict(
            "reviewed",
            _(
                "Another version was saved since you opened this case, in another window or by a "
                "colleague. Look at it, then save yours again; what you wrote is still here."
            ),
        )
    if text:
        data_key = sealed_fields.key_of(vault, study)
        review.sealed_comment = sealed_fields.seal_comment(vault, data_key, review.id, text)
    session.add(review)
    session.flush()
    session.add_all([*seen_rows, *drawings])
    if last is None:
        percent = settings_of(session, study.team_id).second_read_percent
        drawn_row = progress.draw(session, study, review, percent, now)
        second_reads = [drawn_row] if drawn_row is not None else []
    else:
        # Its files are read while the exam is locked, so that its row is written once: two small
        # ones, where both readers have drawn.
        dice = functools.partial(outline_dice.between, session, vault, study.id)
        second_reads = progress.go_on(session, study, review, reads, actor, now, dice)
    worklist_order.place(session, study.id)
    critical_findings.follow(session, actor, study, review, critical, now, is_blind=hides)
    kept = annotations.of_reviews(session, vault, [review.id], pictures if drawings else [])
    return Saved(
        review,
        text,
        is_new=True,
        ai=ai_visibility.of_exam(session, actor, study),
        seen=seen_rows,
        second_reads=second_reads,
        drawings=drawings,
        screen=screen_checks.view_of(session, screen_check),
        annotations=kept.get(review.id, {}),
    )


def log(session: Session, actor: Actor, study_id: UUID, saved: Saved, now: datetime) -> None:
    """The row of the access log about a new review."""
    review = saved.review
    assert review.finding is not None
    audit.append(
        session,
        "review_added",
        actor=actor,
        now=now,
        study_id=study_id,
        subject_id=review.id,
        detail={
            "finding": review.finding.value,
            "verdict": review.verdict.value,
            "second_reads": [row.id.hex for row in saved.second_reads],
        },
        bound=[review, *saved.seen, *saved.drawings, *saved.second_reads],
    )


def _stated(
    study_id: UUID,
    reader_id: UUID,
    state: StudyState,
    own: Review | None,
    codes: tuple[str, str | None, str | None],
    ai: Visibility,
    now: datetime,
) -> Review:
    """The review that states finding, size and reason; `own` is the reader's newest so far."""
    sent, size, reason = codes
    try:
        finding = Finding(sent)
    except ValueError:
        raise Invalid("unknown_finding", _("Choose none, right, left, both or unsure.")) from None
    _check_ready(state, finding)
    result = findings.result_of(state)
    kept = own if own is not None and own.finding is finding else None
    reasons = _reasons(finding, result, reason, kept, ai)
    return Review(
        id=uuid4(),
        study_id=study_id,
        reader_id=reader_id,
        finding=finding,
        size=_size(finding, size, kept),
        verdict=findings.verdict_of(finding, result),
        reason=reasons[0] if reasons else None,
        further_reasons=[one.value for one in reasons[1:]] or None,
        ai_policy=ai.policy,
        ai_visible=ai.is_visible,
        created=now,
    )


def _coded(kind: type[_Code], text: str, code: str, message: str) -> _Code | None:
    try:
        return kind(text) if text else None
    except ValueError:
        raise Invalid(code, message) from None


def _size(finding: Finding, sent: str | None, kept: Review | None) -> SizeClass | None:
    if sent is None:
        return kept.size if kept else None
    size = _coded(SizeClass, sent, "unknown_size", _("Choose one of the listed sizes."))
    if size is not None and not finding.is_positive:
        raise Invalid("size_without_finding", _("Only a pneumothorax on a side has a size."))
    return size


def _reasons(
    finding: Finding,
    result: Result | None,
    sent: str | None,
    kept: Review | None,
    ai: Visibility,
) -> list[Reason]:
    # Refusing a reason beside a result that may not be seen would state what that is.
    fitting = findings.reasons_for(finding, result if ai.is_visible else None)
    if sent is None and kept is not None and kept.reasons:
        still = [one for one in kept.reasons if one in fitting]
        if still:
            return still
    unknown = _("Choose one of the listed reasons.")
    named = {_coded(Reason, one, "unknown_reason", unknown) for one in (sent or "").split(",")}
    reasons = [one for one in Reason if one in named]
    if any(one not in fitting for one in reasons):
        raise Conflict(
            "reason_does_not_fit",
            _("This reason does not fit the finding beside the AI result. Choose another or none."),
        )
    if not reasons and findings.verdict_of(finding, result) is Verdict.DISAGREE:
        return [findings.reasons_for(finding, result)[0]]
    return reasons


def _newest(session: Session, study_id: UUID, reader_id: UUID | None = None) -> Review | None:
    """The newest review of an exam, or of those by one reader. No row of another exam is read: one
    in a damaged page would keep its readers from every other exam.
    """
    query = (
        select(Review)
        .where(exams.within(Review.study_id, study_id))
        .order_by(Review.created.desc())
        .limit(1)
    )
    if reader_id is not None:
        query = query.where(Review.reader_id == reader_id)
    return session.scalars(query).first()


def _seen_rows(
    session: Session, study_id: UUID, review_id: UUID, authors: Collection[UUID] | None
) -> list[ReviewSeen]:
    predictions = exams.last_predictions(session, [study_id])
    outlines = reader_outlines.newest_of_study(session, study_id, authors)
    return [
        ReviewSeen(
            review_id=review_id,
            instance_id=row.id,
            prediction_id=prediction.id if (prediction := predictions.get(row.id)) else None,
            outline_id=outline.id if (outline := outlines.get(row.id)) else None,
        )
        for row in exams.pictures(session, [study_id])[study_id]
    ]


def _is_same(session: Session, newest: Review, review: Review, seen_rows: list[ReviewSeen]) -> bool:
    """Whether the newest review states what this one would, about the same pictures and results."""
    for name in ("reader_id", "finding", "size", "verdict", "reasons"):
        if getattr(newest, name) != getattr(review, name):
            return False
    known = session.scalars(select(ReviewSeen).where(ReviewSeen.review_id == newest.id))
    return {(row.instance_id, row.prediction_id, row.outline_id) for row in known} == {
        (row.instance_id, row.prediction_id, row.outline_id) for row in seen_rows
    }


def comment_of(session: Session, vault: Vault, review: Review) -> str:
    """A review's comment, under the key of the exam that it was written in."""
    written_in = session.get_one(Study, review.study_id)
    return sealed_fields.open_comment(vault, sealed_fields.key_of(vault, written_in), review)


def _check_ready(state: StudyState, finding: Finding) -> None:
    """Without a picture there is nothing to judge; what was found elsewhere can be stated."""
    if state.state in (State.RECEIVED, State.PREPARING):
        raise Conflict("not_ready", _("The picture is still being prepared."))
    if not state.has_picture and not finding.is_positive:
        raise Conflict(
            "no_picture",
            _(
                "The picture could not be prepared. Only a pneumothorax found elsewhere can be "
                "stated."
            ),
        )

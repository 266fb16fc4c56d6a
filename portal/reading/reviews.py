"""Readers' reviews of the model's results: added, never changed."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean_lines
from portal.models import Reason, Review, ReviewSeen, Verdict
from portal.reading.case import load
from portal.studies import exams, sealed_fields, status, worklist_order
from portal.studies.status import State, StudyState
from portal.vault import Vault

COMMENT_LENGTH: Final = 2000


def add_review(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    *,
    verdict: str,
    reason: str | None = None,
    comment: str = "",
    seen: str | None = None,
    now: datetime,
) -> Review:
    """Add a reader's verdict on a study; earlier ones stay. It names the pictures that are there
    and the newest prediction of each.

    `seen` is the state that the reader had before them, with the number of pictures if there were
    several ("done/2"): nobody agrees with a result or a picture that came in meanwhile. Raises
    Invalid for unknown codes, Conflict where there is nothing to judge yet or the state is not the
    one seen, Denied.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    # Locked before anything is looked at: what comes in meanwhile was not seen, and waits.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    chosen, why = _coded(verdict, reason)
    text = clean_lines(comment, COMMENT_LENGTH + 1)
    if len(text) > COMMENT_LENGTH:
        raise Invalid("comment_too_long", f"A comment has at most {COMMENT_LENGTH} characters.")
    state = status.of_studies(session, [study.id], now)[study.id]
    if seen is not None and not _is_as_seen(seen, state):
        raise Conflict(
            "changed", "The case has changed since you opened it. Look at it again, then review it."
        )
    _check_ready(state, chosen, why)
    review = Review(
        id=uuid4(),
        study_id=study.id,
        reader_id=actor.user_id,
        verdict=chosen,
        reason=why,
        created=now,
    )
    if text:
        data_key = sealed_fields.key_of(vault, study)
        review.sealed_comment = sealed_fields.seal_comment(vault, data_key, review.id, text)
    session.add(review)
    session.flush()
    predictions = exams.last_predictions(session, [study.id])
    seen_rows = [
        ReviewSeen(
            review_id=review.id,
            instance_id=row.id,
            prediction_id=prediction.id if (prediction := predictions.get(row.id)) else None,
        )
        for row in exams.pictures(session, [study.id])[study.id]
    ]
    session.add_all(seen_rows)
    worklist_order.place(session, study.id)
    audit.append(
        session,
        "review_added",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=review.id,
        detail={"verdict": chosen.value},
        bound=[review, *seen_rows],
    )
    session.commit()
    return review


def _is_as_seen(seen: str, state: StudyState) -> bool:
    several = f"/{len(state.pictures)}" if len(state.pictures) > 1 else ""
    return seen == f"{state.state.value}{several}"


def _coded(verdict: str, reason: str | None) -> tuple[Verdict, Reason | None]:
    try:
        chosen = Verdict(verdict)
    except ValueError:
        raise Invalid("unknown_verdict", "Choose agree, disagree or unsure.") from None
    try:
        why = Reason(reason) if reason else None
    except ValueError:
        raise Invalid("unknown_reason", "Choose one of the listed reasons.") from None
    if why is not None and chosen is Verdict.AGREE:
        raise Invalid("reason_without_need", "A review that agrees has no reason.")
    return chosen, why


def _check_ready(state: StudyState, verdict: Verdict, reason: Reason | None) -> None:
    """Without a picture there is nothing to judge, without a result nothing to agree with."""
    found_unaided = verdict is Verdict.DISAGREE and reason is Reason.MISSED
    if state.state in (State.RECEIVED, State.PREPARING):
        raise Conflict("not_ready", "The picture is still being prepared.")
    if state.state is State.ANALYSING and verdict is Verdict.AGREE:
        raise Conflict("not_ready", "There is no AI result yet to agree with.")
    if not state.has_picture and not found_unaided:
        raise Conflict("no_picture", "The picture could not be prepared, so it can't be reviewed.")

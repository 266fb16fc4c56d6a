"""The findings sentence of a case: a reader's own finding in words, never the AI result alone."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.models import AiShown, Finding, Instance, Reason, Review, Verdict
from portal.reading.case import load
from portal.sentences import phrases, team_templates, templates
from portal.sentences.phrases import Measured, Stated
from portal.studies import exams, reader_outlines, stored_results
from portal.teams.settings import settings_of


def sentence(session: Session, actor: Actor, study_id: UUID, now: datetime) -> str:
    """The sentence of the reader's newest finding of this case, with one audit row.

    A measurement is that of the newest outline by a reader; without one, the model's, where the
    reader agreed with it and may see it. Conflict where the reader has stated nothing yet; Denied.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    review = session.scalars(
        select(Review)
        .where(exams.within(Review.study_id, study.id), Review.reader_id == actor.user_id)
        .order_by(Review.created.desc())
        .limit(1)
    ).first()
    if review is None or review.finding is None:
        raise Conflict("no_finding", "State your finding first: the sentence is made of that.")
    pictures = exams.pictures(session, [study.id])[study.id]
    sees_model = settings_of(session, study.team_id).ai_shown is not AiShown.NEVER
    stated = Stated(
        finding=review.finding,
        size=review.size,
        has_drain=review.reason is Reason.CHEST_DRAIN,
        is_poor=review.reason is Reason.POOR_IMAGE,
        measured=_measured(session, pictures, review, sees_model),
    )
    kind = phrases.kind_of(review.finding)
    template = team_templates.template_of(session, study.team_id, kind)
    audit.append(
        session,
        "sentence_made",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=review.id,
    )
    session.commit()
    return templates.fill(template, phrases.phrases(stated))


def _measured(
    session: Session, pictures: Sequence[Instance], review: Review, sees_model: bool
) -> Measured | None:
    finding = review.finding
    if finding is None or not finding.is_positive:
        return None
    newest = {one.instance_id: one for one in _outlines(session, pictures)}
    if newest:
        found = (
            phrases.measured_of(one.measurements, finding, "reader") for one in newest.values()
        )
        return next((one for one in found if one is not None), None)
    if not sees_model or review.verdict is not Verdict.AGREE:
        return None
    return _of_model(session, pictures, finding)


def _outlines(session: Session, pictures: Sequence[Instance]) -> list[reader_outlines.OutlineView]:
    """The versions of all pictures, the oldest first, so that the newest of each comes last."""
    return reader_outlines.versions(session, [row.id for row in pictures])


def _of_model(session: Session, pictures: Sequence[Instance], finding: Finding) -> Measured | None:
    by_id = {row.id: row for row in pictures}
    predictions = exams.last_predictions(session, {row.study_id for row in pictures})
    for picture_id, prediction in predictions.items():
        found = stored_results.measurements(prediction, by_id[picture_id])
        measured = phrases.measured_of(found, finding, "model")
        if measured is not None:
            return measured
    return None

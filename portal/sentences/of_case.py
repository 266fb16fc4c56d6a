"""The findings sentence of a case: a reader's own finding in words, never the AI result alone."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.languages import _, speaking
from portal.models import (
    AiShown,
    Finding,
    Instance,
    ModelVersion,
    Prediction,
    Reason,
    Review,
    ReviewSeen,
    Verdict,
)
from portal.reading.case import load
from portal.sentences import phrases, team_templates, templates
from portal.sentences.phrases import Measured, Stated
from portal.studies import exams, reader_outlines, stored_results
from portal.teams import ai_visibility
from portal.teams.settings import settings_of


def sentence(session: Session, actor: Actor, study_id: UUID, now: datetime) -> str:
    """The sentence of the reader's newest finding of this case in the team's language, with one
    audit row.

    A measurement is that of the newest outline by a reader that counts (`reader_outlines`), of
    those that this one sees (`blindness`); without one, that of the model's result beside which
    they stated the finding, where they agreed with it, may see it, and it was not withdrawn since.
    Conflict where the reader has stated nothing yet; Denied.
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
        raise Conflict("no_finding", _("State your finding first: the sentence is made of that."))
    pictures = exams.pictures(session, [study.id])[study.id]
    authors = ai_visibility.readings(session, [study.id]).authors(actor, study.id)
    of_team = settings_of(session, study.team_id)
    sees_model = of_team.ai_shown is not AiShown.NEVER
    stated = Stated(
        finding=review.finding,
        size=review.size,
        has_drain=Reason.CHEST_DRAIN in review.reasons,
        is_poor=Reason.POOR_IMAGE in review.reasons,
        measured=_measured(session, pictures, review, authors, sees_model=sees_model),
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
    with speaking(of_team.language):
        return templates.fill(template, phrases.phrases(stated))


def _measured(
    session: Session,
    pictures: Sequence[Instance],
    review: Review,
    authors: Collection[UUID] | None,
    *,
    sees_model: bool,
) -> Measured | None:
    finding = review.finding
    if finding is None or not finding.is_positive:
        return None
    outlines = reader_outlines.versions(session, [row.id for row in pictures], authors)
    newest = reader_outlines.newest_counting(outlines)
    if newest:
        found = (
            phrases.measured_of(one.measurements, finding, "reader") for one in newest.values()
        )
        return next((one for one in found if one is not None), None)
    if not sees_model or review.verdict is not Verdict.AGREE:
        return None
    return _of_model(session, pictures, review, finding)


def _of_model(
    session: Session, pictures: Sequence[Instance], review: Review, finding: Finding
) -> Measured | None:
    """What was measured in the results that lay beside the finding."""
    by_id = {row.id: row for row in pictures}
    seen = session.scalars(
        select(Prediction)
        .join(ReviewSeen, ReviewSeen.prediction_id == Prediction.id)
        .join(ModelVersion, ModelVersion.id == Prediction.model_id)
        .where(
            ReviewSeen.review_id == review.id,
            Prediction.instance_id.in_(by_id),
            ModelVersion.retracted_at.is_(None),
        )
        .order_by(Prediction.created, Prediction.id)
    )
    for prediction in seen:
        found = stored_results.measurements(prediction, by_id[prediction.instance_id])
        measured = phrases.measured_of(found, finding, "model")
        if measured is not None:
            return measured
    return None

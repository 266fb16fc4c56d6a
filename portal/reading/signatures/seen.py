"""An exam as it was signed: its pictures, results, outlines and reviews of then, and the view."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, Denied
from portal.models import (
    BlobKind,
    Instance,
    Prediction,
    Review,
    ReviewSeen,
    Signature,
    Study,
    VerdictState,
)
from portal.reading import case, findings
from portal.reading.case_records import PictureView, StudyView
from portal.reading.signatures import beside_then
from portal.reading.signatures.records import SignatureView
from portal.reading.viewing import shown as shown_pictures
from portal.reading.viewing.beside import Beside
from portal.studies import exams, status
from portal.studies.status import State
from portal.studies.verdicts import Standing
from portal.teams import ai_visibility
from portal.vault import Vault

# The files of a result, which a later one of another model has replaced.
_OF_RESULT = frozenset({BlobKind.PROBABILITY, BlobKind.MASK, BlobKind.OVERLAY})


def open_signed(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    signature_id: UUID,
    now: datetime,
    *,
    picture: UUID | None = None,
) -> tuple[StudyView, SignatureView]:
    """The case as it was when this signature was made, with the one audit row of an opened case.

    `picture` is the one to be shown, else the one that was shown then. A result that a later one
    has replaced is there without its map; none is where the actor may not see what the AI found.
    Denied where the actor may not see the case, or it has no such signature, or none that they may
    see yet (`teams.ai_visibility`).
    """
    _, signature = _signature(session, actor, study_id, signature_id)
    named = select(ReviewSeen).where(ReviewSeen.review_id == signature.review_id)
    seen = {row.instance_id: row for row in session.scalars(named)}
    shown = picture if picture in seen else _shown(signature, seen)
    view = case.open_study(session, vault, actor, study_id, now, picture=shown)
    review = session.get_one(Review, signature.review_id)
    verdict = findings.shown_verdict(review, view.ai)
    pictures = [
        _then(session, one, seen[one.instance_id].prediction_id) if view.ai.is_visible else one
        for one in view.pictures
        if one.instance_id in seen
    ]
    outlines = {row.instance_id: row.outline_id for row in seen.values()}
    signed = next(one for one in view.signatures if one.signature_id == signature.id)
    results = [one.state.result for one in pictures if one.state.result is not None]
    state = replace(
        view.state,
        result=min(results, key=status.suspicion, default=None),
        reviewed=verdict,
        finding=review.finding,
        pictures=tuple(one.state for one in pictures),
        found_after_reading=False,
        new_pictures=0,
        standing=Standing(
            state=VerdictState.AMENDED if signed.amends else VerdictState.FINAL,
            author_id=signed.signer_id,
            author=signed.signer,
            at=signed.created,
            review_id=review.id,
            signature_id=signature.id,
            finding=review.finding,
            verdict=verdict,
        ),
    )
    # Of a version before, and where a program has signed, nothing is known.
    shown_to = shown_pictures.by_reader(session, signed.signer_id, list(seen), signed.created)
    session.commit()
    then = replace(
        view,
        state=state,
        pictures=pictures,
        picture=next(one for one in pictures if one.instance_id == view.picture.instance_id),
        reviews=[one for one in view.reviews if one.created <= review.created],
        outlines=[
            one
            for one in view.outlines
            if outlines.get(one.instance_id) is not None and one.created <= signed.created
        ],
        outline_drafts=[],
        addenda=[],
    )
    return then, replace(signed, shown=shown_to or None)


def open_beside(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    signature_id: UUID,
    now: datetime,
    *,
    picture: UUID | None = None,
) -> Beside:
    """The picture that lay beside at this signature, or of several `picture`, with the one audit
    row of an opened case: its result and outline of then, as far as they were noted.

    Denied as in `open_signed`, where none lay there, and where that exam may not be seen (any
    more).
    """
    study, signature = _signature(session, actor, study_id, signature_id)
    beside = beside_then.pictures_then(signature)
    shown = picture or next(iter(beside), None)
    row = session.get(Instance, shown) if shown in beside else None
    if row is None:
        raise Denied("picture")
    view = case.open_study(session, vault, actor, row.study_id, now, picture=row.id)
    choice = beside_then.choice_of(session, study, view)
    if f"pixels/{row.id.hex}" in signature.hashes:  # not noted by a version before
        prediction_id, outline_id = beside_then.named(session, signature, row.id)
        then = view.picture
        if view.ai.is_visible:
            then = _then(session, then, prediction_id)
        view = replace(
            view,
            picture=then,
            pictures=[then if one.instance_id == row.id else one for one in view.pictures],
            outlines=[one for one in view.outlines if one.outline_id == outline_id],
        )
    session.commit()
    return Beside(choice, view, [choice])


def _signature(
    session: Session, actor: Actor, study_id: UUID, signature_id: UUID
) -> tuple[Study, Signature]:
    """A signature of an exam, if the actor may see both."""
    study = case.look(session, actor, study_id)
    signature = session.get(Signature, signature_id)
    hides = ai_visibility.readings(session, [study.id]).hides_findings(actor, study.id)
    if signature is None or exams.survivor_of(session, signature.study_id) != study.id or hides:
        raise Denied("signature")
    return study, signature


def _shown(signature: Signature, seen: dict[UUID, ReviewSeen]) -> UUID | None:
    """The picture that was in the middle, as far as that is known; else one that was there."""
    kept = (signature.view or {}).get("pictures") or ()
    first = UUID(kept[0]["picture"]) if kept else None
    return first if first in seen else next(iter(seen), None)


def _then(session: Session, one: PictureView, prediction_id: UUID | None) -> PictureView:
    """A picture with the result that was there then."""
    now = one.prediction.prediction_id if one.prediction else None
    if prediction_id == now:
        return one
    prediction, picture = None, session.get_one(Instance, one.instance_id)
    if prediction_id is not None:
        found = session.get_one(Prediction, prediction_id)
        prediction = case.prediction_view(found, picture)
    result = prediction.result if prediction else None
    state = State.DONE if result and result.band else State.NO_RESULT
    return replace(
        one,
        prediction=prediction,
        state=replace(one.state, result=result, state=state),
        blobs=one.blobs - _OF_RESULT,
    )

"""`/api/v1`: what programs may do with an API token. Answers contain no patient's name. A program
names cases by the ids that it was given. Errors are RFC 9457 problem documents. `openapi` describes
every operation, `bodies` what it sends and takes; keep all in step.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import ValidationError

from portal.access import Permission
from portal.errors import Conflict
from portal.intake import submission, zip_submission
from portal.reading import reviews, worklist
from portal.reading.case import open_study, read_blob, study_state
from portal.reading.case_records import Annotation, PictureView, PredictionView, ReviewView
from portal.services import db_session
from portal.studies import status
from portal.web.api import bodies
from portal.web.receive_file import receive
from portal.web.security import guard
from portal.web.security.errors import Problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_Body = TypeVar("_Body", bound=bodies.Body)


@blueprint.post("/studies")
@guard.scope("studies:write", upload=True)
def submit() -> tuple[Response, int, dict[str, str]]:
    """Take in one chest X-ray, or a ZIP of them."""
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "not_multipart", "Send the picture as multipart/form-data, field file.")
    files = request.files.getlist("file")
    if len(files) != 1:
        raise Problem(422, "one_file", "Send exactly one file in the field `file`.")
    received = receive(files[0], request.form)
    if isinstance(received, list):
        archive = bodies.SubmittedArchive(files=[_arrival(arrival) for arrival in received])
        return jsonify(archive.as_json()), 202, {}
    at = url_for("api.study", study_id=received.study_id)
    return jsonify(_submitted(received).as_json()), 202, {"Location": at}


@blueprint.get("/studies")
@guard.scope("studies:read")
def studies() -> Response:
    """A page of the studies that the token's owner may see, in the order of the worklist."""
    query = _query(bodies.StudyQuery)
    page = worklist.numbered(
        db_session(),
        guard.services().vault,
        guard.actor(),
        state=query.state or "",
        result=query.result or "",
        side=query.side or "",
        verdict=query.verdict or "",
        page=query.page,
        after=query.after or "",
        per_page=query.per_page,
        now=guard.now(),
    )
    body = bodies.StudyPage(
        studies=[_summary(row.state, row.case_number, row.created) for row in page.rows],
        total=page.total,
        page=page.page,
        per_page=page.per_page,
        next=page.after or None,
    )
    return jsonify(body.as_json())


@blueprint.get("/studies/<uuid:study_id>")
@guard.scope("studies:read")
def study(study_id: UUID) -> Response:
    """One study: its state, the model's result in full, and the reviews."""
    view = open_study(db_session(), guard.services().vault, guard.actor(), study_id, guard.now())
    body = bodies.Study(
        **dict(_summary(view.state, view.case_number, view.created)),
        rows=view.picture.rows,
        columns=view.picture.columns,
        prediction=_prediction(view.picture.prediction),
        reviews=[_review_of(review) for review in view.reviews],
        blobs=sorted(kind.value for kind in view.picture.blobs),
        instances=[_instance(picture) for picture in view.pictures],
    )
    return jsonify(body.as_json())


@blueprint.get("/studies/<uuid:study_id>/mask.png")
@guard.scope("studies:read")
def mask(study_id: UUID) -> Response:
    """The model's mask in the geometry of the X-ray: 255 inside the finding, else 0."""
    return _picture(study_id, "mask")


@blueprint.get("/studies/<uuid:study_id>/overlay.png")
@guard.scope("studies:read")
def overlay(study_id: UUID) -> Response:
    """The model's outline, to be laid over the X-ray."""
    guard.count_export()  # it is drawn
    return _picture(study_id, "overlay")


@blueprint.post("/studies/<uuid:study_id>/reviews")
@guard.scope("reviews:write")
def review(study_id: UUID) -> tuple[Response, int]:
    """Add a reader's finding, if none has come since the one that it names."""
    sent = _review()
    try:
        saved = reviews.add_review(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            finding=sent.finding.value,
            size=sent.size.value if sent.size is not None else None,
            reason=_reasons_sent(sent),
            comment=sent.comment,
            seen=sent.seen,
            after=sent.after.hex if sent.after is not None else "",
            critical=sent.critical,
            now=guard.now(),
        )
    except Conflict as conflict:
        more = _newest(study_id) if conflict.code == "reviewed" else {}
        raise Problem(409, conflict.code, conflict.message, more=more) from None
    row = saved.review
    body = bodies.Review(
        id=row.id,
        finding=row.finding,
        size=row.size,
        verdict=saved.verdict,
        reason=next(iter(saved.reasons), None),
        reasons=list(saved.reasons),
        comment=saved.comment,
        annotations=_annotations(saved.annotations),
        created=row.created,
    )
    return jsonify(body.as_json()), 201 if saved.is_new else 200


def _reasons_sent(sent: bodies.NewReview) -> str | None:
    """The codes as `reviews.add_review` takes them: of `reason` and `reasons` all."""
    if sent.reason is None and sent.reasons is None:
        return None
    named = [*([sent.reason] if sent.reason is not None else []), *(sent.reasons or [])]
    return ",".join(named)


def _newest(study_id: UUID) -> dict[str, bodies.Json]:
    """What has changed, for a token that may read the study; reading it is logged."""
    actor = guard.actor()
    if not actor.may(Permission.STUDY_READ):
        return {}
    db_session().rollback()  # of the review that was not added
    view = open_study(db_session(), guard.services().vault, actor, study_id, guard.now())
    return {"newest": _review_of(view.reviews[-1]).as_json()} if view.reviews else {}


def _review_of(review: ReviewView) -> bodies.Review:
    return bodies.Review(
        id=review.review_id,
        finding=review.finding,
        size=review.size,
        verdict=review.verdict,
        reason=next(iter(review.reasons), None),
        reasons=list(review.reasons),
        comment=review.comment,
        annotations=_annotations(review.annotations),
        created=review.created,
    )


def _annotations(drawn: Mapping[UUID, Sequence[Annotation]]) -> list[bodies.Annotation]:
    return [
        bodies.Annotation(instance=picture, kind=one.kind, line=list(one.line), text=one.text)
        for picture, of_picture in drawn.items()
        for one in of_picture
    ]


def _submitted(submitted: submission.Submitted) -> bodies.Submitted:
    return bodies.Submitted(
        id=submitted.study_id,
        case=submitted.case_number,
        instance=submitted.instance_id,
        duplicate=submitted.duplicate,
        same_uid=submitted.same_uid,
        remarks=list(submitted.remarks),
        state=_state_of(submitted),
    )


def _arrival(arrival: zip_submission.Arrival) -> bodies.ArchiveFile:
    """A file of a ZIP, under the name that its sender gave it."""
    return bodies.ArchiveFile(
        name=arrival.name,
        outcome=arrival.outcome,
        code=arrival.code or None,
        detail=arrival.message or None,
        study=_submitted(arrival.submitted) if arrival.submitted is not None else None,
    )


def _state_of(submitted: submission.Submitted) -> status.State | None:
    """The state of a picture that was just sent; of one known before, only for readers."""
    if not submitted.duplicate:
        return status.State.RECEIVED
    if not guard.actor().may(Permission.STUDY_LIST):
        return None
    return study_state(db_session(), guard.actor(), submitted.study_id).state


def _summary(state: status.StudyState, case: str, created: datetime | None) -> bodies.StudySummary:
    result = state.result
    return bodies.StudySummary(
        id=state.study_id,
        case=case,
        created=created,
        state=state.state,
        waiting_for=state.waiting_for,
        error_code=state.error_code,
        reviewed=state.reviewed,
        finding=state.finding,
        verdict=bodies.Standing(
            state=state.standing.state,
            author=state.standing.author or None,
            at=state.standing.at,
            new_pictures=state.new_pictures,
            hidden=state.standing.is_hidden,
        ),
        found_after_reading=state.found_after_reading,
        result=_result(result, under_18=state.under_18) if result is not None else None,
    )


def _result(result: status.Result, *, under_18: bool) -> bodies.Result:
    """The most suspicious picture's result; the mark of an under-18 is that of any picture."""
    return bodies.Result(
        band=result.band,
        probability=result.probability,
        side=result.side,
        distance_mm=result.distance_mm,
        hemithorax_share=result.hemithorax_share,
        under_18=under_18,
        retracted=result.retracted,
        quality=result.quality,
    )


def _instance(picture: PictureView) -> bodies.Instance:
    return bodies.Instance(
        id=picture.instance_id,
        created=picture.created,
        view=picture.view,
        rows=picture.rows,
        columns=picture.columns,
        names_another_patient=picture.names_another,
        state=picture.state.state,
        waiting_for=picture.state.waiting_for,
        error_code=picture.state.error_code,
        prediction=_prediction(picture.prediction),
        blobs=sorted(kind.value for kind in picture.blobs),
    )


def _prediction(view: PredictionView | None) -> bodies.Prediction | None:
    if view is None:
        return None
    return bodies.Prediction.model_validate(
        {
            "model": {
                "name": view.model_name,
                "version": view.model_version,
                "sha256": view.model_sha256,
                "retracted": view.retraction,
            },
            "band": view.result.band,
            "probability": view.result.probability,
            "threshold": view.threshold,
            "pixel_threshold": view.threshold,
            "operating_point": view.operating_point,
            "image_threshold": view.image_threshold,
            "likely_threshold": view.likely_threshold,
            "under_18": view.result.under_18,
            "measurements": view.measurements,
            "uncertainty": view.uncertainty,
            "region": view.region,
            "other_findings": view.other_findings,
            "quality": view.quality,
            "statistics": view.statistics,
            "seconds": view.seconds,
            "created": view.created,
        }
    )


def _picture(study_id: UUID, kind: str) -> Response:
    """A file of the picture that `instance` names, or of the one that stands for the study."""
    found = read_blob(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        kind,
        guard.now(),
        picture=_query(bodies.PictureQuery).instance,
    )
    return Response(found.data, content_type=found.media_type)


def _query(kind: type[_Body]) -> _Body:
    """The query's parameters; an unknown one, perhaps mistyped, is refused and not ignored."""
    known = kind.model_fields
    if set(request.args) - set(known):
        raise Problem(422, "unknown_parameter", f"Only these parameters: {', '.join(known)}.")
    try:
        return kind.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise Problem(422, "bad_parameter", _sentence(error)) from None


def _review() -> bodies.NewReview:
    """The review in the body; the rules between its fields are those of `reviews`."""
    if not request.is_json:
        raise Problem(415, "not_json", "Send application/json.")
    sent = json_or_none()
    if not isinstance(sent, dict):
        raise Problem(400, "bad_json", "The body is not a JSON object.")
    known = bodies.NewReview.model_fields
    if set(sent) - set(known):
        raise Problem(422, "unknown_field", f"Only these fields: {', '.join(sorted(known))}.")
    try:
        return bodies.NewReview.model_validate(sent)
    except ValidationError as error:
        raise Problem(422, "bad_field", _sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"`{first['loc'][0]}`: {first['msg']}."

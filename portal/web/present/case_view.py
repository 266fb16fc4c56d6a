"""The case page: the texts for a `reading.case.StudyView`, and the viewer's data as JSON."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from portal.access import Actor, Permission
from portal.languages import _, header_day_text
from portal.models import AiShown, Band, BlobKind, View
from portal.reading.case_records import Prior, StudyView
from portal.reading.signatures.records import SignatureView
from portal.reading.viewer_preferences import Preferences
from portal.reading.viewing.drafts import NO_DRAFT, Draft
from portal.studies.status import PictureState, StudyState
from portal.web.present import (
    outline_view,
    review_view,
    sign_view,
    size_lines,
    wording,
)
from portal.web.present.other_lines import OtherLine, other_lines
from portal.web.present.outline_view import OutlinePanel
from portal.web.present.review_view import ReviewForm, ReviewLine
from portal.web.present.rules.texts import RuleLine, rule_line
from portal.web.present.second_reads import panel
from portal.web.present.second_reads.panel import SecondReadPanel
from portal.web.present.sign_view import Seen, SignPanel
from portal.web.present.viewing import quality_texts

_FOUND = (Band.LIKELY, Band.POSSIBLE)
# Reasons of the quality gate why a picture shows no chest from the front (see ml.quality.gate).
_NO_FRONTAL_CHEST = frozenset(
    {"not_chest", "lateral_view", "aspect", "colour", "flat", "few_grey_levels"}
    | {"not_like_chest", "no_lungs", "rotated", "unlike_training"}
)


@dataclass(frozen=True)
class Model:
    """The model behind the result; `sha` is the beginning of its digest."""

    id: UUID
    name: str
    version: str
    sha: str


@dataclass(frozen=True)
class Quality:
    """Whether the picture is suitable for the model, and why not."""

    verdict: str
    label: str
    reasons: list[str]


@dataclass(frozen=True)
class PriorLine:
    """Another exam of the same patient, or with the same SOPInstanceUID.

    `exam_date` is empty where the header has none; `is_later`: it was taken after the open one.
    """

    id: UUID
    number: str
    exam_date: str
    is_later: bool
    arrived: datetime
    label: wording.StatusLabel
    under_18: bool


@dataclass(frozen=True)
class PictureLine:
    """One of several pictures of the case; `is_shown` is the one that the page shows."""

    id: UUID
    number: int
    view: str
    arrived: datetime
    label: wording.StatusLabel
    names_another: bool
    is_shown: bool
    under_18: bool


@dataclass(frozen=True)
class CasePage:
    """The template's `case`. What is about a picture is about the one that is shown. Texts are
    ready for display; `viewer` is read by static/js/case.js.
    """

    id: UUID
    number: str
    name: str
    sex_age: str
    birth_date: str
    patient_id: str
    typed: str  # what of these the sender typed
    corrected: str  # when a message of the hospital's changed them
    exam: str
    accession: str
    view: str
    arrived: datetime
    pictures: list[PictureLine]
    names_another: str
    state: str
    label: wording.StatusLabel
    retraction: str  # why the result is no longer to be relied on
    side: str
    where: str
    probability: str
    percent: float
    size: tuple[str, str] | None
    size_note: str
    distance: str
    area: str
    bands: str
    islands: str
    under_18: str
    marked_under_18: str  # beside the patient, also where another picture of the exam is shown
    late_note: str
    measure_note: str
    severity: str
    lesions: int
    others: list[OtherLine]
    sizes: list[size_lines.Size]
    sizes_note: str
    floor_note: str
    readings: str
    unsure: str
    progress: str
    failure: str
    rule: RuleLine | None  # that the picture met when it arrived
    film_note: str
    spacing_note: str
    limits: str
    hidden_note: str  # why the AI result is not shown; "" where it is
    colleague_note: str  # who has read it, whose finding is shown after one's own
    model: Model | None
    quality: Quality | None
    reviews: list[ReviewLine]
    sign: SignPanel
    seen: Seen | None  # where it is shown as it was signed
    outline: OutlinePanel
    second_read: SecondReadPanel
    priors: list[PriorLine]
    priors_note: str  # where some may be missing
    priors_more: int  # that are not listed
    same_uid_note: str
    same_uid: list[PriorLine]
    review: ReviewForm | None  # for who may review
    may_export: bool
    viewer: dict[str, Any]


def case_page(
    view: StudyView,
    actor: Actor,
    preferences: Preferences,
    drawn: Draft = NO_DRAFT,
    signed: SignatureView | None = None,
) -> CasePage:
    """The page of an opened study for this person, as they look at pictures, with what they have
    `drawn` on the one that is shown. `signed`: the signature at which it is shown again.
    """
    state, prediction = view.picture.state, view.picture.prediction
    facts = view.facts or {}
    measured = (prediction.measurements if prediction else None) or {}
    spacing, problem = size_lines.spacing(facts, measured)
    row_mm, source = (spacing["row_mm"], spacing["source"]) if spacing else (None, None)
    probability = state.result.probability if state.result else None
    band = state.result.band if state.result else None
    outlined = bool(measured.get("area_px"))
    doubt = prediction.uncertainty if prediction else None
    return CasePage(
        id=view.study_id,
        number=view.case_number,
        name=view.patient.patient_name,
        sex_age=wording.sex_and_age(
            view.patient.sex, view.patient.age, facts.get("patient_age_years")
        ),
        birth_date=header_day_text(view.patient.birth_date),
        patient_id=view.patient.patient_id,
        typed=wording.typed(view.patient.typed, view.patient.side_marker),
        corrected=_("corrected %(date)s", date=header_day_text(view.patient.corrected))
        if view.patient.corrected
        else "",
        exam=f"{header_day_text(view.patient.study_date)} {view.patient.study_time}".strip(),
        accession=view.patient.accession,
        view=facts.get("view") or "",
        arrived=view.created,
        pictures=_picture_lines(view) if len(view.pictures) > 1 else [],
        names_another=str(wording.NAMES_ANOTHER) if view.picture.names_another else "",
        state=state.state.value,
        label=_label(state),
        retraction=wording.retraction(prediction.retraction if prediction else None),
        side=wording.side(measured.get("side")),
        where=wording.where(
            measured.get("side"),
            measured.get("zones", ()),
            assumed=bool(measured.get("side_assumed")),
            thirds=measured.get("zones_by") is None,
        ),
        probability=wording.probability(probability),
        percent=round(100 * (probability or 0), 1),
        size=size_lines.figure(measured) if outlined else None,
        # Why there are no mm, at once; where lengths are measured from, beside the lengths.
        size_note=wording.spacing_note(row_mm, source, problem) if problem else "",
        distance=wording.length(measured.get("distance_mm"), measured.get("distance_px")),
        area=wording.area(measured.get("area_mm2"), measured.get("area_px")) if outlined else "–",
        bands=wording.bands(
            prediction.operating_point, prediction.image_threshold, prediction.likely_threshold
        )
        if prediction
        else "",
        islands=wording.islands(measured.get("island_px_min"), measured.get("islands_left_out")),
        under_18=wording.UNDER_18 if state.result and state.result.under_18 else "",
        marked_under_18=wording.UNDER_18_SHORT if view.state.under_18 else "",
        late_note=wording.FOUND_AFTER_READING if view.state.found_after_reading else "",
        measure_note=wording.spacing_note(row_mm, source, problem),
        severity=size_lines.severity(measured),
        lesions=size_lines.lesions(measured),
        others=other_lines(prediction.other_findings if prediction else None),
        sizes=size_lines.sizes(measured),
        sizes_note=size_lines.METHOD,
        floor_note=wording.BELOW_FLOOR if band in _FOUND and not outlined else "",
        readings=wording.readings(doubt["spread"], doubt["outline_dice"]) if doubt else "",
        unsure=wording.UNSURE if doubt and doubt["unsure"] else "",
        progress=wording.progress(state.state, state.waiting_for),
        failure=wording.failure(state.error_code),
        rule=rule_line(
            view.picture.arrival,
            state,
            may_ask=actor.may(Permission.STUDY_SUBMIT) and view.ai.is_visible and signed is None,
        ),
        film_note=_film_note(view),
        spacing_note=wording.spacing(row_mm, source, problem) if facts else "",
        limits=wording.LIMITS,
        hidden_note=_hidden_note(view, actor),
        colleague_note=_colleague_note(view),
        model=Model(
            prediction.model_id,
            prediction.model_name,
            prediction.model_version,
            prediction.model_sha256[:12],
        )
        if prediction
        else None,
        quality=_quality(view),
        reviews=review_view.review_lines(view.reviews, actor, view.picture.instance_id),
        sign=sign_view.panel(view, actor),
        seen=sign_view.seen(view, signed) if signed else None,
        outline=outline_view.panel(view, actor),
        second_read=panel.panel(view, actor),
        priors=[_prior_line(prior) for prior in view.priors],
        priors_more=view.priors_more,
        priors_note=wording.PRIORS_MAY_LACK if view.priors_may_lack else "",
        same_uid_note=wording.SAME_UID if view.shares_uid else "",
        same_uid=[_prior_line(other) for other in view.same_uid],
        review=review_view.review_form(view, actor) if actor.may(Permission.REVIEW_WRITE) else None,
        may_export=actor.may(Permission.STUDY_EXPORT),
        viewer={
            **_viewer(view, facts, measured),
            "preferences": preferences.as_json(),
            "preferencesUrl": "/viewer/preferences",
            "picture": str(view.picture.instance_id),
            "outline": outline_view.viewer(view, actor),
            "seen": sign_view.view_then(view, signed) if signed else None,
            "annotations": [asdict(one) for one in drawn.annotations],
            "annotationsVersion": drawn.version,
            "annotationsUrl": f"/studies/{view.study_id}/annotations"
            if actor.may(Permission.REVIEW_WRITE)
            else None,
            "shownUrl": None if signed else _shown_url(view, actor),
            "reviewed": {
                review.review_id.hex: [asdict(one) for one in kept]
                for review in view.reviews
                if (kept := review.annotations.get(view.picture.instance_id))
            },
            "besideUrl": _beside_url(view, actor, signed),
            "mayHaveBeside": bool(signed or view.priors) or len(view.pictures) > 1,
        },
    )


def _shown_url(view: StudyView, actor: Actor) -> str | None:
    """Where the page states that the picture was shown in full; None for who is no reader of it."""
    if actor.grant or not actor.may(Permission.REVIEW_WRITE):
        return None
    return f"/studies/{view.study_id}/shown?picture={view.picture.instance_id}"


def _beside_url(view: StudyView, actor: Actor, signed: SignatureView | None) -> str | None:
    """Where the picture beside is got; None under emergency access, which opens one exam."""
    if actor.grant:
        return None
    if signed:
        return sign_view.beside_url(view, signed)
    return f"/studies/{view.study_id}/beside"


def _picture_lines(view: StudyView) -> list[PictureLine]:
    return [
        PictureLine(
            id=one.instance_id,
            number=number,
            view=one.view.value if one.view is not View.UNKNOWN else "",
            arrived=one.created,
            label=_label(one.state),
            names_another=one.names_another,
            is_shown=one.instance_id == view.picture.instance_id,
            under_18=bool(one.state.result and one.state.result.under_18),
        )
        for number, one in enumerate(view.pictures, 1)
    ]


def _prior_line(prior: Prior) -> PriorLine:
    return PriorLine(
        prior.study_id,
        prior.case_number,
        prior.exam_date,
        bool(prior.is_later),
        prior.created,
        _label(prior.state),
        prior.state.under_18,
    )


def _label(state: StudyState | PictureState) -> wording.StatusLabel:
    result = state.result
    retracted = bool(result and result.retracted)
    return wording.status_label(state.state, result.band if result else None, retracted=retracted)


def _colleague_note(view: StudyView) -> str:
    standing = view.state.standing
    if not standing.is_hidden:
        return ""
    return _("read by %(name)s, shown after yours", name=standing.author)


def _hidden_note(view: StudyView, actor: Actor) -> str:
    if view.ai.is_visible:
        return ""
    if view.ai.policy is AiShown.AFTER_VERDICT and not actor.may(Permission.REVIEW_WRITE):
        return wording.AI_HIDDEN_UNREAD
    return wording.AI_HIDDEN.get(view.ai.policy, wording.AI_HIDDEN_SECOND)


def _film_note(view: StudyView) -> str:
    if BlobKind.PREVIEW in view.picture.blobs:
        return ""
    if view.picture.state.is_settled:
        return _("The picture could not be prepared. Read the original.")
    return _("The picture is being prepared.")


def _quality(view: StudyView) -> Quality | None:
    prediction = view.picture.prediction
    if prediction is None:
        return None
    verdict = prediction.result.quality.value
    reasons = [
        quality_texts.shown(reason) for reason in prediction.result.reasons if reason.get("message")
    ]
    return Quality(verdict, str(wording.QUALITY[verdict]), reasons)


def _viewer(view: StudyView, facts: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Numbers and URLs for the viewer: nothing about the patient."""
    base = f"/studies/{view.study_id}"
    shown = view.picture
    several = f"?picture={shown.instance_id}" if len(view.pictures) > 1 else ""
    has_pixels = bool(facts) and BlobKind.PIXELS in shown.blobs
    prediction = shown.prediction
    has_map = (
        prediction is not None
        and prediction.map_rows is not None
        and prediction.threshold is not None
        and BlobKind.PROBABILITY in shown.blobs
    )
    state = view.state
    return {
        "state": shown.state.state.value,
        "signature": f"{state.as_seen}/{state.waiting_for or ''}",
        "final": state.is_settled,
        "stateUrl": f"{base}/state",
        "preview": f"{base}/blobs/preview{several}" if BlobKind.PREVIEW in shown.blobs else None,
        "pixels": f"{base}/blobs/pixels{several}" if has_pixels else None,
        "rows": facts.get("rows") if has_pixels else None,
        "columns": facts.get("columns") if has_pixels else None,
        "bits": facts.get("bits", 16),
        "windows": facts.get("windows", []),
        "spacing": size_lines.spacing(facts, measured)[0],
        "shutters": facts.get("shutters") or [],
        "leftSide": _left_side(view, facts) if has_pixels else None,
        "map": {
            "url": f"{base}/blobs/probability{several}",
            "rows": prediction.map_rows,
            "columns": prediction.map_columns,
        }
        if has_map and prediction
        else None,
        "threshold": prediction.threshold if prediction else None,
        "islandFloor": measured.get("island_px_min") or 0,
        "measuredPixels": measured.get("area_px") or 0,
        "distanceLine": measured.get("distance_line"),
        "levelLines": size_lines.level_lines(measured),
        "otherOutlines": [
            outline
            for other in (prediction.other_findings if prediction else None) or ()
            for outline in other.get("outlines", ())
        ],
        # Only with a finding: otherwise it would mark a normal region.
        "region": prediction.region["box"]
        if prediction and prediction.region and prediction.result.band in _FOUND
        else None,
    }


def _left_side(view: StudyView, facts: dict[str, Any]) -> str:
    """The patient's side at the picture's left edge: R or L; "" where neither side is there (a
    lateral or rotated picture, a photograph). "R?", as usual, if the header does not state it and
    the picture is a frontal chest by its header or, where that names no view, by the quality gate.
    """
    named = View.of(facts.get("view") or view.picture.view.value)
    orientation = facts.get("orientation")
    if orientation and named not in (View.LL, View.RL):
        return {"L": "R", "R": "L"}.get(str(orientation[0])[:1], "")
    if named is not View.UNKNOWN and not named.is_frontal:
        return ""
    prediction = view.picture.prediction
    if prediction is None:
        return "R?" if named.is_frontal else ""
    codes = {reason.get("code") for reason in prediction.result.reasons}
    return "" if codes & _NO_FRONTAL_CHEST else "R?"

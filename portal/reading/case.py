"""One case: opening it, its pictures, and its state for pages that update themselves.

The id of a case that was joined into another leads to the other one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import (
    Actor,
    Denied,
    Permission,
    Purged,
    openable_studies,
    purged_studies,
    visible_studies,
)
from portal.models import (
    Blob,
    BlobKind,
    Instance,
    Prediction,
    Review,
    ScreenCheck,
    Study,
    User,
)
from portal.reading import findings, other_exams, served_files
from portal.reading.case_records import (
    BlobData,
    PictureView,
    PredictionView,
    Prior,
    ReviewView,
    StudyView,
)
from portal.reading.shown_results import Shown
from portal.reading.signatures import records
from portal.reading.viewing import annotations, screen_checks
from portal.studies import exams, reader_outlines, sealed_fields, status, stored_results
from portal.studies.sealed_fields import Patient
from portal.studies.second_reads import progress
from portal.studies.status import PictureState, StudyState
from portal.teams import ai_visibility
from portal.teams.ai_visibility import Visibility
from portal.teams.rules import met
from portal.vault import Vault


def load(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The one way to a single study: Denied unless the actor's list has it; Purged, which is Denied
    too, where it would have it otherwise.
    """
    return _first(session, actor, visible_studies(actor), study_id)


def look(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The one way to look at a single study: `load`, or the case that a grant opens."""
    return _first(session, actor, openable_studies(actor), study_id)


def _first(session: Session, actor: Actor, allowed: Select[Study], study_id: UUID) -> Study:
    now_in = exams.survivor_of(session, study_id)
    study = session.scalars(allowed.where(Study.id == now_in)).first()
    if study is not None:
        return study
    purged = purged_studies(actor).where(Study.id == now_in).with_only_columns(Study.id)
    if session.scalar(purged) is not None:
        raise Purged("study")
    raise Denied("study")


def open_study(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    now: datetime,
    *,
    picture: UUID | None = None,
) -> StudyView:
    """The whole case, with one audit row. Denied where the actor may not see it. `picture` is the
    one to be shown in full; Denied where the case has no such picture. Of a case that waits for a
    second reader, who may be the actor, nothing of the first is in it (`blindness`), and before
    the actor's own finding no other one, where the team has chosen so (`teams.ai_visibility`).
    """
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    view = view_of(session, vault, actor, study, study_id, now, picture=picture)
    # The dates of the others are patients' data too: the row names those exams as well.
    named = sorted({other.study_id.hex for other in (*view.priors, *view.same_uid)})
    audit.append(
        session,
        "study_opened",
        actor=actor,
        now=now,
        study_id=study.id,
        detail={"studies": named} if named else None,
    )
    session.commit()
    return view


def view_of(
    session: Session,
    vault: Vault,
    actor: Actor,
    study: Study,
    asked: UUID,
    now: datetime,
    *,
    picture: UUID | None = None,
    with_others: bool = True,
) -> StudyView:
    """What the case page shows of an exam that the actor may see; the caller logs it. `asked`: the
    id that it was asked for by; `picture` as in `open_study`. `with_others`: also the exams that
    the page names beside it, for which the session is rolled back where something is damaged.
    """
    rows = exams.pictures(session, [study.id])[study.id]
    chosen = _chosen(rows, asked, picture)
    phi = sealed_fields.open_phi(vault, sealed_fields.key_of(vault, study), study)
    patient = Patient.of(phi)
    data_key = sealed_fields.instance_key_of(vault, chosen)
    facts = sealed_fields.open_stated_facts(vault, data_key, chosen)
    ai = ai_visibility.of_exam(session, actor, study)
    hidden = () if ai.is_visible else (study.id,)
    reads = ai_visibility.readings(session, [study.id])
    authors, hides = reads.authors(actor, study.id), reads.hides_findings(actor, study.id)
    state = reads.seen(actor, status.of_studies(session, [study.id], hidden)[study.id])
    named = (patient, Patient.of_header(phi))
    pictures = _pictures(session, vault, named, rows, state.pictures, ai)
    uploader = session.get_one(User, study.uploaded_by)
    reviews = [] if hides else _reviews(session, vault, study.id, rows, ai)
    ids = [row.id for row in rows]
    outlines = reader_outlines.versions(session, ids, authors, compared=ai.is_visible)
    is_signed = state.standing.is_signed and not hides
    priors, shares_uid, same_uid = other_exams.Others(), False, list[Prior]()
    if with_others:
        priors = other_exams.of_patient(session, vault, actor, study)
        shares_uid, same_uid = other_exams.of_same_uid(session, vault, actor, study, rows)
    return StudyView(
        study_id=study.id,
        case_number=study.case_number,
        created=study.created,
        uploaded_by=uploader.name,
        patient=patient,
        state=state,
        pictures=pictures,
        picture=next(one for one in pictures if one.instance_id == chosen.id),
        facts=facts,
        reviews=reviews,
        signatures=records.signatures_of(session, study.id) if is_signed else [],
        addenda=records.addenda_of(session, vault, study.id) if is_signed else [],
        shown=records.shown_of(
            state,
            [one.prediction.prediction_id for one in pictures if one.prediction],
            {one.instance_id: one.outline_id for one in outlines}.values(),
        ),
        outlines=outlines,
        outline_drafts=reader_outlines.drafts(session, [row.id for row in rows], now, authors),
        second_read=None
        if hides and not reads.is_blind(actor, study.id)
        else progress.view(session, actor, study.id, reads, sees_ai=ai.is_visible),
        hides_findings=hides,
        priors=priors.exams,
        priors_may_lack=priors.may_lack,
        priors_more=priors.more,
        shares_uid=shares_uid,
        same_uid=same_uid,
        ai=ai,
    )


def study_state(session: Session, actor: Actor, study_id: UUID) -> StudyState:
    """A study's state. It writes no audit row, so callers must show no more than the state."""
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    hidden = ai_visibility.hidden(session, actor, [study.id])
    state = status.of_studies(session, [study.id], hidden)[study.id]
    state = ai_visibility.readings(session, [study.id]).seen(actor, state)
    session.commit()
    return state


def states(
    session: Session, actor: Actor, ids: Sequence[UUID], now: datetime, shown: Shown
) -> dict[UUID, StudyState]:
    """The states of these studies, for live pages; those that the actor may not see, or whose rows
    are damaged, are left out.

    One audit row lists those whose result or verdict the session was not `shown` before.
    """
    actor.require(Permission.STUDY_LIST)

    def read(some: Sequence[UUID]) -> dict[UUID, StudyState]:
        # With a column that no index has: of a row that can't be read nothing is shown.
        columns = (Study.id, Study.case_number)
        visible = visible_studies(actor).where(Study.id.in_(some)).with_only_columns(*columns)
        there = [row.id for row in session.execute(visible)]
        reads = ai_visibility.readings(session, there)
        hidden = ai_visibility.hidden(session, actor, there)
        found = status.of_studies(session, there, hidden)
        return {i: reads.seen(actor, state) for i, state in found.items()}

    found, _ = database.read_readable(session, ids[:500], read)
    telling = [i for i, state in found.items() if state.result or state.reviewed]
    fresh = shown.unseen(actor.session_id, telling)
    if fresh:
        detail = {"studies": [study_id.hex for study_id in fresh]}
        audit.append(session, "results_read", actor=actor, now=now, detail=detail)
    session.commit()
    shown.add(actor.session_id, fresh)
    return found


def read_blob(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    kind: BlobKind | str,
    now: datetime,
    *,
    picture: UUID | None = None,
) -> BlobData:
    """A file of one of the study's pictures, with one audit row; see `open_study` for `picture`.

    Denied where the actor may not see the study, or it has no such picture or not yet this file:
    all look like not found. NotReadable if the file was damaged.
    """
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    if kind not in {served.value for served in served_files.SERVED}:
        raise Denied("blob")
    rows = exams.pictures(session, [study.id])[study.id]
    instance = _chosen(rows, study_id, picture)
    wanted = BlobKind(kind)
    if wanted in served_files.OF_AI and not ai_visibility.may_see_ai(session, actor, study.id):
        raise Denied("blob")
    stored = served_files.of(session, instance)
    if wanted not in served_files.available(stored):
        raise Denied("blob")
    audit.append(
        session,
        "picture_read",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=instance.id,
        detail={"kind": wanted.value},
    )
    session.commit()
    return served_files.read(vault, instance, stored, wanted)


def _chosen(rows: Sequence[Instance], asked: UUID, picture: UUID | None) -> Instance:
    if picture is None:
        return exams.leading(rows, asked)
    found = next((row for row in rows if row.id == picture), None)
    if found is None:
        raise Denied("picture")
    return found


def _pictures(
    session: Session,
    vault: Vault,
    named: Sequence[Patient],
    rows: Sequence[Instance],
    states: Iterable[PictureState],
    ai: Visibility,
) -> list[PictureView]:
    blobs: dict[UUID, set[BlobKind]] = {row.id: set() for row in rows}
    for instance_id, kind in session.execute(
        select(Blob.instance_id, Blob.kind).where(
            Blob.instance_id.in_(blobs), Blob.current, Blob.kind.in_(served_files.SERVED)
        )
    ):
        blobs[instance_id].add(kind)
    predictions = (
        exams.last_predictions(session, {row.study_id for row in rows}) if ai.is_visible else {}
    )
    withheld = frozenset() if ai.is_visible else served_files.OF_AI
    by_id = {state.instance_id: state for state in states}
    rules = met.of_pictures(session, blobs)
    return [
        PictureView(
            instance_id=row.id,
            view=row.view,
            created=row.created,
            media_type=row.media_type,
            rows=row.rows,
            columns=row.columns,
            state=by_id[row.id],
            prediction=_prediction(predictions.get(row.id), row),
            blobs=served_files.available(blobs[row.id]) - withheld,
            names_another=_names_another(vault, named, row),
            arrival=rules.get(row.id),
        )
        for row in rows
    ]


def _names_another(vault: Vault, named: Sequence[Patient], row: Instance) -> bool:
    """Whether a picture's header has neither the exam's patient nor the one before a correction."""
    data_key = sealed_fields.instance_key_of(vault, row)
    own = sealed_fields.open_picture_patient(vault, data_key, row)
    return all(one.is_another(own) for one in named)


def _prediction(row: Prediction | None, picture: Instance) -> PredictionView | None:
    return prediction_view(row, picture) if row is not None else None


def prediction_view(row: Prediction, picture: Instance) -> PredictionView:
    """A prediction of this picture, for the pages and the API."""
    image_threshold, likely_threshold = stored_results.image_thresholds(row)
    return PredictionView(
        prediction_id=row.id,
        model_id=row.model_id,
        model_name=row.model.name,
        model_version=row.model.version,
        model_sha256=row.model.sha256,
        retraction=row.model.retraction_reason if row.model.retracted_at else None,
        result=status.result_of(row, picture),
        threshold=row.threshold,
        image_threshold=image_threshold,
        likely_threshold=likely_threshold,
        operating_point=row.operating_point,
        map_rows=row.map_rows,
        map_columns=row.map_columns,
        measurements=stored_results.measurements(row, picture),
        uncertainty=row.uncertainty,
        region=row.region,
        other_findings=row.other_findings,
        quality=row.quality,
        statistics=row.statistics,
        seconds=row.seconds,
        created=row.created,
    )


def _reviews(
    session: Session,
    vault: Vault,
    study_id: UUID,
    pictures: Sequence[Instance],
    ai: Visibility,
) -> list[ReviewView]:
    """The reviews of an exam and of those that were joined into it, each under its own key; without
    what follows from the AI result where that may not be seen.
    """
    rows = session.execute(
        select(Review, Study, User.name, ScreenCheck)
        .join(User, User.id == Review.reader_id)
        .join(Study, Study.id == Review.study_id)
        .outerjoin(ScreenCheck, ScreenCheck.id == Review.screen_check_id)
        .where(exams.is_of([study_id]))
        .order_by(Review.created)
    ).all()
    drawn = annotations.of_reviews(session, vault, [row.Review.id for row in rows], pictures)
    return [
        ReviewView(
            review_id=review.id,
            reader=reader,
            reader_id=review.reader_id,
            finding=review.finding,
            size=review.size,
            verdict=findings.shown_verdict(review, ai),
            reasons=findings.shown_reasons(review, ai),
            comment=sealed_fields.open_comment(
                vault, sealed_fields.key_of(vault, reviewed), review
            ),
            created=review.created,
            screen=screen_checks.as_view(check) if check else None,
            annotations=drawn.get(review.id, {}),
        )
        for review, reviewed, reader, check in rows
    ]

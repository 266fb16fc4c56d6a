"""The state of an exam and its pictures: derived from jobs, predictions and reviews, never stored.
Owns the states and short results that lists and pages show. Nothing here is about a patient: ids,
codes and the model's numbers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import (
    Arrival,
    ArrivalRule,
    Band,
    Finding,
    Instance,
    Job,
    JobKind,
    JobState,
    Prediction,
    QualityVerdict,
    Verdict,
)
from portal.studies import exams, presence, stored_results, verdicts
from portal.studies.presence import Presence
from portal.studies.verdicts import Standing, Unread
from worker.contract.error_codes import ErrorCode

# The jobs that a picture's result comes from.
RESULT_JOBS: Final = (JobKind.RENDER, JobKind.SEGMENT)
# What a picture waits for; `model`: workers are there, and none has the active model; `off_peak`: a
# rule has put its analysis off.
Waiting = Literal["redis", "worker", "model", "off_peak"]


class State(StrEnum):
    """The states of a study in their order. `no_result` (refused by the quality gate) and `failed`
    mean: read unaided. `skipped`: a rule of the team keeps it without analysis. `ready`: its
    pictures are prepared, for who may not see what the AI found, and whether it has.
    """

    RECEIVED = "received"
    PREPARING = "preparing"
    READY = "ready"
    ANALYSING = "analysing"
    DONE = "done"
    NO_RESULT = "no_result"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The model's result in short. Empty numbers where the picture was refused."""

    band: Band | None
    probability: float | None
    side: str | None
    distance_mm: float | None
    quality: QualityVerdict
    reasons: list[dict[str, Any]]
    hemithorax_share: float | None = None  # of the side with the larger share
    under_18: bool = False
    retracted: bool = False  # its model's results were withdrawn: shown, marked, no longer counted


@dataclass(frozen=True, slots=True)
class PictureState:
    """The state of one picture of an exam."""

    instance_id: UUID
    state: State
    has_picture: bool
    waiting_for: Waiting | None
    error_code: str | None
    result: Result | None
    skipped_for: str = ""  # the reason of the rule that keeps it without analysis

    @property
    def is_settled(self) -> bool:
        """Whether no job of it is still open."""
        return self.state in _SETTLED


@dataclass(frozen=True, slots=True)
class StudyState:
    """The state of an exam, without anything about the patient.

    It is analysed until every picture is settled. Then it has a result if one picture has; it has
    failed if none has and one could not be done; else there is no result, or it was skipped where a
    rule keeps all of its pictures without analysis. `result` is that of the
    most suspicious picture, also while others are still waited for. `pictures` are in the order of
    their arrival. `reviewed` and `finding` are those of the verdict that stands (`standing`).
    `found_after_reading`: the model has found something in a picture that was read without it, so
    the case is to be read again; so it is with `new_pictures`, how many came after it was read.
    """

    study_id: UUID
    state: State
    has_picture: bool
    waiting_for: Waiting | None
    error_code: str | None
    result: Result | None
    reviewed: Verdict | None
    finding: Finding | None = None  # those of a version before have none
    pictures: tuple[PictureState, ...] = ()
    found_after_reading: bool = False
    standing: Standing = verdicts.NOT_READ
    new_pictures: int = 0
    skipped_for: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether no job of it is still open."""
        return self.state in _SETTLED

    @property
    def as_seen(self) -> str:
        """What a reader who has looked at the case names as seen: `done`, of several pictures with
        their number (`done/2`), and as long as some are analysed with how many are not (`…/2/1`):
        each result that comes in changes it.
        """
        several = f"/{len(self.pictures)}" if len(self.pictures) > 1 else ""
        settled = sum(picture.is_settled for picture in self.pictures)
        waits = "" if self.is_settled or not several else f"/{settled}"
        return f"{self.state.value}{several}{waits}"

    @property
    def under_18(self) -> bool:
        """Whether a result of any of its pictures is one of a patient under 18."""
        return any(picture.result and picture.result.under_18 for picture in self.pictures)

    @property
    def unaided(self) -> int:
        """How many pictures have failed, beside others that have a result."""
        failed = sum(picture.state is State.FAILED for picture in self.pictures)
        return failed if failed < len(self.pictures) else 0


_SETTLED: Final = (State.READY, State.DONE, State.NO_RESULT, State.SKIPPED, State.FAILED)
# The state of an exam whose pictures are all settled is the first of these that one of them has.
_ENDS: Final = (State.DONE, State.FAILED, State.NO_RESULT, State.SKIPPED)
# From the most suspicious to the least.
_BANDS: Final = (Band.LIKELY, Band.POSSIBLE, Band.NONE_FOUND, None)


def of_studies(
    session: Session, ids: Collection[UUID], hidden: Collection[UUID] = ()
) -> dict[UUID, StudyState]:
    """The states of these studies; the caller has checked that they may be seen. `hidden`: those of
    which the AI's part may not be (`teams.ai_visibility`).
    """
    if not ids:
        return {}
    jobs: dict[UUID, dict[JobKind, Job]] = {}
    for job in session.scalars(select(Job).where(Job.study_id.in_(ids), Job.kind.in_(RESULT_JOBS))):
        if job.instance_id is not None:
            jobs.setdefault(job.instance_id, {})[job.kind] = job
    predictions = exams.last_predictions(session, ids)
    stated = verdicts.standings(session, ids)
    there = presence.present(session)
    present = Presence(there.queues - presence.stalled_readable(session), there.lacks_model)
    pictures = exams.pictures(session, ids)
    skipped = [i for i, of_it in jobs.items() if _is_skipped(of_it, predictions.get(i))]
    reasons = _skipped_for(session, skipped)
    read = [row.id for study_id in stated for row in pictures[study_id]]
    unread = verdicts.NOTHING
    if read:
        unread = verdicts.unread(session, {picture: predictions.get(picture) for picture in read})
    found = {
        study_id: _combined(
            study_id,
            tuple(
                _derive(
                    *(row, jobs.get(row.id, {}), predictions.get(row.id), present),
                    reasons.get(row.id, ""),
                )
                for row in rows
            ),
            stated.get(study_id, verdicts.NOT_READ),
            unread,
        )
        for study_id, rows in pictures.items()
    }
    return {i: without_ai(state) if i in hidden else state for i, state in found.items()}


def unreadable(study_id: UUID) -> StudyState:
    """What is shown of a study whose row, or one of its picture's, can't be read."""
    return StudyState(
        study_id, State.FAILED, False, None, ErrorCode.RECORD_DAMAGED, result=None, reviewed=None
    )


def without_ai(state: StudyState) -> StudyState:
    """The same for who may not see what the AI found: nothing in it depends on that, nor on whether
    the analysis has begun, ended, failed or refused the picture.
    """
    pictures = tuple(_unanalysed(picture) for picture in state.pictures)
    found = {picture.state for picture in pictures}
    if len(found) == 1:
        (kept,) = found
    else:
        waits = found & {State.RECEIVED, State.PREPARING}
        kept = State.PREPARING if waits or not found else State.READY
    waiting = (picture.waiting_for for picture in pictures if picture.waiting_for)
    failed = (picture.error_code for picture in pictures if picture.state is State.FAILED)
    return replace(
        state,
        state=kept,
        waiting_for=next(waiting, None),
        error_code=next(failed, state.error_code) if kept is State.FAILED else None,
        result=None,
        skipped_for="",
        reviewed=unaided_verdict(state.reviewed),
        pictures=pictures,
        found_after_reading=False,
        standing=replace(state.standing, verdict=unaided_verdict(state.standing.verdict)),
    )


def unaided_verdict(verdict: Verdict | None) -> Verdict | None:
    """A verdict as it would be without an AI result."""
    return verdict if verdict in (None, Verdict.UNSURE) else Verdict.UNAIDED


def _unanalysed(picture: PictureState) -> PictureState:
    if picture.has_picture:
        return replace(
            picture,
            state=State.READY,
            waiting_for=None,
            error_code=None,
            result=None,
            skipped_for="",
        )
    begun = picture.state in (State.RECEIVED, State.FAILED)
    return replace(picture, state=picture.state if begun else State.PREPARING, result=None)


def suspicion(found: Result | Prediction) -> tuple[int, float]:
    """A key by which results sort, the most suspicious first."""
    return _BANDS.index(found.band), -(found.probability or 0.0)


def result_of(prediction: Prediction, picture: Instance) -> Result:
    """The short form of a prediction of this picture."""
    reasons = prediction.quality.get("reasons", [])
    measured = stored_results.measurements(prediction, picture) or {}
    share = stored_results.hemithorax_share(measured)
    return Result(
        band=prediction.band,
        probability=prediction.probability,
        side=prediction.side,
        distance_mm=measured.get("distance_mm"),
        hemithorax_share=share[1] if share else None,
        under_18=stored_results.is_of_under_18(prediction),
        retracted=prediction.model.retracted_at is not None,
        quality=prediction.quality_verdict,
        reasons=reasons if isinstance(reasons, list) else [],
    )


def _is_skipped(jobs: Mapping[JobKind, Job], prediction: Prediction | None) -> bool:
    """Whether nothing follows on the preparation: a segment job is added with its end, unless a
    rule keeps the picture without.
    """
    render = jobs.get(JobKind.RENDER)
    is_prepared = render is not None and render.state is JobState.DONE
    return is_prepared and JobKind.SEGMENT not in jobs and prediction is None


def _skipped_for(session: Session, pictures: Collection[UUID]) -> dict[UUID, str]:
    """The reasons of the rules that keep these pictures without analysis."""
    if not pictures:
        return {}
    rows = session.execute(
        select(Arrival.instance_id, ArrivalRule.reason)
        .join(ArrivalRule, ArrivalRule.id == Arrival.rule_id)
        .where(Arrival.instance_id.in_(pictures))
    )
    return dict(rows.all())  # a Result has keys(), which dict() would call


def _derive(
    picture: Instance,
    jobs: dict[JobKind, Job],
    prediction: Prediction | None,
    present: Presence,
    skipped_for: str,
) -> PictureState:
    render, segment = jobs.get(JobKind.RENDER), jobs.get(JobKind.SEGMENT)
    failed = next((j for j in (render, segment) if j and j.state is JobState.FAILED), None)
    waiting = next((j for j in (render, segment) if j and j.state is JobState.QUEUED), None)
    if failed is not None:
        state = State.FAILED
    elif prediction is not None:
        state = State.DONE if prediction.band is not None else State.NO_RESULT
    elif _is_skipped(jobs, prediction):
        state = State.SKIPPED
    elif segment is not None or render is None:
        state = State.ANALYSING
    else:
        state = State.PREPARING if render.state is JobState.RUNNING else State.RECEIVED
    return PictureState(
        instance_id=picture.id,
        state=state,
        has_picture=render is not None and render.state is JobState.DONE,
        waiting_for=_waiting_for(waiting, present) if failed is None else None,
        error_code=failed.error_code if failed else None,
        result=result_of(prediction, picture) if prediction is not None else None,
        skipped_for=skipped_for if state is State.SKIPPED else "",
    )


def _combined(
    study_id: UUID,
    pictures: tuple[PictureState, ...],
    standing: Standing,
    unread: Unread,
) -> StudyState:
    found = {picture.state for picture in pictures}
    if not pictures or State.ANALYSING in found:
        state = State.ANALYSING
    elif found & {State.RECEIVED, State.PREPARING}:
        begun = State.PREPARING if State.PREPARING in found else State.RECEIVED
        state = State.ANALYSING if found & set(_SETTLED) else begun
    else:
        state = next(one for one in _ENDS if one in found)
    open_ones = (picture for picture in pictures if not picture.is_settled)
    failed = (picture for picture in pictures if picture.state is State.FAILED)
    results = [picture.result for picture in pictures if picture.result is not None]
    return StudyState(
        study_id=study_id,
        state=state,
        has_picture=any(picture.has_picture for picture in pictures),
        waiting_for=next((p.waiting_for for p in open_ones if p.waiting_for), None),
        error_code=next((p.error_code for p in failed), None) if state is State.FAILED else None,
        result=min(results, key=suspicion, default=None),
        reviewed=standing.verdict,
        finding=standing.finding,
        pictures=pictures,
        found_after_reading=any(one.instance_id in unread.found_later for one in pictures),
        standing=standing,
        new_pictures=sum(one.instance_id in unread.new for one in pictures),
        skipped_for=next((one.skipped_for for one in pictures if one.skipped_for), "")
        if state is State.SKIPPED
        else "",
    )


def _waiting_for(job: Job | None, present: Presence) -> Waiting | None:
    if job is None:
        return None
    if job.not_before is not None and job.rung_at is None:  # announced once its time has come
        return "off_peak"
    if job.kind is JobKind.SEGMENT and present.lacks_model:
        return "model"
    if job.rung_at is None:
        return "redis"
    return None if job.kind in present.queues else "worker"

"""Storing an instance that came by DICOM or DICOMweb: the status that its sender gets, afterwards.

0x0000 is the answer to what is committed: file, rows, audit row and job, as for an upload. Both
ways in store by this alone, so the same instance has the same end on either.
"""

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor
from portal.dicom_network import classes, filed_objects, refusals
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.governance import quarantine
from portal.intake import check, submission
from portal.intake.check import Limits, ObjectHeader
from portal.intake.stated import Stated
from portal.intake.submission import Submitted
from portal.jobs import sweeper
from portal.models import DicomNode, Instance, JobKind
from portal.quotas import QuotaReached
from portal.services import DATABASE_ERROR, UNAVAILABLE, Services
from portal.studies import header_columns
from portal.teams import settings as team_settings
from portal.vault import StorageFull, VaultError

_log = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
NO_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
NOT_UNDERSTOOD: Final = 0xC000
NO_EXAM: Final = 0xC001
PROCESSING_FAILURE: Final = 0x0110
BAD_INSTANCE: Final = 0x0117
NOT_AUTHORISED: Final = 0x0124
NO_SUCH_CLASS: Final = 0x0122
_LONGEST_COMMENT: Final = 64
# What a rule keeps out or has kept already, and what nobody here has asked for.
_NOT_KEPT: Final = ("by_rule", "quarantined", "other_patient")
# After how many seconds it is worth a try again.
_AWAY_SECONDS: Final = 30
_FULL_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: a node, or, without one, a program with a token. `is_counted`: what it sends is
    in its quota already.
    """

    actor: Actor
    node: DicomNode | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """That we have asked for an instance. `patient_key`: a keyed digest of the patient ID that its
    header must have; empty for any.
    """

    patient_key: str


@dataclass(frozen=True, slots=True)
class Given:
    """An instance as a file, what is stated of it, and its size as it came. `refused`: why it is
    not even looked at. `asked`: it was asked for, so it is one of the archive and never an alarm.
    """

    sop_class: str
    sop_instance: str = field(repr=False)
    data: bytes = field(repr=False)
    size: int
    refused: "Answer | None" = None
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A C-STORE status (PS3.4 B.2.3) and a comment of at most 64 characters without patient data.

    `code`: the reason of a refusal; empty for what was stored. `seconds`: after which the same may
    be sent again, where it can be stored later. `series_uid`: of a picture that can be fetched.
    """

    status: int
    comment: str = ""
    code: str = ""
    seconds: int = 0
    series_uid: str = field(default="", repr=False)


STORED: Final = Answer(SUCCESS)


def store(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    work: check.Work | None = None,
) -> Answer:
    """Store an instance, or refuse it and keep the reason. No error comes out of here.

    `work`: of the request that it came with; what reading it takes is added.
    """
    now = services.clock()
    work = check.Work() if work is None else work
    try:
        answer, submitted = _stored(services, session, sender, given, now, work)
        if answer.code and answer.status != NO_RESOURCES:
            _note(services, session, sender, given, answer, now)
            _keep(services, session, sender, given, answer, now, work)
        if submitted is not None and submitted.job_id is not None:
            _ring(services, session, submitted, submitted.job_id)
        return answer
    except (*UNAVAILABLE, VaultError) as error:
        _log.warning("a data set could not be stored: %s", type(error).__name__)
        _let_go(session)
        return not_now()
    except Exception as error:  # its text may quote the data set
        _log.error("a data set could not be stored: %s", type(error).__name__)
        _let_go(session)
        return refused(PROCESSING_FAILURE, "failed")


def refused(status: int, code: str, seconds: int = 0) -> Answer:
    """A refusal whose comment is its code in words."""
    comment = f"Refused: {code.replace('_', ' ')}"[:_LONGEST_COMMENT]
    return Answer(status, comment, code, seconds)


def not_now() -> Answer:
    """The refusal of what can be stored when it is sent again after a while."""
    return refused(NO_RESOURCES, "not_now", _AWAY_SECONDS)


def over_quota(services: Services, actor: Actor, size: int) -> Answer | None:
    """Count an instance of so many bytes; the refusal where the quota is reached."""
    try:
        services.quotas.upload(size, str(actor.user_id), actor.address, services.clock())
    except QuotaReached as reached:
        seconds = max(1, round(reached.seconds))
        comment = f"Quota of an hour reached: again in {-(-seconds // 60)} min"
        return Answer(NO_RESOURCES, comment, "quota", seconds)
    return None


def too_large(services: Services) -> Answer:
    """The refusal of what is larger than an upload may be."""
    return Answer(NO_RESOURCES, f"Larger than {services.settings.max_upload_mb} MB", "too_large")


def limits(services: Services) -> Limits:
    """What a file may be at most."""
    settings = services.settings
    return Limits(settings.max_upload_bytes, max_header_bytes=settings.max_header_bytes)


def _stored(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    now: datetime,
    work: check.Work,
) -> tuple[Answer, Submitted | None]:
    """The answer, and what became of a picture, whose job is to be announced."""
    unread = given.refused
    if unread is not None and unread.code == "not_now":  # for no reason of the sender's
        return unread, None
    if unread is None and _is_nearly_full(services, given.size):
        return refused(NO_RESOURCES, "disk_nearly_full", _FULL_SECONDS), None
    # Before anything is noted or put into quarantine: what is refused counts like what is stored.
    if not sender.is_counted:
        over = over_quota(services, sender.actor, given.size)
        if over is not None:
            return over, None
    if unread is not None:
        return unread, None
    try:
        if given.sop_class in classes.OBJECTS:
            header = check.object_header(given.data, limits(services), work)
            return _filed(services, session, sender, given, header, now), None
        return _submitted(services, session, sender, given, now, work)
    except Refused as why:
        return refused(NOT_UNDERSTOOD, why.code), None
    except DataError:  # a text or number that no column can hold
        session.rollback()
        return refused(NOT_UNDERSTOOD, "unfit"), None
    except Conflict as conflict:
        if conflict.code == "already_sent":  # another sender of the team was first: it is stored
            return STORED, None
        return refused(PROCESSING_FAILURE, conflict.code), None
    except StorageFull:
        return refused(NO_RESOURCES, "disk_full", _FULL_SECONDS), None


def _submitted(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    now: datetime,
    work: check.Work,
) -> tuple[Answer, Submitted | None]:
    upload = check.check("", given.data, limits(services), work)
    found = ObjectHeader(
        sop_class=upload.header["sop_class"],
        sop_uid=upload.keys.get("sop_uid", ""),
        study_uid=upload.keys.get("study_uid", ""),
        made_here=upload.header["made_here"],
    )
    if not _is_what_was_stated(given, found):
        return refused(MISMATCH, "other_than_stated"), None
    if given.asked is not None and not _is_of_patient(services, given.asked, upload):
        return refused(MISMATCH, "other_patient"), None
    if found.made_here:
        return _filed(services, session, sender, given, found, now), None
    database.begin_reading(session)
    hours = team_settings.settings_of(session, sender.actor.team_id).old_exam_hours
    session.commit()
    old_after = timedelta(hours=hours or services.settings.old_exam_hours)
    ae_title = sender.node.ae_title if sender.node is not None else ""
    submitted = submission.submit_checked(
        session,
        services.vault,
        sender.actor,
        upload,
        given.data,
        now,
        work=work,
        stated=Stated(is_import=given.asked is not None, old_after=old_after, ae_title=ae_title),
        announced=services.broker.has_address,
    )
    # One that came under another's UID can't be fetched by it.
    is_fetched = not submitted.same_uid
    if submitted.duplicate:
        known = session.get(Instance, submitted.instance_id)
        is_fetched = known is not None and known.same_uid_as is None
        session.commit()
    series_uid = upload.keys.get("series_uid", "") if is_fetched else ""
    return Answer(SUCCESS, series_uid=series_uid), submitted


def _filed(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    header: ObjectHeader,
    now: datetime,
) -> Answer:
    if not _is_what_was_stated(given, header):
        return refused(MISMATCH, "other_than_stated")
    try:
        filed_objects.file(
            session, services.vault, sender.actor, sender.node, header, given.data, now
        )
    except filed_objects.NoExam:
        return refused(NO_EXAM, "exam_not_here")
    return STORED


def _is_what_was_stated(given: Given, header: ObjectHeader) -> bool:
    stated = (given.sop_class, given.sop_instance)
    return (header.sop_class or given.sop_class, header.sop_uid) == stated


def _is_of_patient(services: Services, asked: Asked, upload: check.Upload) -> bool:
    patient_id = upload.keys.get("patient_id", "")
    key = header_columns.patient_key(services.vault, "", patient_id)
    return asked.patient_key in ("", key)


def _is_nearly_full(services: Services, size: int) -> bool:
    """Whether the disk would fall below what is to stay free on it."""
    settings = services.settings
    if not settings.dicom_free_mb or settings.bucket is not None:
        return False
    try:
        free = shutil.disk_usage(settings.data_dir).free
    except OSError:
        return False  # the store itself finds out
    return free - size < settings.dicom_free_mb * 1024 * 1024


def _note(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    answer: Answer,
    now: datetime,
) -> None:
    """Keep the refusal. Without that the answer is the same."""
    try:
        refusals.note(
            session,
            services.vault,
            sender.actor,
            sender.node,
            sop_uid=given.sop_instance,
            code=answer.code,
            status=answer.status,
            size=given.size,
            now=now,
        )
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        _log.warning("a refusal could not be noted: %s", type(error).__name__)
        _let_go(session)


def _keep(
    services: Services,
    session: Session,
    sender: Sender,
    given: Given,
    answer: Answer,
    now: datetime,
    work: check.Work,
) -> None:
    """Put a refused picture into quarantine. Without that the answer is the same.

    Not what a rule keeps out, or has put there, nor another patient's; and none of Pleura's own.
    """
    by_check = answer.status in (NOT_UNDERSTOOD, MISMATCH) and answer.code not in _NOT_KEPT
    if not by_check or not given.data or given.sop_class not in classes.PICTURES:
        return
    study_uid = ""
    try:
        header = check.object_header(given.data, limits(services), work)
        if header.made_here:
            return
        study_uid = header.study_uid
    except Refused:
        pass  # then a purge of its exam does not find it: it goes after its thirty days
    reason = quarantine.Reason(answer.code, study_uid=study_uid)
    ae_title = sender.node.ae_title if sender.node is not None else ""
    try:
        quarantine.keep(
            *(session, services.vault, sender.actor, given.data, reason, now),
            stated=Stated(ae_title=ae_title).as_json(),
        )
    except (*UNAVAILABLE, DATABASE_ERROR, VaultError) as error:
        _log.warning("a refused picture could not be kept: %s", type(error).__name__)
        _let_go(session)


def _ring(services: Services, session: Session, submitted: Submitted, job_id: UUID) -> None:
    """Announce the job. It is committed: where this fails, the sweep announces it."""
    try:
        if submitted.duplicate:
            sweeper.notify(session, services.broker, job_id)
        else:
            sweeper.announce(session, services.broker, JobKind.RENDER, job_id)
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        _log.warning("a job could not be announced: %s", type(error).__name__)
        _let_go(session)


def _let_go(session: Session) -> None:
    """Roll back what failed, or the next instance would fail by it again."""
    try:
        session.rollback()
    except Exception:  # its connection is gone
        with suppress(Exception):
            session.invalidate()

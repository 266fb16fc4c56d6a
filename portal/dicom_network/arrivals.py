"""What becomes of a data set that was sent: the status that its sender gets, after it is stored.

0x0000 is the answer to what is committed: file, rows, audit row and job, as for an upload.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.dicom_network import classes, filed_objects, nodes, refusals
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.intake import check, submission
from portal.intake.check import Limits, ObjectHeader
from portal.intake.stated import Stated
from portal.jobs import sweeper
from portal.models import DicomNode
from portal.quotas import QuotaReached
from portal.services import DATABASE_ERROR, UNAVAILABLE, Services
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

Sessions = Callable[[], Session]


@dataclass(frozen=True, slots=True)
class Sent:
    """A data set as it came, and what was stated of it: by its command, and by its context."""

    sop_class: str
    sop_instance: str = field(repr=False)
    context_class: str
    transfer_syntax: str
    data_set: bytes = field(repr=False)
    is_too_large: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A C-STORE status (PS3.4 B.2.3) and a comment of at most 64 characters without patient data.

    `code`: the reason of a refusal; empty for what was stored.
    """

    status: int
    comment: str = ""
    code: str = ""


STORED: Final = Answer(SUCCESS)


def take(
    services: Services,
    sessions: Sessions,
    node_id: UUID,
    address: str,
    sent: Sent,
) -> Answer:
    """Store a data set, or refuse it. No error comes out of here."""
    now = services.clock()
    with sessions() as session:
        try:
            node = session.get(DicomNode, node_id, populate_existing=True)
            session.commit()
            if node is None or node.disabled_at is not None or not node.sends:
                return _refused(NOT_AUTHORISED, "not_authorised")
            actor = nodes.actor_of(node, address)
            answer, job_id = _taken(services, session, actor, node, sent, now)
            if answer.code and answer.status != NO_RESOURCES:
                _note(services, session, actor, node, sent, answer, now)
            if job_id is not None:
                _ring(services, session, job_id)
            return answer
        except (*UNAVAILABLE, VaultError) as error:
            _log.warning("a data set could not be stored: %s", type(error).__name__)
            return _refused(NO_RESOURCES, "not_now")
        except Exception as error:  # its text may quote the data set
            _log.error("a data set could not be stored: %s", type(error).__name__)
            return _refused(PROCESSING_FAILURE, "failed")


def _taken(
    services: Services,
    session: Session,
    actor: Actor,
    node: DicomNode,
    sent: Sent,
    now: datetime,
) -> tuple[Answer, UUID | None]:
    """The answer, and the job that is to be announced."""
    settings = services.settings
    if sent.is_too_large:
        comment = f"Larger than {settings.max_upload_mb} MB"
        return Answer(NO_RESOURCES, comment, "too_large"), None
    if sent.sop_class != sent.context_class:
        return _refused(NO_SUCH_CLASS, "class_not_of_context"), None
    if not classes.is_uid(sent.sop_instance):
        return _refused(BAD_INSTANCE, "bad_instance_uid"), None
    if _is_nearly_full(services, len(sent.data_set)):
        return _refused(NO_RESOURCES, "disk_nearly_full"), None
    try:
        services.quotas.upload(len(sent.data_set), str(node.user_id), actor.address, now)
        data = classes.as_file(
            sent.sop_class, sent.sop_instance, sent.transfer_syntax, sent.data_set
        )
        if sent.sop_class in classes.OBJECTS:
            header = check.object_header(data, _limits(services))
            return _filed(services, session, actor, node, sent, header, data, now), None
        return _submitted(services, session, actor, node, sent, data, now)
    except QuotaReached:
        return _refused(NO_RESOURCES, "quota"), None
    except Refused as refused:
        return _refused(NOT_UNDERSTOOD, refused.code), None
    except DataError:  # a text or number that no column can hold
        session.rollback()
        return _refused(NOT_UNDERSTOOD, "unfit"), None
    except Conflict as conflict:
        if conflict.code == "already_sent":  # another sender of the team was first: it is stored
            return STORED, None
        return _refused(PROCESSING_FAILURE, conflict.code), None
    except StorageFull:
        return _refused(NO_RESOURCES, "disk_full"), None


def _submitted(
    services: Services,
    session: Session,
    actor: Actor,
    node: DicomNode,
    sent: Sent,
    data: bytes,
    now: datetime,
) -> tuple[Answer, UUID | None]:
    work = check.Work()
    upload = check.check("", data, _limits(services), work)
    stated = ObjectHeader(
        sop_class=upload.header["sop_class"],
        sop_uid=upload.keys.get("sop_uid", ""),
        study_uid=upload.keys.get("study_uid", ""),
        made_here=upload.header["made_here"],
    )
    if not _is_what_was_stated(sent, stated):
        return _refused(MISMATCH, "other_than_stated"), None
    if stated.made_here:
        return _filed(services, session, actor, node, sent, stated, data, now), None
    hours = team_settings.settings_of(session, node.team_id).old_exam_hours
    session.commit()
    old_after = timedelta(hours=hours or services.settings.old_exam_hours)
    submitted = submission.submit_checked(
        session,
        services.vault,
        actor,
        upload,
        data,
        now,
        work=work,
        stated=Stated(old_after=old_after, ae_title=node.ae_title),
    )
    return STORED, submitted.job_id


def _filed(
    services: Services,
    session: Session,
    actor: Actor,
    node: DicomNode,
    sent: Sent,
    header: ObjectHeader,
    data: bytes,
    now: datetime,
) -> Answer:
    if not _is_what_was_stated(sent, header):
        return _refused(MISMATCH, "other_than_stated")
    try:
        filed_objects.file(session, services.vault, actor, node, header, data, now)
    except filed_objects.NoExam:
        return _refused(NO_EXAM, "exam_not_here")
    return STORED


def _is_what_was_stated(sent: Sent, header: ObjectHeader) -> bool:
    stated = (sent.sop_class, sent.sop_instance)
    return (header.sop_class or sent.sop_class, header.sop_uid) == stated


def _limits(services: Services) -> Limits:
    settings = services.settings
    return Limits(settings.max_upload_bytes, max_header_bytes=settings.max_header_bytes)


def _is_nearly_full(services: Services, size: int) -> bool:
    """Whether the disk would fall below what is to stay free on it."""
    settings = services.settings
    if settings.dicom is None or not settings.dicom.free_mb or settings.bucket is not None:
        return False
    try:
        free = shutil.disk_usage(settings.data_dir).free
    except OSError:
        return False  # the store itself finds out
    return free - size < settings.dicom.free_mb * 1024 * 1024


def _refused(status: int, code: str) -> Answer:
    """A refusal whose comment is its code in words."""
    comment = f"Refused: {code.replace('_', ' ')}"[:_LONGEST_COMMENT]
    return Answer(status, comment, code)


def _note(
    services: Services,
    session: Session,
    actor: Actor,
    node: DicomNode,
    sent: Sent,
    answer: Answer,
    now: datetime,
) -> None:
    """Keep the refusal. Without that the answer is the same."""
    try:
        refusals.note(
            session,
            services.vault,
            actor,
            node,
            sop_uid=sent.sop_instance,
            code=answer.code,
            status=answer.status,
            size=len(sent.data_set),
            now=now,
        )
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        _log.warning("a refusal could not be noted: %s", type(error).__name__)
        session.rollback()


def _ring(services: Services, session: Session, job_id: UUID) -> None:
    """Announce the job. It is committed: where this fails, the sweep announces it."""
    try:
        sweeper.notify(session, services.broker, job_id)
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        _log.warning("a job could not be announced: %s", type(error).__name__)

"""What becomes of a data set that a node sends by C-STORE: the status that it gets afterwards."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from portal import database
from portal.dicom_network import classes, nodes, storing
from portal.dicom_network.retrieving import asking
from portal.dicom_network.storing import NO_RESOURCES, Answer, Asked, Given, Sender, refused
from portal.models import DicomAskedObject, DicomNode
from portal.services import UNAVAILABLE, Services
from portal.vault import VaultError

_log = logging.getLogger(__name__)

SUCCESS: Final = storing.SUCCESS
PROCESSING_FAILURE: Final = storing.PROCESSING_FAILURE
NOT_AUTHORISED: Final = storing.NOT_AUTHORISED

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
    is_without_room: bool = False


def take(
    services: Services,
    sessions: Sessions,
    node_id: UUID,
    address: str,
    sent: Sent,
    *,
    is_answer: bool = False,
) -> Answer:
    """Store a data set, or refuse it. No error comes out of here. `is_answer`: it comes on an
    association of ours, on which nothing else is taken than what was asked for.
    """
    with sessions() as session:
        try:
            database.begin_reading(session)
            node = session.get(DicomNode, node_id, populate_existing=True)
            session.commit()
            if node is None or node.disabled_at is not None:
                return refused(NOT_AUTHORISED, "not_authorised")
            asked = _asked(services, session, node, sent)
            if asked is None and (is_answer or not node.sends):
                return refused(NOT_AUTHORISED, "not_authorised")
            sender = Sender(nodes.actor_of(node, address), node)
            answer = storing.store(services, session, sender, _given(services, sent, asked))
            if asked is not None:
                asking.note(session, asked, answer)
            return answer
        except (*UNAVAILABLE, VaultError) as error:
            _log.warning("a data set could not be stored: %s", type(error).__name__)
            return refused(NO_RESOURCES, "not_now")
        except Exception as error:  # its text may quote the data set
            _log.error("a data set could not be stored: %s", type(error).__name__)
            return refused(PROCESSING_FAILURE, "failed")


def as_status(answer: Answer) -> int | Dataset:
    """The answer as pynetdicom sends it: a status, with a comment where it is a refusal."""
    if not answer.comment:
        return answer.status
    status = Dataset()
    status.Status, status.ErrorComment = answer.status, answer.comment
    return status


def _asked(
    services: Services, session: Session, node: DicomNode, sent: Sent
) -> DicomAskedObject | None:
    """What was asked for of the node just now, where this is it."""
    if sent.sop_class not in classes.PICTURES:
        return None
    database.begin_reading(session)
    return asking.open_one(session, services.vault, node.id, sent.sop_instance)


def _given(services: Services, sent: Sent, asked: DicomAskedObject | None) -> Given:
    """The data set as a file, or why it is none."""
    why = None
    if sent.is_too_large:
        why = storing.too_large(services)
    elif sent.is_without_room:  # of the data sets that come just now
        why = refused(NO_RESOURCES, "not_now")
    elif sent.sop_class != sent.context_class:
        why = refused(storing.NO_SUCH_CLASS, "class_not_of_context")
    elif not classes.is_uid(sent.sop_instance):
        why = refused(storing.BAD_INSTANCE, "bad_instance_uid")
    data = b""
    if why is None:
        data = classes.as_file(
            sent.sop_class, sent.sop_instance, sent.transfer_syntax, sent.data_set
        )
    by_us = None if asked is None else Asked(asked.patient_key)
    # One that was dropped while it came had at least the size that is allowed.
    size = services.settings.max_upload_bytes if sent.is_too_large else len(sent.data_set)
    return Given(sent.sop_class, sent.sop_instance, data, size, why, by_us)

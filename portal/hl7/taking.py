"""What becomes of a message: it is applied within one transaction, and AA is the answer to what is
committed. No error comes out of here, and no answer has anything of a patient.
"""

import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.hl7 import admission, answers, messages, nodes, orders, patients, reports
from portal.hl7.admission import Caller, Refusals
from portal.hl7.context import Context, Taken
from portal.hl7.messages import Header, Message, NotTaken
from portal.models import Hl7Message, Hl7Node
from portal.quotas import QuotaReached
from portal.services import DATABASE_ERROR, UNAVAILABLE, Services
from portal.settings.network.hl7 import Hl7
from portal.vault import NotReadable, VaultError

_log = logging.getLogger(__name__)

Sessions = Callable[[], Session]
APPLIED: Final[dict[tuple[str, str], Callable[[Context, Message], Taken]]] = {
    ("ADT", "A08"): patients.correct,
    ("ADT", "A31"): patients.correct,
    ("ADT", "A40"): patients.merge,
    ("ORM", "O01"): orders.take,
    ("OMI", "O23"): orders.take,
    ("ORU", "R01"): reports.take,
}
_KINDS: Final = frozenset(kind for kind, _ in APPLIED)
# A try fails when another connection has just taken the same message, or one of the same order.
_TRIES: Final = 4


def take(
    services: Services,
    sessions: Sessions,
    settings: Hl7,
    refusals: Refusals,
    caller: Caller,
    raw: bytes,
) -> bytes:
    """Apply a message, or not; the answer to it, without its frame."""
    header: Header | None = None
    node: Hl7Node | None = None
    why: NotTaken | None = None
    now = services.clock()
    with sessions() as session:
        try:
            header = messages.header_of(raw)
            node = admission.node_of(session, caller, header)
            services.quotas.message(str(node.id), now)
            _check(header)
            message = messages.read(header, raw, node.charset)
            context = Context(
                session, services.vault, node, nodes.actor_of(node, caller.address), now
            )
            _apply(context, message, raw)
        except NotTaken as refused:
            why = refused
        except Exception as error:  # its text may quote the message
            why = _why(error)
        if why is not None:
            _note(session, refusals, caller, why, services, node)
    return answers.answer(settings, header, now, why)


def _why(error: Exception) -> NotTaken:
    """What is answered where applying a message has failed. Damage is a final answer: who sends the
    message again and again would hold up all behind it.
    """
    if isinstance(error, QuotaReached):
        return NotTaken("AE", "too_many_messages")
    if isinstance(error, NotReadable) or (
        isinstance(error, DBAPIError) and database.is_damage(error)
    ):
        _log.error("a message could not be applied: damaged (%s)", type(error).__name__)
        return NotTaken("AR", "damaged")
    if isinstance(error, DataError):  # a text that no column can hold
        return NotTaken("AE", "unfit", 102)
    if isinstance(error, (*UNAVAILABLE, VaultError)):
        _log.warning("a message could not be applied: %s", type(error).__name__)
        return NotTaken("AE", "not_now")
    _log.error("a message could not be applied: %s", type(error).__name__)
    return NotTaken("AE", "failed")


def refuse_large(settings: Hl7, services: Services, head: bytes) -> bytes:
    """The answer to a message beyond the limit, of which the beginning was read."""
    try:
        header = messages.header_of(head)
    except NotTaken:
        header = None
    return answers.answer(settings, header, services.clock(), NotTaken("AR", "too_large"))


def _check(header: Header) -> None:
    if header.version not in messages.VERSIONS:
        raise NotTaken("AR", "version", 203, "MSH-12")
    if header.processing != "P":
        raise NotTaken("AR", "processing_id", 202, "MSH-11")
    if (header.kind, header.event) not in APPLIED:
        number = 201 if header.kind in _KINDS else 200
        raise NotTaken("AR", "event" if number == 201 else "type", number, "MSH-9")


def _apply(context: Context, message: Message, raw: bytes) -> None:
    for attempt in range(_TRIES):
        try:
            _apply_once(context, message, raw)
            return
        except IntegrityError:
            context.session.rollback()
            if attempt == _TRIES - 1:
                raise
        except BaseException:
            context.session.rollback()
            raise


def _apply_once(context: Context, message: Message, raw: bytes) -> None:
    session, header = context.session, message.header
    control_key = context.vault.lookup("hl7_control", header.control_id)
    # Without its header, whose time a sender may renew when it sends a message again.
    content = f"{header.kind}^{header.event}\r".encode() + raw.partition(b"\r")[2]
    content_key = context.vault.lookup("hl7_content", content)
    known = session.get(Hl7Message, (context.node.id, control_key), populate_existing=True)
    if known is not None:
        same = known.content_key == content_key
        session.rollback()
        if not same:
            raise NotTaken("AE", "control_id_used", 205, "MSH-10")
        return
    session.add(
        Hl7Message(
            node_id=context.node.id,
            control_key=control_key,
            content_key=content_key,
            created=context.now,
        )
    )
    session.flush()
    taken = APPLIED[header.kind, header.event](context, message)
    if taken.is_stored:
        audit.append(
            session,
            "hl7_message_taken",
            actor=context.actor,
            now=context.now,
            study_id=taken.studies[0] if len(taken.studies) == 1 else None,
            subject_id=context.node.id,
            detail={
                "type": f"{header.kind}^{header.event}",
                "studies": [one.hex for one in taken.studies],
            },
        )
    database.commit(session)


def _note(
    session: Session,
    refusals: Refusals,
    caller: Caller,
    why: NotTaken,
    services: Services,
    node: Hl7Node | None,
) -> None:
    """Write the refusal. Without that the answer is the same."""
    try:
        session.rollback()
        refusals.note(
            session, caller.address, why.code, services.clock(), node.id if node else None
        )
    except (*UNAVAILABLE, DATABASE_ERROR) as error:
        _log.warning("a refusal could not be noted: %s", type(error).__name__)
        session.rollback()

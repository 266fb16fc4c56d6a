"""What becomes of the instances of one request of STOW-RS: each is stored as by C-STORE.

Each is a transaction of its own. Where the disk, the quota or the database keeps one out, or the
request has taken as much processor time as it may, those behind it are not even read: their sender
gets the same answer for them, and sends them again.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.dicom_network import classes, storing
from portal.dicom_network.storing import (
    NO_RESOURCES,
    NOT_UNDERSTOOD,
    Answer,
    Given,
    Sender,
    refused,
)
from portal.formats import zip_archive
from portal.formats.refusals import Refused
from portal.intake import check
from portal.services import Services
from xray_files import kinds

# Of PS3.18 table I.2-2; the others are those of C-STORE.
OTHER_STUDY: Final = 0xA901
NO_SUCH_SYNTAX: Final = 0xC122
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a request as it came. `refusal`: the code of why it is no instance, `not_now`
    where it stands for all that was not looked at; `size`: how many bytes it had, also where they
    were dropped.
    """

    data: bytes = field(repr=False)
    size: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a part. UIDs are empty where they are not known."""

    answer: Answer
    sop_class: str = ""
    sop_instance: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)

    @property
    def is_stored(self) -> bool:
        """Whether it is here."""
        return not self.answer.code

    @property
    def is_for_later(self) -> bool:
        """Whether the same can be stored when it is sent again."""
        return self.answer.status == NO_RESOURCES and self.answer.code != "too_large"


def most_seconds(size: int) -> float:
    """Processor time for a request of `size` bytes, as for a ZIP."""
    return zip_archive.most_seconds(size)


def take(
    services: Services,
    session: Session,
    actor: Actor,
    parts: Iterable[Part],
    study_uid: str = "",
    *,
    seconds: float,
) -> list[Outcome]:
    """Store the instances, all of this study where one is named. No error comes out of here but
    those of reading the parts.

    Their bytes are in the actor's quota already; each counts as a file, also where it is refused.
    Behind the thousandth nothing is read, nor behind `seconds` of processor time for finding parts
    and reading headers and stored files (`most_seconds`).
    """
    actor.require(Permission.STUDY_SUBMIT)
    sender, work = Sender(actor, is_counted=True), check.Work()
    outcomes, stopped = list[Outcome](), None
    began = time.thread_time()
    for part in parts:
        work.seconds += time.thread_time() - began
        if len(outcomes) == MOST:
            outcomes.append(Outcome(refused(NO_RESOURCES, "too_many_instances", 1)))
            break
        if stopped is None and (part.refusal == "not_now" or work.seconds > seconds):
            stopped = storing.not_now()
        if stopped is None:
            stopped = storing.over_quota(services, actor, 0)
        if stopped is not None:
            outcomes.append(Outcome(stopped))
        else:
            outcome = _taken(services, session, sender, part, study_uid, work)
            outcomes.append(outcome)
            if outcome.is_for_later:
                stopped = outcome.answer
        began = time.thread_time()
    return outcomes


def _taken(
    services: Services,
    session: Session,
    sender: Sender,
    part: Part,
    study_uid: str,
    work: check.Work,
) -> Outcome:
    header, why = _read(services, part, work)
    if why is None and study_uid and header.study_uid != study_uid:
        why = refused(OTHER_STUDY, "other_study")
    given = Given(header.sop_class, header.sop_uid, part.data, part.size, why)
    answer = storing.store(services, session, sender, given, work)
    if answer.code == "unsupported_transfer_syntax":
        answer = refused(NO_SUCH_SYNTAX, answer.code)
    return Outcome(answer, header.sop_class, header.sop_uid, header.study_uid)


_UNKNOWN: Final = check.ObjectHeader(sop_class="", sop_uid="", study_uid="", made_here=False)


def _read(
    services: Services, part: Part, work: check.Work
) -> tuple[check.ObjectHeader, Answer | None]:
    """What the part is by its header, read in the confined process; and why it is not taken."""
    if part.refusal == "too_large":
        return _UNKNOWN, storing.too_large(services)
    if part.refusal:
        return _UNKNOWN, refused(NOT_UNDERSTOOD, part.refusal)
    if not kinds.looks_like_dicom(part.data):
        return _UNKNOWN, refused(NOT_UNDERSTOOD, "not_dicom")
    try:
        header = check.object_header(part.data, storing.limits(services), work)
    except Refused as why:
        return _UNKNOWN, refused(NOT_UNDERSTOOD, why.code)
    if header.sop_class not in classes.PICTURES | classes.OBJECTS:
        return header, refused(storing.NO_SUCH_CLASS, "class_not_taken")
    if not classes.is_uid(header.sop_uid):
        return header, refused(storing.BAD_INSTANCE, "bad_instance_uid")
    return header, None

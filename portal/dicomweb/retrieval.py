"""WADO-RS: instances as they were stored, their headers, frames and long values.

Nothing is decoded and nothing is written anew. Each call writes one row of the access log, in the
transaction in which it has looked who may have what; files are read after it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied
from portal.dicomweb import file_parts, instances
from portal.dicomweb.file_parts import FileHeader
from portal.dicomweb.records import Served
from portal.vault import NotReadable, Vault

What = Literal["instances", "metadata", "frames", "bulkdata"]
# Of one request.
MOST_FRAMES: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which instances an address names: those of a study, of one series of it, or one of them."""

    study_uid: str = field(repr=False)
    series_uid: str = field(default="", repr=False)
    sop_uid: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The instances, and of how many more nothing can be read."""

    served: list[Served]
    damaged: int


def retrieve(
    session: Session, vault: Vault, actor: Actor, asked: Asked, what: What, now: datetime
) -> Retrieved:
    """What an address names, with one audit row.

    Denied where the actor has no such study, series or instance: all look like not found.
    NotReadable where all that there is of it is damaged.
    """
    instances.require(actor)
    exam_id, known = instances.of_study(session, vault, actor, asked.study_uid)
    found = [
        one
        for one in known.served
        if asked.series_uid in ("", one.series_uid) and asked.sop_uid in ("", one.sop_uid)
    ]
    if exam_id is None or not (found or known.damaged):
        raise Denied("study")
    _log(session, actor, exam_id, found, what, now)
    if not found:
        raise NotReadable("nothing of an exam can be read")
    return Retrieved(found, known.damaged)


def _log(
    session: Session,
    actor: Actor,
    exam_id: UUID,
    found: Sequence[Served],
    what: What,
    now: datetime,
) -> None:
    pictures = sorted({one.picture_id.hex for one in found})
    audit.append(
        session,
        "dicomweb_read",
        actor=actor,
        now=now,
        study_id=exam_id,
        subject_id=found[0].picture_id if len(pictures) == 1 else None,
        detail={
            "what": what,
            "pictures": pictures,
            "results": sum(one.is_result for one in found),
        },
    )
    session.commit()


def readable(vault: Vault, found: Retrieved) -> tuple[list[tuple[Served, str]], int]:
    """Those whose files can be read, with their transfer syntaxes, and how many can't be.

    Each file is opened once, and none stays in memory; NotReadable where none can be read.
    """
    known, damaged = list[tuple[Served, str]](), found.damaged
    for one in found.served:
        try:
            file_parts.file_of(vault, one)
            known.append((one, file_parts.header_of(vault, one).syntax))
        except NotReadable:
            damaged += 1
    if not known:
        raise NotReadable("nothing of an exam can be read")
    return known, damaged


def headers(vault: Vault, found: Retrieved) -> tuple[list[tuple[Served, FileHeader]], int]:
    """The headers of those that can be read, and how many can't be; NotReadable where none can."""
    known, damaged = list[tuple[Served, FileHeader]](), found.damaged
    for one in found.served:
        try:
            known.append((one, file_parts.header_of(vault, one)))
        except NotReadable:
            damaged += 1
    if not known:
        raise NotReadable("nothing of an exam can be read")
    return known, damaged


def files(vault: Vault, served: Sequence[Served]) -> Iterator[bytes]:
    """The files one after the other, one in memory at a time; NotReadable for a damaged one."""
    for one in served:
        yield file_parts.file_of(vault, one)


def frames(vault: Vault, one: Served, numbers: Sequence[int]) -> tuple[list[bytes], str]:
    """Frames as they are stored, and their transfer syntax; NoSuchPart or NotReadable."""
    return file_parts.frames_of(vault, one, numbers)


def bulk(vault: Vault, one: Served, way: str) -> bytes:
    """A long value by the way that its `BulkDataURI` has; NoSuchPart or NotReadable."""
    return file_parts.bulk_of(vault, one, way)

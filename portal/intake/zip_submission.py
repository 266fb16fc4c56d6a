"""Submitting a ZIP: each of its files is submitted by itself and gets an entry in the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.formats import zip_archive
from portal.formats.refusals import Limits, Refused, refuse
from portal.formats.zip_archive import ArchiveLimits
from portal.intake.submission import Submitted, submit
from portal.vault import StorageFull, Vault

Outcome = Literal["received", "duplicate", "refused", "skipped"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one file of a ZIP; `code` and `message` where it was refused."""

    name: str = field(repr=False)
    outcome: Outcome
    submitted: Submitted | None = None
    code: str = ""
    message: str = ""


def submit_archive(
    session: Session,
    vault: Vault,
    actor: Actor,
    data: bytes,
    now: datetime,
    *,
    limits: ArchiveLimits,
) -> Iterator[Arrival]:
    """Submit the files of a ZIP one after the other; the caller announces the job of each.

    Raises Refused before the first where the ZIP as a whole is not acceptable. Each file is a
    transaction of its own: where the database goes away in the middle, what was received stays,
    and sending the ZIP again finds it known.
    """
    actor.require(Permission.STUDY_SUBMIT)
    inside = zip_archive.members(data, limits)
    return (_arrived(session, vault, actor, member, now, limits) for member in inside)


def _arrived(
    session: Session,
    vault: Vault,
    actor: Actor,
    member: zip_archive.Member,
    now: datetime,
    limits: ArchiveLimits,
) -> Arrival:
    name = member.name
    if member.refused is not None:
        return Arrival(name, "refused", None, member.refused.code, member.refused.message)
    if member.data is None:
        return Arrival(name, "skipped")
    try:
        sent = submit(
            session, vault, actor, name, member.data, now, limits=Limits(limits.max_file_bytes)
        )
    except (Refused, Conflict) as refused:
        return Arrival(name, "refused", None, refused.code, refused.message)
    except StorageFull:
        full = refuse("no_room")
        return Arrival(name, "refused", None, full.code, full.message)
    return Arrival(name, "duplicate" if sent.duplicate else "received", sent)

"""Submitting a ZIP: each of its files is submitted by itself and gets an entry in the answer.

Whatever happens to one file, the next is tried, unless the portal itself can't store anything.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.formats import zip_archive
from portal.formats.header_pool import Work
from portal.formats.refusals import Refused, refuse
from portal.formats.zip_archive import ArchiveLimits
from portal.intake.stated import Stated
from portal.intake.submission import NOTHING_STATED, Submitted, submit
from portal.vault import StorageFull, StorageUnavailable, Vault

_log = logging.getLogger(__name__)

_AWAY = (OperationalError, InterfaceError, PoolTimeout, StorageUnavailable)

Outcome = Literal["received", "duplicate", "refused", "skipped"]
Admit = Callable[[], None]


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
    admit: Admit = lambda: None,
    stated: Stated = NOTHING_STATED,
) -> Iterator[Arrival]:
    """Submit the files of a ZIP one after the other; the caller announces the job of each.

    Raises Refused before the first where the ZIP as a whole is not acceptable. `admit` is called
    before each file and raises Refused where no more are accepted now. Each file is a transaction
    of its own: where the database goes down in the middle, what was received stays, the others are
    named as not tried, and sending the ZIP again finds what is known.
    """
    actor.require(Permission.STUDY_SUBMIT)
    inside = zip_archive.members(data, limits)
    most_seconds = limits.most_seconds(len(data))
    archive = _Archive(session, vault, actor, now, limits, admit, stated, most_seconds)
    return archive.arrivals(inside)


@dataclass(slots=True)
class _Archive:
    """One ZIP on its way in."""

    session: Session
    vault: Vault
    actor: Actor
    now: datetime
    limits: ArchiveLimits
    admit: Admit
    stated: Stated
    most_seconds: float
    work: Work = field(default_factory=Work)
    stopped: Refused | None = None
    stored: int = 0

    def arrivals(self, inside: Iterator[zip_archive.Member]) -> Iterator[Arrival]:
        """What becomes of each file."""
        began = time.thread_time()
        for member in inside:
            self.work.seconds += time.thread_time() - began
            if self.stopped is None and self.work.seconds > self.most_seconds:
                self.stopped = refuse("archive_work")
            yield self._arrived(member)
            began = time.thread_time()

    def _arrived(self, member: zip_archive.Member) -> Arrival:
        name = member.name
        if member.refused is not None:
            return _refused(name, member.refused)
        if member.data is None:
            return Arrival(name, "skipped")
        if self.stopped is not None:
            return _refused(name, self.stopped)
        try:
            return self._submitted(name, member.data)
        except (Refused, Conflict) as refused:
            return _refused(name, refused)
        except StorageFull:
            return _refused(name, refuse("no_room"))
        except DataError:  # a text or number that no column can hold
            self.session.rollback()
            return _refused(name, refuse("unfit"))
        except _AWAY:
            if not self.stored:
                raise  # the whole request can be repeated
            _log.exception("a file of a ZIP could not be stored")
            self.stopped = refuse("not_tried")
            return _refused(name, refuse("not_stored"))
        except Exception:  # a fault of ours, by which the other files must not be lost
            _log.exception("a file of a ZIP could not be stored")
            with suppress(Exception):
                self.session.rollback()
            return _refused(name, refuse("not_stored"))

    def _submitted(self, name: str, data: bytes) -> Arrival:
        self.admit()
        limits = self.limits.of_file()
        sent = submit(
            self.session,
            self.vault,
            self.actor,
            name,
            data,
            self.now,
            limits=limits,
            work=self.work,
            stated=self.stated,
        )
        self.stored += 1
        return Arrival(name, "duplicate" if sent.duplicate else "received", sent)


def _refused(name: str, why: Refused | Conflict) -> Arrival:
    return Arrival(name, "refused", None, why.code, why.message)

"""Anchors of the access log: where it ended and with which MAC, written elsewhere on a schedule.

With an older copy of the database its end can be cut off, and with the keys the whole log be
written anew; anchors in a file outside of the database's folder show it, the better the less this
machine can change it. An anchor is one line of JSON.
"""

import json
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import readable_rows
from portal.audit import chain, macs
from portal.languages import _
from portal.models import AuditEvent, AuditHead, AuditLink, AuditWriter
from portal.readable_rows import Readable
from portal.settings import Settings

# The log's row about a restored backup, and how many rows the chain in it had.
RESTORED: Final = "backup_restored"
LINKED_ROWS: Final = "linked_rows"
_LINE_MOST: Final = 4096
_AT_ONCE: Final = 500


class AnchorFailed(Exception):
    """An anchor could not be written or read; the text gives the reason to a person."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The chain had `seq` links at that time, and the last had this MAC."""

    seq: int
    mac: str
    at: str
    signature: str

    def line(self) -> str:
        """The anchor as one line of JSON."""
        fields = {"seq": self.seq, "mac": self.mac, "at": self.at, "signature": self.signature}
        return json.dumps({"pleura_anchor": fields}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Anchored:
    """What a comparison of the log with its anchors found; `first_bad` as in `Verification`.

    The newest anchor that fits was taken at `newest` and reaches to the row with the number
    `last_row`; `rows_after` it there is none. `before_restore`: anchors of rows that the backup did
    not hold which was restored since. `unread`: lines that were cut off while they were written.
    """

    anchors: int
    first_bad: int | None = None
    problem: str = ""
    newest: datetime | None = None
    last_row: int = 0
    rows_after: int = 0
    before_restore: int = 0
    unread: int = 0


def take(session: Session, now: datetime) -> Anchor:
    """The log's present end as an anchor; what waits to be linked is linked first."""
    chain.link(session)
    seq, mac = chain.head(session)
    session.commit()
    at = now.isoformat()
    return Anchor(seq, mac, at, _signature(session, f"{seq}:{mac}:{at}"))


def write(anchor: Anchor, *, file: Path | None, syslog: str) -> None:
    """Append it to the file and send it to syslog, each where it is given; AnchorFailed."""
    failed = list[str]()
    if file is not None:
        try:
            _append(file, anchor.line())
        except OSError as error:
            failed.append(f"{file} can't be written ({error.strerror})")
    if syslog:
        try:
            _send(syslog, anchor.line())
        except OSError as error:
            failed.append(f"syslog at {syslog} can't be reached ({error.strerror or error})")
    if failed:
        raise AnchorFailed("; ".join(failed))


def place(session: Session, settings: Settings) -> Path:
    """The file of this portal's anchors: the one that is set, or one beside the data folder.

    Its default name belongs to the log's key, so that a portal which is set up anew in the same
    place does not take the anchors of the one before for its own.
    """
    if settings.audit_anchor_file is not None:
        return settings.audit_anchor_file
    mark = macs.of_anchor(macs.key_of(session), "file")[:8]
    return settings.anchor_folder / f"access-log-{mark}.jsonl"


def compare(session: Session, lines: Iterable[str]) -> Anchored:
    """Compare the log, found whole by `verification.verify`, with its anchors.

    Lines without an anchor are passed over, so that a syslog file can be given. Rows are counted
    along the chain. Those that were cut off are named from the first missing one. Where rows were
    written anew, the first bad row is somewhere behind the last anchor that still fits; the row
    after that one is named.
    """
    count, _mac = chain.head(session)
    anchors, unread = _read(session, lines)
    restores, macs_at = _restores(session), _macs_at(session, {anchor.seq for anchor in anchors})
    fits, newest, older = 0, None, 0
    for anchor in sorted(anchors, key=lambda anchor: (anchor.seq, anchor.at)):
        at = datetime.fromisoformat(anchor.at)
        if any(anchor.seq > rows and at <= restored for rows, restored in restores):
            older += 1
            continue
        if anchor.seq > count:
            gone = anchor.seq - count
            return Anchored(
                len(anchors),
                count + 1,
                _(
                    "%(count)s rows that were there at %(time)s are missing at the end",
                    count=gone,
                    time=anchor.at,
                ),
            )
        if anchor.seq and macs_at.get(anchor.seq) != anchor.mac:
            return Anchored(
                len(anchors),
                fits + 1,
                _(
                    "rows %(first)s to %(last)s are not those that were there at %(time)s",
                    first=fits + 1,
                    last=anchor.seq,
                    time=anchor.at,
                ),
            )
        fits, newest = anchor.seq, at
    last_row = session.scalar(select(AuditLink.seq).where(AuditLink.position == fits)) or 0
    rows = session.scalar(select(func.sum(AuditWriter.count))) or 0
    linked = sum(json.loads(session.get_one(AuditHead, 1).linked).values())
    session.commit()
    return Anchored(
        len(anchors),
        newest=newest,
        last_row=last_row,
        rows_after=count - fits + int(rows) - linked,
        before_restore=older,
        unread=unread,
    )


def _macs_at(session: Session, positions: set[int]) -> dict[int, str]:
    """The MACs of the links at these positions of the chain."""
    wanted, found = sorted(positions), dict[int, str]()
    for start in range(0, len(wanted), _AT_ONCE):
        some = AuditLink.position.in_(wanted[start : start + _AT_ONCE])
        rows = session.execute(select(AuditLink.position, AuditLink.mac).where(some))
        found.update((position, mac) for position, mac in rows)
    return found


def _restores(session: Session) -> list[tuple[int, datetime]]:
    """Of each restore of a backup: how many rows the chain in it had, and when it was restored. One
    whose row can't be read is passed over: then older anchors contradict the log.
    """
    query = select(AuditEvent.at, AuditEvent.detail).where(AuditEvent.event == RESTORED)

    def read(log: Readable) -> list[tuple[datetime, str]]:
        with log.parts(session) as parts:
            return [
                (row.at, row.detail)
                for part in parts
                for row in session.execute(query.where(part)).all()
            ]

    rows, _unread = readable_rows.around_damage(session, AuditEvent, read)
    details = [(json.loads(detail), at) for at, detail in rows]
    return [(detail[LINKED_ROWS], at) for detail, at in details if LINKED_ROWS in detail]


def _read(session: Session, lines: Iterable[str]) -> tuple[list[Anchor], int]:
    """The anchors, and how many lines were cut off while they were written."""
    found, unread = list[Anchor](), 0
    for number, line in enumerate(lines, 1):
        at = line.find('{"pleura_anchor"')
        if at < 0:
            continue
        try:
            whole = json.loads(line[at:_LINE_MOST])
        except ValueError:
            unread += 1
            continue
        try:
            fields = whole["pleura_anchor"]
            anchor = Anchor(int(fields["seq"]), fields["mac"], fields["at"], fields["signature"])
        except (ValueError, KeyError, TypeError):
            raise AnchorFailed(f"Line {number} of the anchors can't be read.") from None
        expected = _signature(session, f"{anchor.seq}:{anchor.mac}:{anchor.at}")
        if not macs.same(anchor.signature, expected):
            raise AnchorFailed(f"Line {number} of the anchors was not written by this portal.")
        found.append(anchor)
    return found, unread


def _signature(session: Session, text: str) -> str:
    return macs.of_anchor(macs.key_of(session), text)


def _append(file: Path, line: str) -> None:
    """Only ever appended, so that the file can be one that takes nothing else (chattr +a)."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if _is_cut_off(file):
        line = f"\n{line}"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
        with suppress(OSError):  # a pipe or a device has nothing to sync
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_cut_off(file: Path) -> bool:
    """Whether the last line was not written to its end, as on a full disk."""
    if not file.is_file() or not file.stat().st_size:
        return False
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
    return False


def _send(address: str, line: str) -> None:
    """To a socket (/dev/log) or, by UDP, to host:port."""
    host, _colon, port = address.rpartition(":")
    target = (host, int(port)) if host else address
    handler = _Syslog(
        address=target,
        facility=SysLogHandler.LOG_AUTHPRIV,
        socktype=socket.SOCK_DGRAM,
    )
    try:
        handler.ident = "pleura: "
        record = logging.LogRecord("pleura", logging.INFO, "", 0, line, None, None)
        handler.emit(record)
    finally:
        handler.close()


class _Syslog(SysLogHandler):
    """Raises what goes wrong instead of printing it."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise

"""Anchors of the access log: where it ended and with which MAC, written elsewhere on a schedule.

With the database and the keys the whole log could be written anew; anchors in a file that can't be
changed, or on another machine, show it. An anchor is one line of JSON.
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

from sqlalchemy.orm import Session

from portal.audit import chain, macs

_LINE_MOST: Final = 4096


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
    """What a comparison of the log with its anchors found; `first_bad` as in `Verification`."""

    anchors: int
    first_bad: int | None = None
    problem: str = ""


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


def compare(session: Session, lines: Iterable[str]) -> Anchored:
    """Compare the log, found whole by `verification.verify`, with its anchors.

    Lines without an anchor are passed over, so that a syslog file can be given. Rows are counted
    along the chain. Those that were cut off are named from the first missing one. Where rows were
    written anew, the first bad row is somewhere behind the last anchor that still fits; the row
    after that one is named.
    """
    count, _ = chain.head(session)
    anchors = sorted(_read(session, lines), key=lambda anchor: anchor.seq)
    fits = 0
    for anchor in anchors:
        if anchor.seq > count:
            gone = anchor.seq - count
            return Anchored(
                len(anchors),
                count + 1,
                f"{gone} rows that were there at {anchor.at} are missing at the end",
            )
        if anchor.seq and chain.mac_at(session, anchor.seq) != anchor.mac:
            return Anchored(
                len(anchors),
                fits + 1,
                f"rows {fits + 1} to {anchor.seq} are not those that were there at {anchor.at}",
            )
        fits = anchor.seq
    session.commit()
    return Anchored(len(anchors))


def _read(session: Session, lines: Iterable[str]) -> list[Anchor]:
    found = list[Anchor]()
    for number, line in enumerate(lines, 1):
        at = line.find('{"pleura_anchor"')
        if at < 0:
            continue
        try:
            fields = json.loads(line[at:_LINE_MOST])["pleura_anchor"]
            anchor = Anchor(int(fields["seq"]), fields["mac"], fields["at"], fields["signature"])
        except (ValueError, KeyError, TypeError):
            raise AnchorFailed(f"Line {number} of the anchors can't be read.") from None
        expected = _signature(session, f"{anchor.seq}:{anchor.mac}:{anchor.at}")
        if not macs.same(anchor.signature, expected):
            raise AnchorFailed(f"Line {number} of the anchors was not written by this portal.")
        found.append(anchor)
    return found


def _signature(session: Session, text: str) -> str:
    return macs.of_anchor(macs.key_of(session), text)


def _append(file: Path, line: str) -> None:
    """Only ever appended, so that the file can be one that takes nothing else (chattr +a)."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
        with suppress(OSError):  # a pipe or a device has nothing to sync
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _send(address: str, line: str) -> None:
    """To a socket (/dev/log) or, by UDP, to host:port."""
    host, _, port = address.rpartition(":")
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

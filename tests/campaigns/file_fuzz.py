"""Mutated DICOM, PNG, JPEG and ZIP files are sent: each gets a reason, nothing is half stored.

Of each kind and seed `--files` go through intake and archive, in the processes that read headers,
and `--sent` through HTTP, vault and database. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from flask.testing import FlaskClient

from portal.formats import zip_archive
from portal.formats.refusals import ARCHIVE_REASONS, REASONS, Limits, Refused
from portal.formats.zip_archive import ArchiveLimits
from portal.intake.check import check
from portal.models import Role, db
from tests.campaigns.campaign import Arguments, Row
from tests.support.hostile_files import fuzz
from tests.support.hostile_files.bad_files import wholes
from tests.support.portal_app import make_person, make_token

COLUMNS = (
    "files",
    "seed",
    "through the intake",
    "sent",
    "accepted",
    "refused, by reason",
    "server errors",
    "half stored",
    "without an answer",
    "s",
)
ROUNDS = 10
KINDS = ("DICOM", "PNG", "JPEG", "ZIP")
LIMITS = Limits(64 * 2**20)
ARCHIVE = ArchiveLimits(256 * 2**20, 64 * 2**20)
_CODES = frozenset(REASONS) | frozenset(ARCHIVE_REASONS)
_PER_PORTAL = 250  # accepted files would fill the disk


@dataclass
class Seen:
    """What became of the files of a kind and seed."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    half_stored: list[str] = field(default_factory=list)
    unanswered: int = 0

    def reason(self, code: str | None) -> None:
        """Count a refusal; one without a known reason is an error."""
        if code in _CODES or code == "already_sent":
            self.refused[str(code)] += 1
        else:
            self.errors.append(f"no such reason: {code}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--files", type=int, default=10_000, help="of each kind and seed")
    parser.add_argument("--sent", type=int, default=2_000, help="of each kind and seed, by HTTP")


def run(arguments: Arguments) -> list[Row]:
    """A row for each kind and seed."""
    options = arguments.options
    return [
        arguments.resume.row(
            f"{kind} {seed}", partial(row, kind, seed, files=options.files, sent=options.sent)
        )
        for seed in range(arguments.seed, arguments.seed + arguments.rounds)
        for kind in KINDS
    ]


def row(kind: str, seed: int, *, files: int, sent: int) -> Row:
    """Mutate and send the files of one kind."""
    began, seen = time.monotonic(), Seen()
    for data in mutated(kind, seed, files):
        through_intake(kind, data, seen)
    for begin in range(0, sent, _PER_PORTAL):
        chosen = mutated(kind, seed + 10_000 + begin, min(_PER_PORTAL, sent - begin))
        through_http(chosen, seen)
    common = ", ".join(f"{code} {number}" for code, number in seen.refused.most_common())
    cells = (
        *(kind, str(seed), str(files), str(sent), str(seen.accepted), common),
        *(_shown(seen.errors), _shown(seen.half_stored), str(seen.unanswered)),
        f"{time.monotonic() - began:.0f}",
    )
    return Row(cells, not (seen.errors or seen.half_stored or seen.unanswered))


def _shown(faults: list[str]) -> str:
    return "; ".join([str(len(faults)), *dict.fromkeys(faults[:3])])


@cache
def sound(kind: str) -> list[bytes]:
    """The files to mutate."""
    if kind == "ZIP":
        return [_packed(*names) for names in (("DICOM", "PNG", "JPEG"), ("DICOM",), ("JPEG",) * 4)]
    return [data for name, data in wholes().items() if kind in name.split()]


def _packed(*names: str, data: Callable[[str], bytes] = lambda name: wholes()[name]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            # Of no time: the same seed gives the same bytes.
            member = zipfile.ZipInfo(f"{number}/{name}")
            archive.writestr(member, data(name), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def mutated(kind: str, seed: int, count: int) -> Iterator[bytes]:
    """So many mutated files; of ZIPs some are whole, with mutated files in them."""
    chance = random.Random(f"{kind} {seed}")
    pool = sound(kind)

    def member(name: str) -> bytes:
        return chance.choice(fuzz.MUTATIONS)(chance, wholes()[name], list(wholes().values()))

    for _ in range(count):
        if kind == "ZIP" and chance.random() < 0.3:
            yield _packed("DICOM", "DICOM", "PNG", data=member)
            continue
        data = chance.choice(fuzz.MUTATIONS)(chance, chance.choice(pool), pool)
        yield _with_right_sums(data) if kind == "PNG" and chance.random() < 0.6 else data


def _with_right_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the sums of what is in them now, so that they are looked at."""
    changed, at = bytearray(data), 8
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def through_intake(kind: str, data: bytes, seen: Seen) -> None:
    """One file through the intake, or each member of a ZIP."""
    try:
        if not (kind == "ZIP" and zip_archive.looks_like(data)):
            check("x", data, LIMITS)
            seen.accepted += 1
            return
        inside = list(zip_archive.members(data, ARCHIVE))
    except Refused as refused:
        seen.reason(refused.code)
        return
    except Exception as error:
        seen.errors.append(f"{type(error).__name__} in the intake")
        return
    for member in inside:
        if not member.name:
            seen.unanswered += 1
        if member.refused is not None:
            seen.reason(member.refused.code)
        elif member.data is not None:
            through_intake("", member.data, seen)


def through_http(files: Iterator[bytes], seen: Seen) -> None:
    """Files through a portal's API, and what it holds afterwards."""
    with _portal() as (temporary, client, bearer):
        stored, exams = 0, set[str]()
        for data in files:
            body = {"file": (io.BytesIO(data), "x")}
            answer = client.post("/api/v1/studies", data=body, headers=bearer)
            reply = answer.get_json()
            if answer.status_code != 202:
                if answer.status_code >= 500:
                    seen.errors.append(f"{answer.status_code} {reply.get('code')}")
                else:
                    seen.reason(reply.get("code"))
                continue
            arrivals = [reply]
            if "files" in reply:
                arrivals = [file["study"] for file in reply["files"] if file["study"]]
                for file in reply["files"]:
                    if file["outcome"] == "refused":
                        seen.reason(file["code"])
                    elif file["outcome"] not in ("received", "duplicate", "skipped"):
                        seen.unanswered += 1
            seen.accepted += len(arrivals)
            fresh = [one for one in arrivals if not one["duplicate"]]
            stored += len(fresh)
            exams |= {one["id"] for one in fresh}
        expected = (len(exams), *(stored,) * 4)
        if fuzz.stored(temporary) != expected:
            seen.half_stored.append(f"{fuzz.stored(temporary)} instead of {expected}")


@contextmanager
def _portal() -> Iterator[tuple[fuzz.TemporaryPortal, FlaskClient, dict[str, str]]]:
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
    with fuzz.temporary_portal(parent) as temporary:
        db.session.remove()  # on SQLite its transaction would hold up the requests
        person = make_person(temporary.app, Role.TECHNOLOGIST)
        token = make_token(temporary.app, person, "studies:write")
        yield temporary, temporary.app.test_client(), {"Authorization": f"Bearer {token}"}

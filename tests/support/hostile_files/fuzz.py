"""Mutated files through the portal's intake and the worker's decoder, in any number.

    python -m tests.support.hostile_files.fuzz --count 10000 --seed 1

Valid files (synthetic ones, and real X-rays if the machine has some) are flipped, cut, spliced and
rewritten. Each is submitted to a portal and decoded in the decoder process. Requirements: each file
gets a reason or a result and no other exception, nothing is half stored, the decoder's server stays
alive, time and memory are bounded. The same seed gives the same files.
"""

import argparse
import io
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pydicom
from flask import Flask
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag
from sqlalchemy import func, select

from ml.preparation import phantom
from portal.access import Actor
from portal.accounts import sessions
from portal.formats.refusals import REASONS, Refused
from portal.intake import submission
from portal.intake.check import Limits
from portal.models import Blob, Instance, Job, Role, Study, User, db
from tests.support.core import make_settings
from tests.support.hostile_files.bad_files import wholes
from tests.support.paths import XRAYS
from tests.support.portal_app import make_app, make_person
from worker.errors import Permanent
from worker.render.pictures import Decoder
from worker.settings import Settings

LIMITS = Limits(64 * 1024 * 1024)
# What the decoder may answer (`ml.images.reader` and `worker.render.decoder_process`).
DECODER_CODES = frozenset(
    (
        *("empty", "not_an_image", "truncated", "no_pixels", "not_single_frame", "too_large"),
        *("unsupported_modality", "unsupported_transfer_syntax", "unsupported_photometric"),
        *("decode_failed", "decode_limit"),
    )
)
INTAKE_CPU_SECONDS = 30.0  # far more than a busy machine makes of the usual tenth
PARENT_GROWTH_MB = 600
SERVER_MB = 700
_BATCH = 250  # files per portal: accepted files would fill the disk

_DECODER = Settings.from_env(
    {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:1",
        "PLEURA_WORKER_TOKEN": "not-for-the-decoder",
        "PLEURA_DECODE_MB": "1024",
        "JOB_SECONDS": "30",
    }
)
Mutation = Callable[[random.Random, bytes, list[bytes]], bytes]


@dataclass
class Report:
    """The outcomes of the files."""

    intake: Counter[str] = field(default_factory=Counter)
    decoder: Counter[str] = field(default_factory=Counter)
    by_mutation: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_intake: float = 0.0
    slowest_decoder: float = 0.0
    parent_growth_mb: float = 0.0
    server_mb: float = 0.0


def flip(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    """Some bytes become others, most often near the beginning, where headers are."""
    changed = bytearray(data)
    reach = len(changed) if chance.random() < 0.5 else min(len(changed), 2000)
    for _ in range(chance.randint(1, 40)):
        changed[chance.randrange(reach)] = chance.randrange(256)
    return bytes(changed)


def cut(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    """The end, the beginning or a part in the middle is missing."""
    first, second = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
    return chance.choice((data[:first], data[first:], data[:first] + data[second:]))


def splice(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """The beginning of one file and the end of another, or a piece of it in the middle."""
    other = chance.choice(pool)
    at, begin = chance.randrange(len(data)), chance.randrange(len(other))
    piece = other[begin : begin + chance.randint(1, 4096)]
    return chance.choice((data[:at] + other[begin:], data[:at] + piece + data[at:]))


def lengths(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    """Numbers in the header become large, small, odd or negative."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(0, max(1, min(len(changed) - 4, 3000)))
        value = chance.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**31, len(data)))
        order = chance.choice("<>")
        if value > 0xFFFF or chance.random() < 0.5:
            struct.pack_into(f"{order}I", changed, at, value)
        else:
            struct.pack_into(f"{order}H", changed, at, value)
    return bytes(changed)


def repeat(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    """A part is repeated many times."""
    at = chance.randrange(len(data))
    piece = data[at : at + chance.randint(1, 256)]
    return data[:at] + piece * chance.randint(2, 2000) + data[at:]


def edit(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    """Elements of a DICOM header get values that no scanner writes; other files are flipped."""
    try:
        return _edited(chance, data)
    except Exception:  # what can't be read or written at all is flipped instead
        return flip(chance, data, _pool)


def _edited(chance: random.Random, data: bytes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    tags = [element.tag for element in dataset if element.tag != 0x7FE00010] + [Tag(0x00280008)]
    kinds: dict[BaseTag, bytes] = {}
    for _ in range(chance.randint(1, 5)):
        tag = chance.choice(tags)
        if chance.random() < 0.2:
            dataset.pop(tag, None)
            continue
        text = chance.choice(
            ("", "-1", "1e99", "NaN", "0", "65535", "99999999999", "\\", "a\\b\\c", "9" * 3000)
        )
        kinds[tag] = chance.choice((b"LO", b"IS", b"DS", b"UI", b"CS", b"US", b"SS", b"PN", b"??"))
        dataset[tag] = DataElement(tag, "LO", text, validation_mode=0)
    if chance.random() < 0.3:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" + chance.choice(
            ("", ".1", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.90", ".4.99")
        )
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=True)
    written = stream.getvalue()
    for tag, kind in kinds.items():  # pydicom writes no number that is none: say so afterwards
        begin = struct.pack("<HH", tag.group, tag.element)
        written = written.replace(begin + b"LO", begin + kind, 1)
    return written


def twice(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Two mutations one after the other."""
    for mutation in chance.sample(PLAIN, 2):
        data = mutation(chance, data, pool) or b"\0"
    return data


PLAIN: list[Mutation] = [flip, cut, splice, lengths, repeat, edit]
MUTATIONS: list[Mutation] = [*PLAIN, twice]


def sound_files(chance: random.Random, folder: Path | None) -> list[bytes]:
    """The files to mutate: every kind of synthetic file, and real ones."""
    made = [*wholes().values(), phantom.png(phantom.draw(2, rows=320, columns=300))]
    made.append(phantom.dicom(phantom.draw(3, rows=320, columns=300)))
    if folder is not None and folder.is_dir():
        names = sorted(folder.glob("dicom-odd/*/*.dcm"))
        for pattern, most in (("siim/dicom/*", 40), ("siim/jpeg/*", 8), ("lungs/masks/*", 4)):
            known = sorted(folder.glob(pattern))
            names += chance.sample(known, min(most, len(known)))
        made += [path.read_bytes() for path in names if path.stat().st_size < 8_000_000]
    return made


@dataclass
class TemporaryPortal:
    """A temporary portal, and a person who may send."""

    app: Flask
    actor: Actor
    folder: Path


@contextmanager
def temporary_portal(parent: Path | None) -> Iterator[TemporaryPortal]:
    """A portal on SQLite, in a memory file system if there is one."""
    with tempfile.TemporaryDirectory(prefix="pleura-fuzz-", dir=parent) as folder:
        app = make_app(make_settings(Path(folder)))
        person = make_person(app, Role.TECHNOLOGIST)
        with app.app_context():
            actor = sessions.actor_of(db.session().get_one(User, person.id))
            yield TemporaryPortal(app, actor, Path(folder))
            db.session.remove()
            db.engine.dispose()


def run(count: int, seed: int, data: Path | None, progress: bool = False) -> Report:
    """Mutate and send `count` files."""
    chance, report = random.Random(seed), Report()
    pool, decoder = sound_files(chance, data), Decoder(_DECODER)
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server = decoder._process.pid
    try:
        for begin in range(0, count, _BATCH):
            with temporary_portal(parent) as temporary:
                exams: list[UUID] = []  # of each accepted picture
                for index in range(begin, min(begin + _BATCH, count)):
                    mutation = chance.choice(MUTATIONS)
                    mutated = mutation(chance, chance.choice(pool), pool)
                    report.by_mutation[mutation.__name__] += 1
                    try:
                        exams += _through_intake(temporary, mutated, report)
                        _through_the_decoder(decoder, mutated, report)
                    except Exception as fault:
                        report.faults.append(f"{index} {mutation.__name__}: {fault!r}")
                expected = (len(set(exams)), *(len(exams),) * 4)
                if stored(temporary) != expected:
                    report.faults.append(f"{begin}: stored {stored(temporary)}, not {expected}")
            if decoder._process.pid != server or decoder._process.poll() is not None:
                report.faults.append(f"{begin}: the decoder's server was lost")
                server = decoder._process.pid
            if progress:
                print(f"{begin + _BATCH} files, {len(report.faults)} faults", flush=True)
        report.server_mb = _megabytes(server)
    finally:
        decoder.stop()
    report.parent_growth_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024
    if report.parent_growth_mb > PARENT_GROWTH_MB:
        report.faults.append(f"the portal's side grew by {report.parent_growth_mb:.0f} MB")
    if report.server_mb > SERVER_MB:
        report.faults.append(f"the decoder's server grew to {report.server_mb:.0f} MB")
    return report


def _through_intake(temporary: TemporaryPortal, mutated: bytes, report: Report) -> list[UUID]:
    """The exam of the picture that was stored, if one was."""
    began = time.process_time()
    stored: list[UUID] = []
    try:
        services = temporary.app.extensions["pleura"]
        sent = submission.submit(
            db.session(),
            services.vault,
            temporary.actor,
            "x",
            mutated,
            services.clock(),
            limits=LIMITS,
        )
        report.intake["duplicate" if sent.duplicate else "accepted"] += 1
        if not sent.duplicate:
            stored.append(sent.study_id)
    except Refused as refused:
        report.intake[_known(refused.code, REASONS)] += 1
    took = time.process_time() - began
    report.slowest_intake = max(report.slowest_intake, took)
    assert took < INTAKE_CPU_SECONDS, f"{took:.1f} processor seconds in the intake"
    return stored


def _through_the_decoder(decoder: Decoder, mutated: bytes, report: Report) -> None:
    began = time.monotonic()
    try:
        decoder.decode(mutated)
        report.decoder["decoded"] += 1
    except Permanent as error:
        report.decoder[_known(error.code, DECODER_CODES)] += 1
    report.slowest_decoder = max(report.slowest_decoder, time.monotonic() - began)


def _known(code: str, codes: Collection[str]) -> str:
    if code not in codes:
        raise LookupError(f"a reason without a sentence: {code}")
    return code


def stored(temporary: TemporaryPortal) -> tuple[int, ...]:
    """How many exams, pictures, blobs, jobs and files there are."""
    counts = [
        db.session.scalar(select(func.count()).select_from(table)) or 0
        for table in (Study, Instance, Blob, Job)
    ]
    db.session.rollback()
    files = [path for path in (temporary.folder / "blobs").rglob("*") if path.is_file()]
    return (*counts, len(files))


def _megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    """The command line; exit status 1 if a requirement failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=XRAYS)
    asked = parser.parse_args()
    began = time.monotonic()
    report = run(asked.count, asked.seed, asked.data, progress=True)
    for title, counts in (("intake", report.intake), ("decoder", report.decoder)):
        print(f"{title}:", ", ".join(f"{code} {n}" for code, n in counts.most_common()))
    print("mutations:", ", ".join(f"{name} {n}" for name, n in report.by_mutation.items()))
    print(
        f"slowest: {report.slowest_intake:.2f} processor s in the intake, "
        f"{report.slowest_decoder:.2f} s in the decoder; grown by "
        f"{report.parent_growth_mb:.0f} MB, server {report.server_mb:.0f} MB; "
        f"{time.monotonic() - began:.0f} s in all"
    )
    print("\n".join(report.faults) or "no fault")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

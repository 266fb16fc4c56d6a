"""Uploads of one SOPInstanceUID, and an upload beside a purge, held in each order on PostgreSQL.

Nothing here is a race: the held upload stops at a named place until the other has come in whole.
`tests/portal/intake/test_known_pictures.py` does each once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

from portal.governance import purges
from portal.intake.submission import Submitted
from portal.models import PurgeReason
from portal.vault import Vault
from tests.campaigns.campaign import Arguments, Row
from tests.support.clinic import Clinic, open_clinic
from tests.support.core import NOW, make_settings, migrate, open_core
from tests.support.pictures import dicom
from tests.support.postgres import postgres
from tests.support.wait import stopped_once

COLUMNS = ("the other comes in", "held", "times", "both kept", "called a duplicate", "s")
ROUNDS = 200

Meanwhile = Callable[[], Any]
Place = Callable[[Clinic, Meanwhile], AbstractContextManager[None]]


def shown(shade: int, uid: str = "1.2.3.4", **tags: Any) -> bytes:
    """A picture under this SOPInstanceUID; each shade (1 to 255) has other pixels."""
    return dicom(SOPInstanceUID=uid, pixels=bytes([shade, 0]) * 48, **tags)


def after_the_look(clinic: Clinic, meanwhile: Meanwhile) -> AbstractContextManager[None]:
    """When the look for the same content is over: on PostgreSQL others can write then."""
    return stopped_once(clinic.core.engine, "instances.content_key = ", meanwhile)


@contextmanager
def before_the_file(_clinic: Clinic, meanwhile: Meanwhile) -> Iterator[None]:
    """When the picture is taken for new, before its file is written; nothing is locked then."""
    put, left = Vault.put, [meanwhile]

    def held(vault: Vault, data_key: bytes, **parts: Any) -> str:
        if left:
            left.pop()()
        return put(vault, data_key, **parts)

    with mock.patch.object(Vault, "put", held):
        yield


def between(clinic: Clinic, held: bytes, other: bytes, place: Place) -> tuple[Submitted, Submitted]:
    """Send both; the other comes in whole where the held one stops. Answers: other, held."""
    sent = list[Submitted]()
    with place(clinic, lambda: sent.append(clinic.submit(other))):
        last = clinic.submit(held)
    return sent[0], last


def purge(clinic: Clinic, study_id: UUID) -> None:
    """Purge an exam as an administrator."""
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW), reason=PurgeReason.TEST_DATA
        )


PLACES: dict[str, Place] = {
    "after the look for the same content": after_the_look,
    "before the file is written": before_the_file,
}


def run(arguments: Arguments) -> list[Row]:
    """A row for each place and order, each so many times."""
    with tempfile.TemporaryDirectory(prefix="same-uid-") as folder, postgres() as url:
        migrate(make_settings(Path(folder), DATABASE_URL=url))
        core = open_core(Path(folder), url)
        clinic = open_clinic(core)
        rows = [
            _row(arguments, name, order, partial(_two, clinic, place, order))
            for name, place in PLACES.items()
            for order in ("first", "second")
        ]
        rows.append(
            _row(arguments, "a purge of it, after the look", "again", partial(_purged, clinic))
        )
        core.engine.dispose()
        return rows


def _row(arguments: Arguments, name: str, held: str, once: Callable[[str], list[Submitted]]) -> Row:
    began, kept, duplicates = time.monotonic(), 0, 0
    for number in range(arguments.rounds):
        uid = f"1.2.{arguments.seed}.{time.time_ns()}.{number}"
        sent = once(uid)
        duplicates += sum(one.duplicate for one in sent)
        kept += len({one.instance_id for one in sent}) == 2
    seconds = f"{time.monotonic() - began:.0f}"
    cells = (name, held, str(arguments.rounds), str(kept), str(duplicates), seconds)
    return Row(cells, kept == arguments.rounds and not duplicates)


def _two(clinic: Clinic, place: Place, order: str, uid: str) -> list[Submitted]:
    pictures = [shown(1, uid), shown(2, uid)]
    held, other = pictures if order == "first" else pictures[::-1]
    return list(between(clinic, held, other, place))


def _purged(clinic: Clinic, uid: str) -> list[Submitted]:
    """The same picture is sent again; the first is purged before the answer."""
    data = shown(1, uid)
    first = clinic.submit(data)
    with after_the_look(clinic, lambda: purge(clinic, first.study_id)):
        return [first, clinic.submit(data)]

"""Killing a listener between its steps, and what is there afterwards: for a test and a campaign."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread
from sqlalchemy import func, select

from portal.models import Blob, Instance, Job
from portal.studies import sealed_fields, stored_files
from portal.vault import NotReadable
from tests.support.clinic import Clinic
from tests.support.dicom import sender
from tests.support.dicom.killed_listener import STEPS
from tests.support.paths import ROOT
from tests.support.pictures import dicom

ALL_STEPS = (*STEPS, "answered")


@dataclass(frozen=True)
class Port:
    """What a sender needs of a listener in another process."""

    port: int


@dataclass
class Outcome:
    """What a sender got before and after the kill, and how often its picture is there."""

    first: int | None
    second: int | None
    rows: int
    jobs: int
    is_readable: bool

    @property
    def problem(self) -> str:
        """What is wrong; empty where the picture is there exactly once."""
        if self.second != 0:
            return f"it was not taken afterwards: {self.second}"
        if (self.rows, self.jobs) != (1, 1):
            return f"{self.rows} rows and {self.jobs} jobs"
        return "" if self.is_readable else "its file can't be read"


def killed_after(clinic: Clinic, step: str) -> Outcome:
    """Send a picture to a listener that is killed after a step, then again to one that is not."""
    data = dicom()
    uid = str(dcmread(BytesIO(data)).SOPInstanceUID)
    with _process(clinic, step) as (process, port):
        first = _sent(port, data)
        if step == "answered":
            process.kill()
        process.wait(60)
        assert process.returncode == -9, "the listener was not killed"
    with _process(clinic, "none") as (_process_again, port):
        second = _sent(port, data)
    return Outcome(first, second, *_found(clinic, uid))


def _sent(port: int, data: bytes) -> int | None:
    association = sender.associate(Port(port))  # type: ignore[arg-type]
    assert association.is_established
    try:
        answer = sender.store(association, data)
        return int(answer.Status) if "Status" in answer else None
    finally:
        if association.is_established:
            association.abort()


@contextmanager
def _process(clinic: Clinic, step: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    environment = {
        **os.environ,
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(clinic.core.data_dir),
        "DATABASE_URL": clinic.core.engine.url.render_as_string(hide_password=False),
        "PLEURA_DICOM_PORT": "0",
        "PLEURA_DICOM_FREE_MB": "0",
        "PLEURA_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.dicom.killed_listener", step],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip().isdecimal(), "the listener did not start"
        yield process, int(line)
    finally:
        process.kill()
        process.wait(60)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _found(clinic: Clinic, uid: str) -> tuple[int, int, bool]:
    """Rows and jobs of a picture, and whether its file opens."""
    key = clinic.vault.lookup("sop_uid", uid)
    with clinic.session as session:
        rows = session.scalars(select(Instance).where(Instance.sop_key == key)).all()
        ids = [row.id for row in rows]
        jobs = session.scalar(select(func.count()).where(Job.instance_id.in_(ids))) or 0
        try:
            for row in rows:
                blob = session.scalars(select(Blob).where(Blob.instance_id == row.id)).one()
                data_key = sealed_fields.instance_key_of(clinic.vault, row)
                stored_files.read(clinic.vault, data_key, blob)
        except NotReadable:
            return len(rows), jobs, False
        return len(rows), jobs, bool(rows)

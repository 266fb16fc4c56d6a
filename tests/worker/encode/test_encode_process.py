"""The confined process that makes objects, and the job around it."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.encode.contents import Case
from tests.support.encode.wrapped import wrapped
from tests.worker.client.test_portal_client import settings
from tests.worker.render.test_render import SETTINGS
from worker.client.portal_client import Attempt, PortalClient
from worker.contract.contents import object_content
from worker.contract.error_codes import ErrorCode
from worker.contract.job import Claim, InputFile, JobKind
from worker.encode import maker
from worker.encode.maker import Objects
from worker.errors import Permanent, Transient

CASE = Case(wrapped(), assessment="accepted", signed=True)
CONTENT = object_content.pack(CASE.content, CASE.jpeg, CASE.outlines, CASE.pdf)


@pytest.fixture(scope="module")
def objects() -> Iterator[Objects]:
    made = Objects(SETTINGS)
    yield made
    made.stop()


def test_the_process_makes_the_same_as_the_library_with_each_layer_of_isolation(
    objects: Objects,
) -> None:
    found, archive = objects.archive_of(CONTENT, CASE.file)
    assert objects._process is not None
    assert objects._process.missing == []
    assert archive == CASE.made().data
    assert found.sha256 == hashlib.sha256(archive).hexdigest()


def test_the_job_reads_header_and_content_and_stores_the_archive(objects: Objects) -> None:
    inputs = {"report_content": CONTENT, "source": CASE.file}
    claim = Claim(
        job=uuid4(),
        kind=JobKind.ENCODE,
        attempt=1,
        ticket="",
        lease_seconds=1.0,
        soft_seconds=1.0,
        inputs={
            kind: InputFile(bytes=len(data), media_type="a/b") for kind, data in inputs.items()
        },
    )
    portal = PortalClient(settings("http://127.0.0.1:9"), JobKind.RENDER)
    attempt = Attempt(portal, claim, inputs)
    result = objects.make(attempt)
    (output,) = attempt._outputs
    assert (output.kind, output.media_type) == ("report", "application/zip")
    assert result.objects.sha256 == hashlib.sha256(output.data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(output.data)) as archive:
        assert set(archive.namelist()) == {
            *(one.file for one in result.objects.objects),
            "manifest.json",
        }


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"", CASE.file),
        (CONTENT[:-1], CASE.file),
        (CONTENT + b"x", CASE.file),
        (CONTENT.replace(b"\x89PNG", b"\x00PNG"), CASE.file),
        (CONTENT.replace(b"\xff\xd8\xff", b"\x00\x00\x00", 1), CASE.file),
        (CONTENT, b""),
        (CONTENT, CASE.file[:300]),
    ],
    ids=["nothing", "cut off", "too long", "no PNG", "no JPEG", "no file", "cut file"],
)
def test_what_makes_no_objects_is_refused_for_good(
    objects: Objects, content: bytes, header: bytes
) -> None:
    with pytest.raises(Permanent) as refused:
        objects.archive_of(content, header)
    assert refused.value.code is ErrorCode.OBJECTS_REFUSED


def hostile_headers() -> dict[str, bytes]:
    """Files that ask for more than their bytes are worth."""
    plain = wrapped()
    many = plain.replace(
        struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2) + struct.pack("<H", 96),
        struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2) + struct.pack("<H", 65535),
    )
    deep = b"".join(
        struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(5000)
    )
    at = plain.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    return {
        "more rows than there are": many,
        "deep sequences": plain[:at] + deep,
        "many elements": plain[:at]
        + b"".join(struct.pack("<HH2sH", 0x0041, n, b"LO", 0) for n in range(20000)),
    }


@pytest.mark.parametrize("name", sorted(hostile_headers()))
def test_a_hostile_header_fails_its_job_alone(objects: Objects, name: str) -> None:
    with pytest.raises(Permanent) as refused:
        objects.archive_of(CONTENT, hostile_headers()[name])
    assert refused.value.code in (ErrorCode.OBJECTS_REFUSED, ErrorCode.OBJECTS_LIMIT)
    assert objects.archive_of(CONTENT, CASE.file)[0].objects


def test_a_machine_without_highdicom_lets_another_worker_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maker, "NEEDED", "not_there_at_all")
    with pytest.raises(Transient) as lacking:
        Objects(SETTINGS).archive_of(CONTENT, CASE.file)
    assert lacking.value.code is ErrorCode.OBJECTS_UNAVAILABLE


def test_a_process_that_does_not_start_fails_the_job_alone() -> None:
    with pytest.raises(Transient) as lacking:
        Objects(SETTINGS, "worker.encode.not_there").archive_of(CONTENT, CASE.file)
    assert lacking.value.code is ErrorCode.OBJECTS_UNAVAILABLE

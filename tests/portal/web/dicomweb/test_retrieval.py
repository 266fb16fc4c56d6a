"""WADO-RS over HTTP: files byte for byte, headers, frames and long values as they are stored."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from flask import Flask, Response
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from portal.governance import purges
from portal.models import PurgeReason
from portal.web.dicomweb import multipart
from portal.web.dicomweb.multipart import Part
from portal.web.event_stream import EventStream
from tests.support.core import NOW
from tests.support.dicomweb.answers import (
    DICOM,
    FRAMES,
    Exam,
    Program,
    add_results,
    analyse,
    datasets,
    parts,
    send,
)
from tests.support.hostile_files.damage import flipped
from tests.support.paths import ROOT
from tests.support.people import Person
from tests.support.pictures import compressed_dicom, jpeg
from tests.support.portal_app import core_of, make_study

CASES = sorted((ROOT.parent / "shared" / "cases").glob("*.dcm.gz"))
EXPLICIT = "1.2.840.10008.1.2.1"


def with_results(app: Flask, reader: Person) -> Exam:
    """An exam with a report and its DICOM objects."""
    exam = send(app, reader)
    analyse(app, exam)
    add_results(app, reader, exam)
    return exam


class File(bytes):
    """A file that notes its end."""

    there = 0

    def __init__(self, *_: object) -> None:
        File.there += 1

    def __del__(self) -> None:
        File.there -= 1


def test_files_are_in_memory_one_at_a_time() -> None:
    there = list[int]()

    def files() -> Iterator[Part]:
        for number in range(3):
            there.append(File.there)
            yield Part("application/dicom", File(bytes([number]) * 3 * 2**20))

    body = multipart.streamed(files(), "application/dicom", 3 * 2**20).response
    assert sum(map(len, body)) > 9 * 2**20
    assert there == [0, 0, 0]


def test_the_server_counts_the_largest_file_of_a_study(
    app: Flask, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, counted, streamed = generate_uid(), list[int](), multipart.streamed

    def noted(made: Iterable[Part], kind: str, largest: int) -> Response:
        answer = streamed(made, kind, largest)
        assert isinstance(answer.response, EventStream)
        counted.append(answer.response.holds)
        return answer

    files = [send(app, reader, StudyInstanceUID=study, rows=rows).file for rows in (8, 64, 32)]
    monkeypatch.setattr(multipart, "streamed", noted)
    answer = Program(app, reader).get(f"studies/{study}")
    assert sorted(data for _, data in parts(answer)) == sorted(files)
    assert counted == [max(map(len, files))]


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_a_file_is_given_as_it_was_sent(app: Flask, reader: Person, level: str) -> None:
    exam = send(app, reader, TransferSyntaxUID=ImplicitVRLittleEndian)
    path = {"study": exam.study, "series": exam.series, "instance": exam.instance}[level]
    for accept in (DICOM, f"{DICOM}; transfer-syntax=*", "*/*", "multipart/related"):
        answer = Program(app, reader).get(f"studies/{path}", accept)
        ((kind, data),) = parts(answer)
        assert kind == f"application/dicom; transfer-syntax={ImplicitVRLittleEndian}"
        assert data == exam.file
        assert answer.headers["Cache-Control"] == "no-store"


def test_another_transfer_syntax_is_not_acceptable(app: Flask, reader: Person) -> None:
    exam = send(app, reader)
    program = Program(app, reader)
    other = program.get(f"studies/{exam.instance}", f"{DICOM}; transfer-syntax=1.2.840.10008.1.2")
    assert other.status_code == 406
    assert EXPLICIT in other.text
    same = program.get(f"studies/{exam.instance}", f"{DICOM}; transfer-syntax={EXPLICIT}")
    assert same.status_code == 200
    for accept in ("application/dicom", "image/jpeg", 'multipart/related; type="image/jpeg"'):
        assert program.get(f"studies/{exam.instance}", accept).status_code == 406, accept


def test_results_come_with_the_picture_each_as_it_was_made(app: Flask, reader: Person) -> None:
    exam = with_results(app, reader)
    program = Program(app, reader)
    found = {}
    for _, data in parts(program.get(f"studies/{exam.study}", DICOM)):
        read = dcmread(io.BytesIO(data))
        found[read.Modality] = data, read
    assert set(found) == {"DX", "SR", "SEG", "OT", "PR", "DOC"}
    assert found["DX"][0] == exam.file
    headers = datasets(program.get(f"studies/{exam.study}/metadata"))
    assert {one.SOPInstanceUID for one in headers} == {
        read.SOPInstanceUID for _, read in found.values()
    }
    document = next(one for one in headers if one.Modality == "SR")
    assert str(document.ContentSequence) == str(found["SR"][1].ContentSequence)
    (study,) = program.found("studies")
    assert sorted(study.ModalitiesInStudy) == sorted(found)
    assert study.NumberOfStudyRelatedInstances == 6
    segmentation = found["SEG"][1]
    path = f"{exam.study}/series/{segmentation.SeriesInstanceUID}"
    path += f"/instances/{segmentation.SOPInstanceUID}"
    ((kind, frame),) = parts(program.get(f"studies/{path}/frames/1", FRAMES))
    assert kind == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    assert frame == segmentation.PixelData[: len(frame)]
    (pdf,) = (one for one in headers if one.Modality == "DOC")
    way = json.loads(pdf.to_json())["00420011"]
    assert way["vr"] == "OB"


def test_metadata_names_pixels_by_an_address_that_gives_them(app: Flask, reader: Person) -> None:
    exam = send(app, reader, pixels=bytes(range(96)))
    program = Program(app, reader)
    for path in (exam.study, exam.series, exam.instance):
        answer = program.get(f"studies/{path}/metadata")
        (header,) = answer.get_json(force=True)
        address = header["7FE00010"]["BulkDataURI"]
        assert address == (
            f"http://127.0.0.1:8000/dicomweb/studies/{exam.instance}/bulkdata/7FE00010"
        )
        ((kind, data),) = parts(program.get(address.split("/dicomweb/")[1], FRAMES))
        assert (kind, data) == ("application/octet-stream", bytes(range(96)))
        expected = exam.header
        (read,) = datasets(answer)
        for element in expected:
            if element.keyword not in ("PixelData", "SpecificCharacterSet"):
                assert read[element.tag] == element, element.keyword
        assert read.AvailableTransferSyntaxUID == EXPLICIT


def test_frames_are_given_in_the_stored_syntax_alone(app: Flask, reader: Person) -> None:
    stream = jpeg()
    data = compressed_dicom(stream, SeriesInstanceUID=generate_uid())
    exam = Exam(make_study(app, reader, data=data), data)
    program = Program(app, reader)
    at = f"studies/{exam.instance}/frames/1"
    for accept in (
        'multipart/related; type="image/jpeg"',
        f'multipart/related; type="image/jpeg"; transfer-syntax={JPEGBaseline8Bit}',
        'multipart/related; type="application/octet-stream", multipart/related; type="image/*"',
        "*/*",
        f'{FRAMES}; transfer-syntax="*"',  # as OHIF asks
    ):
        ((kind, frame),) = parts(program.get(at, accept))
        assert kind == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
        assert frame.rstrip(b"\0") == stream
    for accept in (FRAMES, 'multipart/related; type="image/jp2"', "text/plain"):
        answer = program.get(at, accept)
        assert answer.status_code == 406, accept
    assert "image/jpeg" in program.get(at, FRAMES).text
    for numbers, status in (("2", 404), ("0", 404), ("x", 400), ("1,,2", 400), ("1,1", 200)):
        assert program.get(f"studies/{exam.instance}/frames/{numbers}").status_code == status


def test_what_is_not_there_is_not_found(app: Flask, reader: Person) -> None:
    exam = send(app, reader)
    program = Program(app, reader)
    for path in (
        generate_uid(),
        f"{exam.study}/series/{generate_uid()}",
        f"{exam.series}/instances/{generate_uid()}",
        f"{exam.instance}/bulkdata/00282000",
    ):
        answer = program.get(f"studies/{path}", "*/*")
        assert answer.status_code == 404, path
    assert program.get(f"studies/{exam.instance}/bulkdata/../x", "*/*").status_code in (400, 404)
    assert program.get(f"studies/{exam.study}/series/x", "*/*").status_code == 400


def test_a_purged_exam_is_not_found(app: Flask, reader: Person) -> None:
    exam = send(app, reader)
    program = Program(app, reader)
    assert program.get(f"studies/{exam.study}/metadata").status_code == 200
    core = core_of(app)
    with core.sessions() as session:
        purges.purge(session, core.vault, None, exam.id, NOW, reason=PurgeReason.TEST_DATA)
    for end in ("", "/metadata", "/series"):
        assert program.get(f"studies/{exam.study}{end}", "*/*").status_code == 404


def test_a_damaged_file_is_left_out_with_a_warning(app: Flask, reader: Person) -> None:
    study = generate_uid()
    one = send(app, reader, StudyInstanceUID=study)
    other = send(app, reader, StudyInstanceUID=study, pixels=b"\1" * 96)
    third = send(app, reader, StudyInstanceUID=study, pixels=b"\2" * 96)
    blobs = core_of(app).data_dir / "blobs"
    newest = max(blobs.glob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(flipped(newest.read_bytes()))
    program = Program(app, reader)
    answer = program.get(f"studies/{study}", DICOM)
    # They arrived at the same time: their order is by chance.
    assert {data for _, data in parts(answer)} == {one.file, other.file}
    assert len(parts(answer)) == 2
    assert "left out" in answer.headers["Warning"]
    assert len(datasets(program.get(f"studies/{study}/metadata"))) == 2
    alone = program.get(f"studies/{third.instance}", DICOM)
    assert alone.status_code == 503
    assert alone.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_files_that_were_found_outside_are_served(app: Flask, reader: Person, path: Path) -> None:
    data = gzip.decompress(path.read_bytes())
    raw = dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
    exam = Exam(make_study(app, reader, data=data), data)
    program = Program(app, reader)
    found = program.found("instances")
    if not all(raw.get(one) for one in ("StudyInstanceUID", "SeriesInstanceUID")):
        assert found == []
        return
    (one,) = found
    uids = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
    at = "studies/{}/series/{}/instances/{}".format(*uids)
    ((_, served),) = parts(program.get(at, DICOM))
    assert served == exam.file
    (header,) = datasets(program.get(f"{at}/metadata"))
    assert isinstance(header, Dataset)
    answer = program.get(f"{at}/frames/1", "*/*")
    assert answer.status_code in (200, 406), answer.text

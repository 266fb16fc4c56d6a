"""STOW-RS over HTTP: what is stored, what is refused and why, and that nothing else may send."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import func, select, text

from portal.accounts import sessions as account_sessions
from portal.accounts.api_tokens import scopes_of
from portal.dicom_network import parts as parts_of_requests
from portal.dicom_network import refusals
from portal.formats.header_pool import HeaderPool
from portal.governance import quarantine
from portal.models import (
    Arrival,
    ArrivalEnd,
    AuditEvent,
    Blob,
    DicomObject,
    DicomRefusal,
    Instance,
    Job,
    QuarantinedFile,
    Role,
    Study,
    User,
)
from portal.teams.rules import changes
from portal.teams.rules.conditions import Conditions, Rule
from tests.campaigns.same_uid import shown
from tests.support.core import NOW, make_settings
from tests.support.dicomweb.answers import DICOM, Program, parts
from tests.support.dicomweb.sent import BOUNDARY, Sends, body_of
from tests.support.people import Person
from tests.support.pictures import compressed_dicom, dicom, jpeg, picture
from tests.support.portal_app import core_of, make_app, make_person, sign_in

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
ONE = {"studies": 1, "instances": 1, "blobs": 1, "jobs": 1}
NOTHING = dict.fromkeys(ONE, 0)


def counted(app: Flask) -> dict[str, int]:
    with core_of(app).sessions() as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Study, Instance, Blob, Job)
        }


def events(app: Flask, *names: str) -> list[AuditEvent]:
    with core_of(app).sessions() as session:
        rows = select(AuditEvent).where(AuditEvent.event.in_(names)).order_by(AuditEvent.seq)
        return list(session.scalars(rows))


def uid_of(data: bytes) -> str:
    return str(dcmread(io.BytesIO(data)).SOPInstanceUID)


def complete(**tags: Any) -> bytes:
    """A picture that can be fetched again."""
    return dicom(**({"SeriesInstanceUID": generate_uid()} | tags))


def report_of(picture_file: bytes) -> bytes:
    """A structured report of the same study, as another system would send it."""
    header = dcmread(io.BytesIO(picture_file))
    return dicom(
        SOPClassUID=SR, Modality="SR", StudyInstanceUID=header.StudyInstanceUID, PixelData=None
    )


def test_what_is_sent_is_a_case_and_can_be_fetched_where_the_answer_names_it(
    app: Flask, reader: Person
) -> None:
    files = [complete(), complete(pixels=b"\1" * 96)]
    answer = Sends(app, reader).store(*files)
    assert answer.status == 200
    assert answer.stored == [uid_of(one) for one in files]
    assert (answer.failed, answer.others, answer.reasons) == ({}, [], [])
    assert counted(app) == dict.fromkeys(ONE, 2)
    for item, data in zip(answer.held.ReferencedSOPSequence, files, strict=True):
        path = item.RetrieveURL.partition("/dicomweb/")[2]
        ((_, fetched),) = parts(Program(app, reader).get(path, DICOM))
        assert fetched == data
    rows = events(app, "study_submitted")
    assert [(row.actor_id, row.via) for row in rows] == [(reader.id, "token")] * 2


def test_a_study_that_is_named_takes_its_own_instances_alone(app: Flask, reader: Person) -> None:
    study = generate_uid()
    own, other = complete(StudyInstanceUID=study), complete()
    answer = Sends(app, reader).store(own, other, study=study)
    assert answer.status == 202
    assert answer.stored == [uid_of(own)]
    assert answer.failed == {uid_of(other): 0xA901}
    assert answer.reasons == ["Instance 2: other study"]
    assert answer.held.RetrieveURL.endswith(f"/dicomweb/studies/{study}")
    assert counted(app) == ONE


def test_the_same_again_is_stored_once(app: Flask, technologist: Person) -> None:
    data = complete()
    sends = Sends(app, technologist)
    first, second = sends.store(data, data), sends.store(data)
    assert (first.status, second.status) == (200, 200)
    assert second.held.ReferencedSOPSequence[0].RetrieveURL.endswith(uid_of(data))
    assert counted(app) == ONE
    assert len(events(app, "study_submitted")) == 1
    assert len(events(app, "study_sent_again")) == 2


def test_other_pixels_under_a_known_uid_are_stored_beside_the_first(
    app: Flask, reader: Person
) -> None:
    series = generate_uid()
    files = [shown(shade, SeriesInstanceUID=series) for shade in (1, 2)]
    for _ in range(2):
        answer = Sends(app, reader).store(*files)
        assert answer.status == 200
        first, second = answer.held.ReferencedSOPSequence
        # By this UID the first alone is fetched.
        assert "RetrieveURL" in first
        assert "RetrieveURL" not in second
    assert counted(app)["instances"] == 2


def video() -> bytes:
    """A picture in a transfer syntax that is none of pictures."""
    return compressed_dicom(jpeg()).replace(
        b"1.2.840.10008.1.2.4.50",
        b"1.2.840.10008.1.2.4.58",  # retired, of the same length
    )


def refused_files() -> list[tuple[str, bytes, int]]:
    return [
        ("not single frame", dicom(NumberOfFrames=3), 0xC000),
        ("class not taken", dicom(SOPClassUID=CT, Modality="CT"), 0x0122),
        ("exam not here", report_of(dicom()), 0xC001),
        ("unsupported transfer syntax", video(), 0xC122),
    ]


def test_what_is_refused_is_named_with_its_reason_and_the_rest_is_stored(
    app: Flask, reader: Person
) -> None:
    good, bad = complete(), refused_files()
    answer = Sends(app, reader).store(*(data for _, data, _ in bad), good)
    assert answer.status == 202
    assert answer.stored == [uid_of(good)]
    assert answer.failed == {uid_of(data): reason for _, data, reason in bad}
    assert answer.reasons == [f"Instance {n}: {text}" for n, (text, _, _) in enumerate(bad, 1)]
    core = core_of(app)
    with core.sessions() as session:
        kept = refusals.newest(session, core.vault, None, NOW)
        rows = list(session.scalars(select(DicomRefusal)))
        name = session.get_one(User, reader.id).name
    assert {one.sop_uid for one in kept} == set(answer.failed)
    assert {(one.sender, one.by_web) for one in kept} == {(name, True)}
    assert all(row.sender_id == reader.id and row.node_id is None for row in rows)
    assert len(events(app, "dicom_object_refused")) == len(bad)


def test_a_refused_picture_is_kept_in_quarantine_and_what_is_none_is_not(
    app: Flask, reader: Person
) -> None:
    study = generate_uid()
    bad = dicom(NumberOfFrames=3, StudyInstanceUID=study)
    own = dicom(NumberOfFrames=3, Manufacturer="Pleura", ManufacturerModelName="Pleura")
    sends = Sends(app, reader)
    for _ in range(2):
        answer = sends.store(bad, own, dicom(SOPClassUID=CT, Modality="CT"), b"junk")
        assert answer.status == 409
    core = core_of(app)
    with core.sessions() as session:
        (kept,) = session.scalars(select(QuarantinedFile))
    assert quarantine.read(core.vault, kept)[0] == bad
    assert (kept.sender_id, kept.via, kept.code) == (reader.id, "token", "not_single_frame")
    assert kept.study_key == core.vault.lookup("study_uid", study)


def test_where_nothing_is_stored_the_answer_is_a_conflict(app: Flask, reader: Person) -> None:
    _, data, reason = refused_files()[0]
    answer = Sends(app, reader).store(data)
    assert answer.status == 409
    assert answer.failed == {uid_of(data): reason}
    assert counted(app) == NOTHING


def test_what_has_no_uid_or_is_no_instance_is_among_other_failures(
    app: Flask, reader: Person
) -> None:
    answer = Sends(app, reader).store(picture(), b"", b"\xff" * 500, dicom(SOPInstanceUID=None))
    assert answer.status == 409
    assert answer.others == [0xC000, 0xC000, 0xC000, 0x0117]
    assert counted(app) == NOTHING


def test_a_report_is_filed_to_its_exam_and_our_own_comes_back_without_harm(
    app: Flask, reader: Person
) -> None:
    data = complete()
    own = dicom(
        StudyInstanceUID=dcmread(io.BytesIO(data)).StudyInstanceUID,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
        Manufacturer="Pleura",
        ManufacturerModelName="Pleura",
    )
    answer = Sends(app, reader).store(data, report_of(data), own)
    assert answer.status == 200
    assert ["RetrieveURL" in one for one in answer.held.ReferencedSOPSequence] == [
        True,
        False,
        False,
    ]
    assert counted(app)["jobs"] == 1
    with core_of(app).sessions() as session:
        filed = list(session.scalars(select(DicomObject).order_by(DicomObject.made_here)))
    assert [(one.made_here, one.node_id) for one in filed] == [(False, None), (True, None)]


def test_the_teams_rules_hold(app: Flask, reader: Person) -> None:
    core, admin = core_of(app), make_person(app, Role.ADMIN)
    with core.sessions() as session:
        team = session.get_one(User, reader.id).team_id
        by = account_sessions.actor_of(session.get_one(User, admin.id))
        for number, rule in enumerate(
            (
                Rule("Hands", ArrivalEnd.KEEP_OUT, "No chest", Conditions(body_parts=("HAND",))),
                Rule("All others", ArrivalEnd.KEEP, "Not asked for", Conditions()),
            )
        ):
            changes.store(session, by, team, rule, number, NOW)
    hand = complete(BodyPartExamined="HAND")
    answer = Sends(app, reader).store(complete(), hand)
    assert (answer.status, answer.failed) == (202, {uid_of(hand): 0xC000})
    assert answer.reasons == ["Instance 2: by rule"]
    with core.sessions() as session:
        assert [row.end for row in session.scalars(select(Arrival))] == [ArrivalEnd.KEEP]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data; boundary=a-boundary", 415),
        ("application/dicom", 415),
        ('multipart/related; type="application/dicom+json"; boundary=a-boundary', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=another', 400),
        ("multipart/related; type=application/dicom; boundary=a-boundary", 200),
        ("multipart/related; boundary=a-boundary", 200),
    ],
)
def test_other_bodies_are_refused_with_a_word_and_nothing_is_stored(
    app: Flask, reader: Person, kind: str, status: int
) -> None:
    answer = Sends(app, reader).send(body_of([complete()]), kind)
    assert answer.status == status, answer.response.text
    if status != 200:
        assert answer.response.content_type.startswith("text/plain")
        assert answer.response.text.strip()
        assert counted(app) == NOTHING


@pytest.mark.parametrize("body", [b"", b"--a-boundary--\r\n", b"\r\n", b"nothing of it"])
def test_a_body_without_a_part_is_a_bad_request(app: Flask, reader: Person, body: bytes) -> None:
    assert Sends(app, reader).send(body).status == 400


def test_an_answer_that_nobody_accepts_is_refused_before_anything_is_stored(
    app: Flask, reader: Person
) -> None:
    answer = Sends(app, reader).send(body_of([complete()]), Accept="application/dicom+xml")
    assert answer.status == 406
    assert counted(app) == NOTHING


def test_a_body_that_is_cut_off_keeps_what_came_whole(app: Flask, reader: Person) -> None:
    first, second = complete(), complete(pixels=b"\1" * 96)
    body = body_of([first, second])
    answer = Sends(app, reader).send(body[: len(body) - 60])
    assert answer.status == 202
    assert answer.stored == [uid_of(first)]
    assert answer.others == [0xC000]
    assert answer.reasons == ["Instance 2: truncated"]


def test_an_instance_over_the_limit_is_dropped_and_the_others_are_stored(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_MAX_UPLOAD_MB="1", PLEURA_DICOM_FREE_MB="0"))
    reader = make_person(app, Role.READER)
    large, small = dicom(rows=1024, columns=1024), complete()
    answer = Sends(app, reader).store(large, small)
    assert (answer.status, answer.others) == (202, [0xA700])
    assert answer.reasons == ["Instance 1: too large"]
    assert counted(app) == ONE
    alone = Sends(app, reader).store(large)
    assert alone.status == 413
    assert "1 MB" in alone.response.text


def test_below_the_watermark_of_the_disk_nothing_is_taken_and_the_sender_waits(
    tmp_path: Path,
) -> None:
    free = shutil.disk_usage(tmp_path).free // 1024**2
    app = make_app(make_settings(tmp_path, PLEURA_DICOM_FREE_MB=str(free + 10_000)))
    files = [complete(), complete(pixels=b"\1" * 96)]
    answer = Sends(app, make_person(app, Role.READER)).store(*files)
    assert answer.status == 503
    assert int(answer.response.headers["Retry-After"]) == 300
    assert (answer.failed, answer.others) == ({uid_of(files[0]): 0xA700}, [0xA700])
    assert counted(app) == NOTHING
    assert events(app, "dicom_object_refused") == []


def test_the_quota_counts_each_instance(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_UPLOADS_PER_HOUR="2", PLEURA_DICOM_FREE_MB="0"))
    sends = Sends(app, make_person(app, Role.READER))
    files = [complete(), complete(pixels=b"\1" * 96)]
    answer = sends.store(*files)  # the request is one, as a ZIP is
    assert (answer.status, answer.stored) == (202, [uid_of(files[0])])
    assert answer.others == [0xA700]
    again = sends.send(body_of(files))
    assert again.status == 429
    assert int(again.response.headers["Retry-After"]) > 0
    assert counted(app) == ONE


def noted_work(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float] = lambda _size: 0.0
) -> list[str]:
    """What the confined processes are asked for; `seconds`: what each file takes more."""
    asked, ask = list[str](), HeaderPool.ask

    def noted(pool: HeaderPool, what: Any, data: bytes, work: Any = None, **more: Any) -> Any:
        asked.append(what["what"])
        if work is not None:
            work.seconds += seconds(len(data))
        return ask(pool, what, data, work, **more)

    monkeypatch.setattr(HeaderPool, "ask", noted)
    return asked


def test_what_is_refused_counts_as_well_and_behind_the_quota_no_header_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_UPLOADS_PER_HOUR="3", PLEURA_DICOM_FREE_MB="0"))
    sends = Sends(app, make_person(app, Role.READER))
    asked = noted_work(monkeypatch)
    answer = sends.store(*(dicom(SOPClassUID=CT, Modality="CT") for _ in range(4)))
    assert answer.reasons == [
        *(f"Instance {number}: class not taken" for number in (1, 2)),
        *(f"Instance {number}: quota" for number in (3, 4)),
    ]
    assert asked == ["object"] * 2
    assert len(events(app, "dicom_object_refused")) == 2


def test_the_work_on_a_request_is_bounded_and_the_rest_is_to_be_sent_again(
    app: Flask, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [complete(), dicom(SOPClassUID=CT, Modality="CT"), complete(), complete()]
    size = len(body_of(files))
    asked = noted_work(monkeypatch, lambda _size: parts_of_requests.most_seconds(size) / 3)
    answer = Sends(app, reader).store(*files)
    assert answer.status == 202
    assert answer.stored == [uid_of(files[0])]
    assert answer.reasons == [
        "Instance 2: class not taken",
        "Instance 3: not now",
        "Instance 4: not now",
    ]
    assert answer.others == [0xA700] * 2
    assert asked == ["object", "upload", "object"]


def test_a_body_of_what_looks_like_boundaries_is_not_searched_to_its_end(
    app: Flask, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_of_requests, "most_seconds", lambda _size: 0.0)
    answer = Sends(app, reader).send(f"\r\n--{BOUNDARY}x".encode() * 20_000)
    assert (answer.status, answer.others) == (503, [0xA700])
    assert answer.response.headers["Retry-After"] == "30"


def test_a_stored_picture_is_read_once_for_all_that_come_under_its_uid(
    app: Flask, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = noted_work(monkeypatch)
    answer = Sends(app, reader).store(*(shown(shade) for shade in (1, 2, 3)))
    assert answer.status == 200
    assert counted(app)["instances"] == 3
    assert asked.count("pixels_digest") == 3, "the first one's, and two others"


def test_while_the_database_refuses_nothing_is_stored_and_the_sender_waits(
    app: Flask, reader: Person
) -> None:
    sends = Sends(app, reader)
    sends.store(complete())
    with core_of(app).sessions() as session:
        session.execute(
            text(
                "CREATE TRIGGER away BEFORE INSERT ON instances "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        )
        session.commit()
    answer = sends.store(complete(), complete())
    assert answer.status in (409, 503)
    assert set(answer.failed.values()) <= {0xA700, 0x0110}
    assert counted(app) == ONE


def test_it_takes_its_own_scope_which_opens_nothing_else(app: Flask, reader: Person) -> None:
    data = complete()
    assert Sends(app, reader, "dicomweb:read", "studies:write").store(data).status == 403
    assert counted(app) == NOTHING
    program = Program(app, reader, "dicomweb:write")
    assert program.get("studies").status_code == 403
    assert program.get(f"studies/{dcmread(io.BytesIO(data)).StudyInstanceUID}").status_code == 403


def test_who_may_send_may_have_the_scope(app: Flask) -> None:
    assert {role for role in Role if "dicomweb:write" in scopes_of(role)} == {
        Role.READER,
        Role.TECHNOLOGIST,
    }


def test_without_a_token_nothing_is_taken_not_even_of_a_browser(app: Flask, reader: Person) -> None:
    nobody, browser = Sends(app, None), Sends(app, None)
    browser.client = sign_in(app, reader)
    for one in (nobody, browser):
        answer = one.store(complete())
        assert answer.status == 401
        assert answer.response.headers["WWW-Authenticate"] == 'Bearer realm="pleura"'
    assert counted(app) == NOTHING


def test_no_answer_and_no_row_of_the_log_holds_what_names_the_patient(
    app: Flask, reader: Person, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = ("CANARY", "P-CANARY", "A-CANARY")
    tags = {"PatientName": "CANARY^ONE", "PatientID": "P-CANARY", "AccessionNumber": "A-CANARY"}
    answer = Sends(app, reader).store(complete(**tags), dicom(NumberOfFrames=2, **tags))
    assert answer.status == 202
    with core_of(app).sessions() as session:
        rows = [row.detail for row in session.scalars(select(AuditEvent))]
    said = [answer.response.text, str(answer.response.headers), caplog.text, *rows]
    assert not [one for one in said for secret in secrets if secret in one]


def test_an_address_that_names_no_uid_is_a_bad_request(app: Flask, reader: Person) -> None:
    assert Sends(app, reader).store(complete(), study="not-a-uid").status == 400

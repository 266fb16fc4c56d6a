"""The listener beside real senders: who is let in, what is stored, and what status comes back."""

import logging
import shutil
import socket
import ssl
import struct
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from sqlalchemy import func, select

from portal.dicom_network import association, classes, listener, nodes, refusals
from portal.governance import clock, scheduler_signs
from portal.models import (
    Arrival,
    ArrivalEnd,
    AuditEvent,
    Blob,
    DicomRefusal,
    Instance,
    Job,
    QuarantinedFile,
    Study,
)
from portal.services import Services
from portal.teams.rules import changes
from portal.teams.rules.conditions import Conditions, Rule
from tests.campaigns.same_uid import shown
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Clock
from tests.support.dicom import sender
from tests.support.dicom.certificates import Certificates, made
from tests.support.dicom.listening import (
    OURS,
    TITLE,
    add_node,
    as_path,
    call,
    listening,
    settings_of,
)
from tests.support.pictures import compressed_dicom, dicom, jpeg
from xray_files import kinds

CR = "1.2.840.10008.5.1.4.1.1.1"
UNKNOWN = (1, 1, 3)


def counted(clinic: Clinic) -> dict[str, int]:
    with clinic.session as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Study, Instance, Blob, Job)
        }


def waits_for(condition: Any) -> bool:
    ends = time.monotonic() + 20
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return bool(condition())


ONE = {"studies": 1, "instances": 1, "blobs": 1, "jobs": 1}
NOTHING = dict.fromkeys(ONE, 0)


def events(clinic: Clinic, event: str) -> list[AuditEvent]:
    with clinic.session as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.event == event)))


def test_echoscu_gets_an_answer(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic) as listens:
        assert call(listens, "echoscu").returncode == 0


@pytest.mark.parametrize("name", ["storescu", "dcmsend"])
def test_a_picture_that_dcmtk_sends_is_a_case_of_the_nodes_team(
    clinic: Clinic, tmp_path: Path, name: str
) -> None:
    node = add_node(clinic)
    with listening(clinic) as listens:
        done = call(listens, name, as_path(tmp_path, dicom()))
    assert done.returncode == 0, done.stderr
    assert counted(clinic) == ONE
    with clinic.session as session:
        study = session.scalars(select(Study)).one()
        assert (study.team_id, study.uploaded_by) == (clinic.owner.team_id, node.user_id)
    (row,) = events(clinic, "study_submitted")
    assert (row.actor_id, row.via, row.session_id, row.address) == (
        node.user_id,
        "dicom",
        node.id,
        "127.0.0.1",
    )


def test_a_compressed_picture_comes_as_it_is(clinic: Clinic, tmp_path: Path) -> None:
    add_node(clinic)
    path = as_path(tmp_path, compressed_dicom(jpeg(), SOPClassUID=sender.DX))
    with listening(clinic) as listens:
        assert call(listens, "storescu", "-xy", path).returncode == 0
    assert counted(clinic) == ONE


@pytest.mark.parametrize("syntax", [kinds.IMPLICIT, kinds.EXPLICIT])
def test_a_peer_that_speaks_one_syntax_alone_is_understood(clinic: Clinic, syntax: str) -> None:
    add_node(clinic)
    data = dicom(TransferSyntaxUID=syntax)
    with listening(clinic) as listens, sender.associated(listens, syntaxes=(syntax,)) as sends:
        assert sender.store(sends, data).Status == 0
    assert counted(clinic) == ONE


def test_two_formats_of_one_class_and_a_second_class_go_by_one_association(clinic: Clinic) -> None:
    add_node(clinic)
    with (
        listening(clinic) as listens,
        sender.associated(listens, sop_classes=(sender.DX, CR)) as sends,
    ):
        assert sender.store(sends, shown(1)).Status == 0
        assert sender.store(sends, dicom(SOPClassUID=CR, Modality="CR")).Status == 0
    assert counted(clinic)["instances"] == 2


def test_the_same_file_again_is_a_success_without_a_second_row(clinic: Clinic) -> None:
    add_node(clinic)
    data = dicom()
    with listening(clinic) as listens:
        for _ in range(2):
            with sender.associated(listens) as sends:
                assert sender.store(sends, data).Status == 0
                assert sender.store(sends, data).Status == 0
    assert counted(clinic) == ONE
    assert len(events(clinic, "study_sent_again")) == 3


def test_a_picture_that_a_colleague_uploaded_is_a_success_too(clinic: Clinic) -> None:
    add_node(clinic)
    data = dicom()
    clinic.submit(data)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, data).Status == 0
    assert counted(clinic) == ONE


def test_other_pixels_under_a_known_uid_are_stored_beside_the_first(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, shown(1)).Status == 0
        assert sender.store(sends, shown(2)).Status == 0
    assert counted(clinic)["instances"] == 2


def test_rules_about_the_sender_hold_for_its_node_alone(clinic: Clinic) -> None:
    node = add_node(clinic)
    ours = Conditions(ae_titles=(node.ae_title.lower(),))
    hands = Conditions(body_parts=("HAND",))
    with clinic.session as session:
        for shown_version, rule in enumerate(
            (
                Rule("Hands", ArrivalEnd.KEEP_OUT, "No chest", hands),
                Rule("From there", ArrivalEnd.KEEP, "Not asked for", ours),
            )
        ):
            changes.store(session, clinic.admin, node.team_id, rule, shown_version, NOW)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, dicom()).Status == 0
        refused = sender.store(sends, dicom(BodyPartExamined="HAND"))
        assert (refused.Status, refused.ErrorComment) == (0xC000, "Refused: by rule")
        with clinic.session as session:
            assert session.scalars(select(QuarantinedFile)).all() == []
    clinic.submit(dicom())
    with clinic.session as session:
        ends = {row.end for row in session.scalars(select(Arrival))}
        assert ends == {ArrivalEnd.KEEP, ArrivalEnd.ANALYSE}
        (noted,) = refusals.newest(session, clinic.vault, clinic.admin, NOW)
        assert noted.code == "by_rule"


def test_what_a_rule_puts_into_quarantine_is_kept_and_its_sender_gets_the_reason(
    clinic: Clinic,
) -> None:
    node, data = add_node(clinic), shown(1)
    with clinic.session as session:
        rule = Rule("All", ArrivalEnd.QUARANTINE, "Stop")
        changes.store(session, clinic.admin, node.team_id, rule, 0, NOW)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        for _ in range(2):
            refused = sender.store(sends, data)
            assert (refused.Status, refused.ErrorComment) == (0xC000, "Refused: quarantined")
    assert counted(clinic) == NOTHING
    with clinic.session as session:
        (held,) = session.scalars(select(QuarantinedFile))
        assert (held.code, held.via, held.rule_id is not None) == ("quarantined", "dicom", True)


def test_who_is_not_known_is_refused_as_the_standard_has_it(clinic: Clinic) -> None:
    node = add_node(clinic)
    add_node(clinic, ae_title="ELSEWHERE", networks="10.9.9.9")
    add_node(clinic, ae_title="WITH_TLS", fingerprint="ab" * 32)
    add_node(clinic, ae_title="RECEIVER", sends=False)
    with listening(clinic) as listens:
        assert sender.refusal(listens, to="SOMEBODY") == (1, 1, 7)
        for title in ("STRANGER", "ELSEWHERE", "WITH_TLS", "RECEIVER"):
            assert sender.refusal(listens, title=title) == UNKNOWN
        with clinic.session as session:
            nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        assert sender.refusal(listens) == UNKNOWN
        assert call(listens, "echoscu").returncode != 0
    reasons = {row.detail for row in events(clinic, "dicom_association_refused")}
    assert len(reasons) == 6
    assert counted(clinic) == NOTHING


def test_a_stranger_who_tries_again_and_again_fills_no_log(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic) as listens:
        for _ in range(5):
            sender.refusal(listens, title="STRANGER")
        assert listens._refusals.counted["calling_ae_title"] == 5
    assert len(events(clinic, "dicom_association_refused")) == 1


def test_a_node_that_is_switched_off_meanwhile_stores_nothing_more(clinic: Clinic) -> None:
    node = add_node(clinic)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, shown(1)).Status == 0
        with clinic.session as session:
            nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        assert sender.store(sends, dicom()).Status == 0x0124
    assert counted(clinic) == ONE


def test_more_associations_than_allowed_are_refused_for_now(clinic: Clinic) -> None:
    add_node(clinic)
    with (
        listening(clinic, PLEURA_DICOM_MAX_ASSOCIATIONS="2") as listens,
        sender.associated(listens),
        sender.associated(listens),
    ):
        assert sender.refusal(listens) == (2, 3, 2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("certificates"))


def tls_options(certificates: Certificates) -> dict[str, str]:
    return {
        "PLEURA_DICOM_CERTIFICATE_FILE": str(certificates.ours.certificate),
        "PLEURA_DICOM_KEY_FILE": str(certificates.ours.key),
        "PLEURA_DICOM_CA_FILE": str(certificates.authority),
    }


def test_by_tls_a_node_shows_the_certificate_that_is_stated_of_it(
    clinic: Clinic, certificates: Certificates, tmp_path: Path
) -> None:
    add_node(clinic, fingerprint=certificates.node.fingerprint)
    path = as_path(tmp_path, dicom())
    with listening(clinic, **tls_options(certificates)) as listens:
        for name, more in (("echoscu", ()), ("storescu", (path,))):
            done = call(
                listens,
                name,
                *("+tls", str(certificates.node.key), str(certificates.node.certificate)),
                *("+cf", str(certificates.authority)),
                *more,
            )
            assert done.returncode == 0, done.stderr
        other = ssl.create_default_context(cafile=certificates.authority)
        other.check_hostname = False
        other.load_cert_chain(certificates.other.certificate, certificates.other.key)
        assert sender.refusal(listens, tls=other) == UNKNOWN
    assert counted(clinic) == ONE


def test_its_first_line_states_that_it_listens_in_the_clear(
    clinic: Clinic, certificates: Certificates
) -> None:
    plain = settings_of(clinic, PLEURA_DICOM_HOST="0.0.0.0").dicom
    assert listener.first_line(plain, 104) == (
        "PLEURA listens at port 104 of 0.0.0.0, WITHOUT TLS: pictures and names come in the clear"
    )
    secured = settings_of(clinic, **tls_options(certificates)).dicom
    assert listener.first_line(secured, 104) == "PLEURA listens at port 104 of 127.0.0.1, by TLS"


def test_by_tls_nobody_comes_in_without_a_certificate_or_without_tls(
    clinic: Clinic, certificates: Certificates
) -> None:
    add_node(clinic)
    without = ssl.create_default_context(cafile=certificates.authority)
    without.check_hostname = False
    with listening(clinic, **tls_options(certificates)) as listens:
        assert not sender.associate(listens, tls=without).is_established
        assert call(listens, "echoscu", "-to", 3, "-ta", 3).returncode != 0


def test_what_is_no_xray_is_refused_with_a_comment_and_kept_as_a_reason(clinic: Clinic) -> None:
    node = add_node(clinic)
    data = dicom(NumberOfFrames=3, SOPInstanceUID="1.2.3.4.5")
    with listening(clinic) as listens, sender.associated(listens) as sends:
        answer = sender.store(sends, data)
    assert answer.Status == 0xC000
    assert answer.ErrorComment == "Refused: not single frame"
    with clinic.session as session:
        (kept,) = refusals.newest(session, clinic.vault, clinic.admin, NOW)
        row = session.scalars(select(DicomRefusal)).one()
    assert (kept.sender, kept.code, kept.status, kept.sop_uid) == (
        node.name,
        "not_single_frame",
        0xC000,
        "1.2.3.4.5",
    )
    assert b"1.2.3.4.5" not in row.sealed_sop_uid
    with clinic.session as session:
        (held,) = session.scalars(select(QuarantinedFile))
        assert (held.sender_id, held.via, held.code) == (node.user_id, "dicom", "not_single_frame")
    assert len(events(clinic, "dicom_object_refused")) == 1
    assert counted(clinic) == NOTHING


@pytest.mark.parametrize(
    ("stated", "status"),
    [
        ({"uid": "1.2.3.999"}, 0xA900),
        ({"sop_class": CR, "context": CR}, 0xA900),
        ({"sop_class": CR, "context": sender.DX}, 0x0122),
        ({"uid": "1.2.three"}, 0x0117),
    ],
)
def test_a_data_set_that_is_not_what_was_stated_is_refused(
    clinic: Clinic, stated: dict[str, str], status: int
) -> None:
    add_node(clinic)
    with (
        listening(clinic) as listens,
        sender.associated(listens, sop_classes=(sender.DX, CR)) as sends,
    ):
        assert sender.store(sends, dicom(), **stated).Status == status
        assert sends.send_c_echo().Status == 0
    assert counted(clinic) == NOTHING


def test_bytes_that_are_no_data_set_are_refused_and_the_association_goes_on(
    clinic: Clinic,
) -> None:
    add_node(clinic)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        (number,) = [n for n, c in sends._accepted_cx.items() if c.abstract_syntax == sender.DX]
        for junk in (b"\xff" * 1000, b"\x08\x00\x05\x00CS", b"\0" * 10):
            assert sender.send(sends, number, sender.DX, "1.2.3", junk).Status == 0xC000
        assert sender.store(sends, dicom()).Status == 0
    assert counted(clinic) == ONE


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\0\0\0\1\2\0\0\0\x99\x99"])
def test_a_command_that_is_none_ends_its_association_alone(clinic: Clinic, junk: bytes) -> None:
    add_node(clinic)
    with listening(clinic) as listens:
        sends = sender.associate(listens)
        part = P_DATA()
        part.presentation_data_value_list = [[1, b"\3" + junk]]
        sends.dul.send_pdu(part)
        ends = time.monotonic() + 60
        while sends.is_alive() and time.monotonic() < ends:
            time.sleep(0.05)
        assert sends.is_aborted
        assert call(listens, "echoscu").returncode == 0


def test_a_data_set_over_the_limit_is_dropped_while_it_comes(clinic: Clinic) -> None:
    add_node(clinic)
    large = dicom(rows=1024, columns=1024)  # 2 MiB
    with (
        listening(clinic, PLEURA_MAX_UPLOAD_MB="1") as listens,
        sender.associated(listens) as sends,
    ):
        answer = sender.store(sends, large)
        assert (answer.Status, answer.ErrorComment) == (0xA700, "Larger than 1 MB")
        assert sender.store(sends, dicom()).Status == 0
    assert counted(clinic) == ONE


def test_a_data_set_without_end_is_aborted(clinic: Clinic) -> None:
    add_node(clinic)
    with (
        listening(clinic, PLEURA_MAX_UPLOAD_MB="1") as listens,
        sender.associated(listens) as sends,
    ):
        assert "Status" not in sender.store(sends, dicom(rows=2048, columns=2048))  # 8 MiB
    assert counted(clinic) == NOTHING


def command_of(uid: str) -> bytes:
    """The command of a C-STORE, with a data set that follows."""
    request = C_STORE()
    request.MessageID, request.Priority, request.DataSet = 1, 2, BytesIO(b"\0\0")
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sender.DX, uid
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    (command,) = next(iter(message.encode_msg(1, 16384))).presentation_data_value_list
    return command[1]


def send_part(sends: Any, part: bytes) -> None:
    one = P_DATA()
    one.presentation_data_value_list = [[1, part]]
    sends.dul.send_pdu(one)


def test_data_sets_together_have_so_much_memory_and_more_is_dropped(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_MAX_UPLOAD_MB="1") as listens:
        memory = listens.server.data_sets
        whole = memory.free
        halves = [sender.associate(listens) for _ in range(4)]
        for sends in halves:
            send_part(sends, command_of("1.2.3"))
            for _ in range(10):
                send_part(sends, b"\0" + b"x" * 100_000)
        assert waits_for(lambda: memory.free <= whole - 4_000_000)
        picture = dicom(rows=600, columns=400)  # 480 kB
        with sender.associated(listens) as sends:
            answer = sender.store(sends, picture)
            assert (answer.Status, answer.ErrorComment) == (0xA700, "Refused: not now")
            halves[0].abort()
            assert waits_for(lambda: memory.free > 1_000_000)
            assert sender.store(sends, picture).Status == 0
        for sends in halves[1:]:
            sends.abort()
        assert waits_for(lambda: memory.free == whole)
    assert counted(clinic) == ONE


def test_what_was_answered_holds_no_memory_any_more(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        memory = listens.server.data_sets
        whole = memory.free
        for _ in range(2):
            assert sender.store(sends, dicom()).Status == 0
        assert waits_for(lambda: memory.free == whole)


def test_a_data_set_that_comes_byte_by_byte_ends_in_time(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(association, "_MESSAGE_SECONDS", 0.5)
    add_node(clinic)
    with listening(clinic) as listens:
        sends = sender.associate(listens)
        send_part(sends, command_of("1.2.3"))
        ends = time.monotonic() + 10
        while sends.is_alive() and time.monotonic() < ends:
            send_part(sends, b"\0x")
            time.sleep(0.1)
        assert sends.is_aborted
        with sender.associated(listens) as sends:
            assert sender.store(sends, dicom()).Status == 0


def test_below_the_watermark_of_the_disk_nothing_is_taken(clinic: Clinic) -> None:
    add_node(clinic)
    free = shutil.disk_usage(clinic.core.data_dir.parent).free // 1024**2
    with (
        listening(clinic, PLEURA_DICOM_FREE_MB=str(free + 10_000)) as listens,
        sender.associated(listens) as sends,
    ):
        answer = sender.store(sends, dicom())
    assert (answer.Status, answer.ErrorComment) == (0xA700, "Refused: disk nearly full")
    assert counted(clinic) == NOTHING


def test_the_quota_of_uploads_holds_for_a_node_too(clinic: Clinic) -> None:
    add_node(clinic)
    with (
        listening(clinic, PLEURA_UPLOADS_PER_HOUR="1") as listens,
        sender.associated(listens) as sends,
    ):
        assert sender.store(sends, shown(1)).Status == 0
        answer = sender.store(sends, dicom())
    assert answer.Status == 0xA700
    assert answer.ErrorComment == "Quota of an hour reached: again in 60 min"


@pytest.mark.parametrize("kind", ["quarantined", "of no class agreed on", "too large"])
def test_what_is_refused_counts_against_the_quota_of_its_node_too(
    clinic: Clinic, kind: str
) -> None:
    """Beyond it nothing is noted and nothing kept; an hour later, and for others, it goes on."""
    add_node(clinic)
    add_node(clinic, ae_title="ROOM2")
    moving, limits = Clock(), {"PLEURA_UPLOADS_PER_HOUR": "2", "PLEURA_MAX_UPLOAD_MB": "1"}
    data, stated = dicom(NumberOfFrames=3), dict[str, str]()
    if kind == "of no class agreed on":
        data, stated = dicom(), {"sop_class": CR, "context": sender.DX}
    elif kind == "too large":
        data = dicom(rows=1024, columns=1024)
    status = {"quarantined": 0xC000, "of no class agreed on": 0x0122, "too large": 0xA700}[kind]
    with listening(clinic, moving, **limits) as listens:
        with sender.associated(listens) as sends:
            answers = [sender.store(sends, data, **stated) for _ in range(4)]
        quota = "Quota of an hour reached: again in 30 min"
        assert [one.Status for one in answers] == [status, status, 0xA700, 0xA700]
        assert [one.ErrorComment == quota for one in answers] == [False, False, True, True]
        noted = 0 if kind == "too large" else 2
        assert len(events(clinic, "dicom_object_refused")) == noted
        with sender.associated(listens, title="ROOM2") as sends:
            assert sender.store(sends, dicom()).Status == 0
        moving.forward(minutes=31)
        with sender.associated(listens) as sends:
            assert sender.store(sends, dicom()).Status == 0
    with clinic.session as session:
        kept = session.scalar(select(func.count()).select_from(QuarantinedFile))
        assert kept == (1 if kind == "quarantined" else 0)


def test_half_a_request_or_an_overlong_one_ends_its_connection_alone(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_DICOM_IDLE_SECONDS="5") as listens:
        silent = socket.create_connection(("127.0.0.1", listens.port))
        half = socket.create_connection(("127.0.0.1", listens.port))
        half.sendall(b"\x01\x00\x00\x00\x10\x00" + b"x" * 10)
        huge = socket.create_connection(("127.0.0.1", listens.port))
        huge.sendall(struct.pack(">BBL", 1, 0, 2**31))
        assert call(listens, "echoscu").returncode == 0
        for one in (huge, half, silent):
            one.settimeout(40)
            while one.recv(1024):
                pass
            one.close()
        assert call(listens, "echoscu").returncode == 0


def test_an_overlong_part_ends_its_connection_at_once(clinic: Clinic) -> None:
    """Its bytes are not waited for, and no memory is taken for them."""
    add_node(clinic)
    with listening(clinic, PLEURA_DICOM_IDLE_SECONDS="60") as listens:
        with socket.create_connection(("127.0.0.1", listens.port), timeout=10) as huge:
            huge.sendall(struct.pack(">BBL", 1, 0, 2**30))
            while huge.recv(1024):
                pass
        with sender.associated(listens) as sends:
            assert sends.is_established


def test_nothing_of_a_patient_is_logged_or_lies_on_the_disk(
    clinic: Clinic, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_node(clinic)
    caplog.set_level(logging.DEBUG)
    good = dicom(PatientName="CANARY^ZEBRA", PatientID="CANARY-1")
    bad = dicom(PatientName="CANARY^ZEBRA", NumberOfFrames=2)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, good).Status == 0
        assert sender.store(sends, bad).Status == 0xC000
        sender.refusal(listens, title="CANARY")
    assert "CANARY" not in caplog.text
    for path in clinic.core.data_dir.parent.rglob("*"):
        assert not path.is_file() or b"CANARY" not in path.read_bytes(), path


def test_a_stop_waits_for_nobody_who_does_nothing(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_DICOM_IDLE_SECONDS="5") as listens:
        sends = sender.associate(listens)
        assert sends.is_established
        sends.release()
    began = time.monotonic()
    with listening(clinic):
        pass
    assert time.monotonic() - began < 60


def test_a_clock_years_ahead_removes_no_refusal(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic) as listens, sender.associated(listens) as sends:
        assert sender.store(sends, dicom(NumberOfFrames=3)).Status == 0xC000
    services = Services.open(settings_of(clinic), lambda: after(days=4000))
    for is_confirmed, left in ((False, 1), (True, 0)):
        with clinic.session as session:
            if is_confirmed:
                clock.confirm(session, clinic.admin, after(days=4000))
        listener.sign(services, clinic.core.engine, 0)
        with clinic.session as session:
            assert session.scalar(select(func.count()).select_from(DicomRefusal)) == left
            assert scheduler_signs.dicom_works(session)
    services.broker.close()


def test_readiness_knows_of_a_listener_that_is_missing(clinic: Clinic) -> None:
    with clinic.session as session:
        assert not scheduler_signs.dicom_is_silent(session)
        node = add_node(clinic)
        assert scheduler_signs.dicom_is_silent(session)
        scheduler_signs.give(session, scheduler_signs.DICOM)
        assert not scheduler_signs.dicom_is_silent(session)
        assert scheduler_signs.dicom_works(session)
        nodes.switch(session, clinic.admin, node.id, NOW, on=False)


def test_a_file_of_ours_reads_back_as_it_was_sent() -> None:
    data = classes.as_file(sender.DX, "1.2.3", kinds.EXPLICIT, b"rest")
    assert data[128:132] == b"DICM"
    assert sender.data_set_of(data) == b"rest"
    assert (TITLE, OURS) == ("MODALITY", "PLEURA")

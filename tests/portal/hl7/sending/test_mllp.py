"""Calling a target by TLS: the certificate that is stated of it, or nothing; and the test of it."""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from portal.access import Denied
from portal.errors import Conflict
from portal.hl7.sending import probe, targets
from portal.models import ReportTarget, SendState
from tests.portal.reading.test_signing import sign
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.certificates import Certificates, Pair, made
from tests.support.hl7.receiving import (
    Receiver,
    ack,
    add_target,
    running,
    sending,
    sent,
    settings_to,
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("certificates"))


def shown(certificates: Certificates, pair: Pair) -> ssl.SSLContext:
    """TLS of a target that shows this certificate, and wants ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(certificates.authority)
    return context


def files(certificates: Certificates) -> dict[str, str]:
    return {
        "PLEURA_HL7_PLAIN": "no",
        "PLEURA_HL7_CERTIFICATE_FILE": str(certificates.ours.certificate),
        "PLEURA_HL7_KEY_FILE": str(certificates.ours.key),
        "PLEURA_HL7_CA_FILE": str(certificates.authority),
    }


def test_a_report_goes_by_tls_and_the_end_of_the_certificate_is_kept(
    clinic: Clinic, certificates: Certificates
) -> None:
    with (
        running(Receiver(), shown(certificates, certificates.node)) as receiver,
        sending(clinic, receiver.port, **files(certificates)) as sender,
    ):
        target = add_target(clinic, receiver.port, fingerprint=certificates.node.fingerprint)
        sign(clinic, clinic.done())
        assert sent(clinic, sender, target).state is SendState.PROVEN
    assert len(receiver.messages) == 1
    with clinic.session as session:
        ends = session.get_one(ReportTarget, target.id).certificate_ends
    decoded = ssl._ssl._test_decode_cert(str(certificates.node.certificate))  # type: ignore[attr-defined]
    assert ends is not None
    assert ends.timestamp() == ssl.cert_time_to_seconds(decoded["notAfter"])


@pytest.mark.parametrize(
    ("by", "ours", "reason"),
    [
        ("other", True, "other_certificate"),
        ("node", False, "no_certificate"),
        ("plain", True, "no_connection"),
    ],
)
def test_another_certificate_and_no_tls_get_nothing(
    clinic: Clinic, certificates: Certificates, by: str, ours: bool, reason: str
) -> None:
    context = None if by == "plain" else shown(certificates, getattr(certificates, by))
    environ = files(certificates) if ours else {}
    with (
        running(Receiver(), context) as receiver,
        sending(clinic, receiver.port, seconds=1.0, **environ) as sender,
    ):
        target = add_target(clinic, receiver.port, fingerprint=certificates.node.fingerprint)
        sign(clinic, clinic.done())
        send = sent(clinic, sender, target)
    assert (send.state, send.reason) == (SendState.WAITING, reason)
    assert not any(b"PID" in one for one in receiver.raw)


def test_the_test_of_a_target_names_no_patient(clinic: Clinic) -> None:
    with running(Receiver(ack("AR", "Unknown message type"))) as receiver:
        target = add_target(clinic, receiver.port)
        settings = settings_to(clinic, receiver.port)
        with clinic.session as session:
            assert probe.test(session, clinic.admin, settings, target.id, NOW) == "answers"
            with pytest.raises(Denied):
                probe.test(session, clinic.mate, settings, target.id, NOW)
            targets.end(session, clinic.admin, target.id, NOW)
            with pytest.raises(Conflict):
                probe.test(session, clinic.admin, settings, target.id, NOW)
    (message,) = receiver.messages
    assert message.msh.msh_9.to_er7() == "NMQ^N01^NMQ_N01"
    assert [one[:3] for one in receiver.raw[0].split(b"\r") if one] == [b"MSH", b"NCK"]


def test_the_end_of_our_own_certificate_is_known(
    clinic: Clinic, certificates: Certificates, tmp_path: Path
) -> None:
    ends = targets.own_certificate_ends(settings_to(clinic, 9, **files(certificates)))
    assert ends is not None
    assert targets.own_certificate_ends(settings_to(clinic, 9)) is None
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    named = files(certificates) | {"PLEURA_HL7_CERTIFICATE_FILE": str(broken)}
    assert targets.own_certificate_ends(settings_to(clinic, 9, **named)) is None


def test_no_transaction_is_open_while_a_target_is_tested(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, was_open = socket.getaddrinfo, list[bool]()
    with running(Receiver()) as receiver, clinic.session as session:
        target = add_target(clinic, receiver.port)

        def noted(*given: Any, **named: Any) -> Any:
            was_open.append(session.in_transaction())
            return look_up(*given, **named)

        monkeypatch.setattr(socket, "getaddrinfo", noted)
        settings = settings_to(clinic, receiver.port)
        assert probe.test(session, clinic.admin, settings, target.id, NOW) == "answers"
    assert was_open
    assert not any(was_open)

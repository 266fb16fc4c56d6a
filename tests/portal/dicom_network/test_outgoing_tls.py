"""Calling a node by TLS: the certificate that is stated of it, or nothing."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from portal.dicom_network import classes
from portal.dicom_network.outgoing import echo
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.dicom.certificates import Certificates, Pair, made
from tests.support.dicom.listening import TITLE, add_node, settings_of
from xray_files import kinds


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("certificates"))


@contextmanager
def answering(
    certificates: Certificates, shown: Pair | None
) -> Iterator[tuple[int, list[evt.Event]]]:
    """The port of a node that answers echoes, by TLS with this certificate, or without; and a note
    of each connection to it.
    """
    context = None
    if shown is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        context.load_verify_locations(certificates.authority)
    entity = ApplicationEntity(TITLE)
    entity.add_supported_context(classes.VERIFICATION, [kinds.EXPLICIT, kinds.IMPLICIT])
    opened = list[evt.Event]()
    server = entity.start_server(
        (own_address(), 0),
        block=False,
        ssl_context=context,
        evt_handlers=[(evt.EVT_CONN_OPEN, opened.append)],
    )
    assert server is not None
    yield server.socket.getsockname()[1], opened
    server.shutdown()


def called(clinic: Clinic, port: int, fingerprint: str, ours: Certificates | None) -> str:
    node = add_node(clinic, host=own_address(), port=str(port), fingerprint=fingerprint)
    files = {}
    if ours is not None:
        files = {
            "PLEURA_DICOM_CERTIFICATE_FILE": str(ours.ours.certificate),
            "PLEURA_DICOM_KEY_FILE": str(ours.ours.key),
            "PLEURA_DICOM_CA_FILE": str(ours.authority),
        }
    allowed = f"private:{own_address()}:{port}"
    settings = settings_of(clinic, PLEURA_OUTGOING_HOSTS=allowed, **files)
    with clinic.session as session:
        return echo.test(session, clinic.admin, settings, node.id)


def test_a_node_that_shows_its_certificate_answers(
    clinic: Clinic, certificates: Certificates
) -> None:
    with answering(certificates, certificates.node) as (port, opened):
        assert called(clinic, port, certificates.node.fingerprint, certificates) == "answers"
    assert len(opened) == 1


def test_another_certificate_of_the_same_authority_is_left(
    clinic: Clinic, certificates: Certificates
) -> None:
    with answering(certificates, certificates.other) as (port, _):
        found = called(clinic, port, certificates.node.fingerprint, certificates)
    assert found == "no_association"


def test_a_node_with_a_certificate_is_never_called_without_tls(
    clinic: Clinic, certificates: Certificates
) -> None:
    with answering(certificates, None) as (port, opened):
        assert called(clinic, port, certificates.node.fingerprint, None) == "no_association"
    assert opened == []

"""Calling a node: an association to its host and port, by TLS where it has a certificate, within
limits.
"""

import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext

from portal.dicom_network import association, classes
from portal.dicom_network.memory import Held
from portal.exchange import outbound
from portal.listeners import peers
from portal.models import DicomNode
from portal.settings import Settings

DEFAULT_TITLE: Final = "PLEURA"
_ANSWER_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Takes:
    """How large a data set may be that comes on an association of ours, and what holds it."""

    most_bytes: int
    held: Held


def own_title(settings: Settings) -> str:
    """Our AE title, also where no listener is set up."""
    return settings.dicom.ae_title if settings.dicom else DEFAULT_TITLE


def associate(
    settings: Settings,
    title: str,
    node: DicomNode,
    contexts: list[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[tuple[Any, Callable[[Any], Any]]] = (),
    seconds: float = _ANSWER_SECONDS,
    takes: Takes | None = None,
) -> Any:
    """An association with a node for these contexts, None where it refuses it or does not answer.

    A node with a fingerprint is called by TLS alone, and is left where it shows another certificate
    or we have none. `seconds`: for each answer; `takes`: the data sets that may come on it. Raises
    NotAllowed where the list of outgoing hosts does not have the node's, OSError where its name
    leads nowhere.
    """
    assert node.host is not None
    assert node.port is not None
    target = outbound.judge_peer(node.host, node.port, settings.outgoing_hosts)
    tls = _tls(settings, node)
    if node.fingerprint is not None and tls is None:
        return None
    entity = ApplicationEntity(title)
    entity.implementation_class_uid = classes.implementation_uid()
    entity.implementation_version_name = classes.IMPLEMENTATION_NAME
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
    entity.connection_timeout = seconds
    found = entity.associate(
        target.address,
        target.port,
        contexts=contexts,
        ae_title=node.ae_title,
        ext_neg=list(roles),
        tls_args=tls,
        evt_handlers=list(handlers),
    )
    if not found.is_established:
        return None
    if node.fingerprint is not None and not _shows(found, node.fingerprint):
        found.abort()
        return None
    if takes is None:
        association.bound(found, seconds)
    else:
        association.bound(found, seconds, most_bytes=takes.most_bytes, held=takes.held)
    return found


def _shows(association: Any, fingerprint: str) -> bool:
    """Whether the peer's certificate is the one that is stated of the node."""
    connected = association.dul.socket.socket
    shown = (
        connected.getpeercert(binary_form=True) if isinstance(connected, ssl.SSLSocket) else None
    )
    return shown is not None and hashlib.sha256(shown).hexdigest() == fingerprint


def _tls(settings: Settings, node: DicomNode) -> tuple[ssl.SSLContext, str] | None:
    """TLS with our certificate for a node that shows one of its own; None for others."""
    files = settings.dicom.tls_files if settings.dicom is not None else None
    if node.fingerprint is None or files is None:
        return None
    return peers.calling_context(files), node.host or ""

"""Where a known system calls from and which certificate it shows, as both are stated of it; and TLS
in which it has to show one.
"""

import hashlib
import ipaddress
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from portal.errors import Invalid
from portal.languages import _

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_MOST_NETWORKS: Final = 16


def networks_of(text: str) -> list[str]:
    """Networks that were typed with blanks or commas between, each once; Invalid `networks`."""
    found = list[str]()
    for one in text.replace(",", " ").split():
        try:
            found.append(str(ipaddress.ip_network(one, strict=False)))
        except ValueError:
            raise Invalid(
                "networks", _("Addresses look like 10.1.2.3, networks like 10.1.2.0/24.")
            ) from None
    if len(found) > _MOST_NETWORKS:
        raise Invalid("networks", _("At most %(most)s addresses.", most=_MOST_NETWORKS))
    return list(dict.fromkeys(found))


def lies_in(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is in one of the networks; an IPv4 one also as IPv6 writes it."""
    try:
        called = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(called, ipaddress.IPv6Address) and called.ipv4_mapped is not None:
        called = called.ipv4_mapped
    return any(called in ipaddress.ip_network(one) for one in networks)


def fingerprint_of(text: str) -> str | None:
    """A certificate's SHA-256 as it was typed, None for an empty text; Invalid `fingerprint`."""
    fingerprint = text.replace(":", "").replace(" ", "").lower()
    if fingerprint and not _FINGERPRINT.fullmatch(fingerprint):
        raise Invalid(
            "fingerprint", _("The fingerprint is the certificate’s SHA-256: 64 hexadecimal digits.")
        )
    return fingerprint or None


def shows(fingerprint: str | None, certificate: bytes | None) -> bool:
    """Whether the certificate (DER) is the one that is stated. By TLS each system shows its own,
    and a system of which one is stated speaks TLS.
    """
    if certificate is None:
        return fingerprint is None
    return hashlib.sha256(certificate).hexdigest() == fingerprint


def tls_context(files: tuple[Path, Path, Path]) -> ssl.SSLContext:
    """TLS of 1.2 or newer in which every sender shows a certificate; OSError, ssl.SSLError for
    files that can't be read.
    """
    certificate, key, authorities = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    return context


def calling_context(files: tuple[Path, Path, Path]) -> ssl.SSLContext:
    """The same to call a system: with our certificate, to a peer whose certificate one of the
    authorities has signed. It is known by its fingerprint, which the caller compares, not by a host
    name: equipment has certificates without.
    """
    certificate, key, authorities = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    return context

"""Encryption: AES-256-GCM for values, files and streams, and keys derived by HKDF-SHA-256.

The only module that imports `cryptography`. Nonces are random, except those of a stream's chunks,
which count under a key of their own.
"""

import secrets
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portal.vault.blob_store import NotReadable

# Every sealed value begins with its nonce.
NONCE_BYTES: Final = 12


def derive(key: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, from another key."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"pleura:{purpose}".encode()).derive(
        key
    )


def seal(key: bytes, aad: str, data: bytes, before: bytes = b"") -> bytes:
    """Nonce, ciphertext and tag, behind `before`; `aad` names the place where the value belongs."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    # Joined once: a picture is tens of megabytes.
    return b"".join((before, nonce, AESGCM(key).encrypt(nonce, data, aad.encode())))


def open_sealed(key: bytes, aad: str, sealed: bytes | memoryview) -> bytes:
    """What `seal` sealed; NotReadable unless key, place and content are the same."""
    body = memoryview(sealed)  # its parts are no copies
    try:
        return AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], aad.encode())
    except (InvalidTag, ValueError) as error:
        raise NotReadable("a sealed value does not open") from error


class ChunkCipher:
    """Seals a long stream in chunks (the STREAM construction: a counter and a mark on the last).

    A chunk that was changed, moved, left out or cut off does not open. `header` stands in the
    clear before the chunks and is bound to each of them.
    """

    def __init__(self, key: bytes, salt: bytes, header: bytes) -> None:
        self._cipher = AESGCM(derive(key, f"chunks:{salt.hex()}"))
        self._header = header
        self._count = 0

    def seal(self, data: bytes, *, last: bool) -> bytes:
        """The next chunk, sealed."""
        sealed = self._cipher.encrypt(self._nonce(last), data, self._header)
        self._count += 1
        return sealed

    def open_(self, sealed: bytes, *, last: bool) -> bytes:
        """The next chunk, opened; NotReadable unless it is the next, whole, and (not) the last."""
        try:
            data = self._cipher.decrypt(self._nonce(last), sealed, self._header)
        except (InvalidTag, ValueError) as error:
            raise NotReadable("a chunk does not open") from error
        self._count += 1
        return data

    def _nonce(self, last: bool) -> bytes:
        return self._count.to_bytes(11, "big") + bytes([last])


def key_mark(key: bytes, salt: bytes) -> str:
    """A mark by which the key of a stream is recognised; nothing of the key follows from it."""
    return derive(key, f"mark:{salt.hex()}")[:8].hex()


def certificate_end(pem: bytes) -> datetime:
    """When the first certificate of a PEM file ends; ValueError for a file without one."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc

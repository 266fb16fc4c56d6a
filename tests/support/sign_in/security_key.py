"""A security key in software: signs as a WebAuthn authenticator, and with chosen errors."""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Device:
    """One credential on one device, with a counter."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    credential_id: bytes = field(default_factory=lambda: token_bytes(32))
    count: int = 0
    verifies: bool = True  # whether it asks for a fingerprint or PIN
    counts: bool = True  # one whose passkeys are on several devices always states 0

    def create(self, options: dict[str, Any], origin: str, **changes: Any) -> str:
        """The answer to navigator.credentials.create()."""
        numbers = self.key.public_key().public_numbers()
        point = {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        public = cbor2.dumps({1: 2, 3: changes.pop("algorithm", -7), -1: 1, **point})
        credential = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        rp_id = changes.pop("rp_id", options["rp"]["id"])
        data = self._data(rp_id, ATTESTED) + credential + public
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options, origin, **changes)
        return self._answer(
            {
                "clientDataJSON": bytes_to_base64url(client),
                "attestationObject": bytes_to_base64url(attestation),
                "transports": ["usb", "telepathy"],
            }
        )

    def get(self, options: dict[str, Any], origin: str, **changes: Any) -> str:
        """The answer to navigator.credentials.get()."""
        self.count += self.counts
        data = self._data(changes.pop("rp_id", options["rpId"]))
        handle = changes.pop("user_handle", None)
        client = self._client("webauthn.get", options, origin, **changes)
        signed = data + hashlib.sha256(client).digest()
        return self._answer(
            {
                "clientDataJSON": bytes_to_base64url(client),
                "authenticatorData": bytes_to_base64url(data),
                "signature": bytes_to_base64url(self.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
                **({} if handle is None else {"userHandle": bytes_to_base64url(handle)}),
            }
        )

    def _data(self, rp_id: str, flags: int = 0) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client(self, kind: str, options: dict[str, Any], origin: str, **changes: Any) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": origin} | changes
        return json.dumps(data).encode()

    def _answer(self, response: dict[str, Any]) -> str:
        name = bytes_to_base64url(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})

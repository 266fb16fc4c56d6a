"""The settings of the HL7 listener: where it listens, as whom, and how much it takes."""

import ipaddress
from typing import Annotated, Final

from pydantic import AfterValidator

from portal.settings.declaration import OptionalPath, WholeNumber, YesOrNo, variable
from portal.settings.network import listener

_LONGEST_NAME: Final = 180
# What stands between the parts of a message can't stand in a name.
_SEPARATORS: Final = frozenset("|^~\\&#")


def _name(text: str) -> str:
    good = text.isascii() and text.isprintable() and not _SEPARATORS & set(text)
    if not good or not 0 < len(text) <= _LONGEST_NAME:
        raise ValueError("must be 1 to 180 characters of ASCII, without | ^ ~ \\ & #")
    return text


class Hl7(listener.Listener):
    """The listener; None where no port is set."""

    port: WholeNumber = listener.port("PLEURA_HL7_PORT", "hl7-listener", 2575)
    host: str = listener.host("PLEURA_HL7_HOST")
    certificate_file: OptionalPath = listener.certificate_file("PLEURA_HL7_CERTIFICATE_FILE")
    key_file: OptionalPath = listener.key_file("PLEURA_HL7_KEY_FILE")
    ca_file: OptionalPath = listener.ca_file("PLEURA_HL7_CA_FILE")
    application: Annotated[str, AfterValidator(_name)] = variable(
        "PLEURA_HL7_APPLICATION", "PLEURA", "Its name in its answers (MSH-3)."
    )
    facility: Annotated[str, AfterValidator(_name)] = variable(
        "PLEURA_HL7_FACILITY", "PLEURA", "Its facility in its answers (MSH-4)."
    )
    plain: YesOrNo = variable(
        "PLEURA_HL7_PLAIN",
        False,
        "Listen without TLS at an address that is no loopback: messages name patients, so only in "
        "a network that nobody else reads.",
    )
    max_connections: WholeNumber = variable(
        "PLEURA_HL7_MAX_CONNECTIONS", 20, "How many connections at a time.", ge=1, le=1000
    )
    max_message_kb: WholeNumber = variable(
        "PLEURA_HL7_MAX_MESSAGE_KB", 512, "Largest message, in KiB.", ge=1, le=16384
    )
    messages_per_hour: WholeNumber = variable(
        "PLEURA_HL7_MESSAGES_PER_HOUR",
        20000,
        "How many messages one node may send within an hour; what is beyond is answered AE, so "
        "that the sender tries again. 0: no limit.",
        ge=0,
        le=10_000_000,
    )
    frame_seconds: WholeNumber = variable(
        "PLEURA_HL7_FRAME_SECONDS",
        30,
        "A message must arrive within that time, from its first byte to its last.",
        ge=1,
        le=600,
    )
    idle_seconds: WholeNumber = variable(
        "PLEURA_HL7_IDLE_SECONDS",
        3600,
        "A connection without a message for so long is ended.",
        ge=5,
        le=86400,
    )
    keep_days: WholeNumber = variable(
        "PLEURA_HL7_KEEP_DAYS",
        90,
        "Orders, reports and merges whose exam has not come after so many days are removed; so "
        "long a message that comes again is known.",
        ge=1,
        le=3660,
    )

    @property
    def max_message_bytes(self) -> int:
        """Largest message in bytes."""
        return self.max_message_kb * 1024

    def problem(self) -> str | None:
        """A sentence for what does not go together."""
        found = super().problem()
        if found is None and not self.tls_files and not self.plain and not _is_loopback(self.host):
            return (
                "PLEURA_HL7_HOST is no loopback address: give the TLS files "
                "(PLEURA_HL7_CERTIFICATE_FILE, …), or set PLEURA_HL7_PLAIN=yes."
            )
        return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

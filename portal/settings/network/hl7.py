"""The settings of the HL7 listener: where it listens, as whom, and how much it takes."""

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from portal.settings.declaration import MODEL, OptionalPath, WholeNumber, YesOrNo, variable

_LONGEST_NAME: Final = 180
# What stands between the parts of a message can't stand in a name.
_SEPARATORS: Final = frozenset("|^~\\&#")


def _name(text: str) -> str:
    good = text.isascii() and text.isprintable() and not _SEPARATORS & set(text)
    if not good or not 0 < len(text) <= _LONGEST_NAME:
        raise ValueError("must be 1 to 180 characters of ASCII, without | ^ ~ \\ & #")
    return text


class Hl7(BaseModel):
    """The listener; None where no port is set."""

    model_config: ClassVar[ConfigDict] = MODEL

    port: WholeNumber = variable(
        "PLEURA_HL7_PORT",
        ...,
        "The port of `python -m portal hl7-listener`, such as 2575; 0: a free one.",
        ge=0,
        le=65535,
    )
    host: str = variable(
        "PLEURA_HL7_HOST", "127.0.0.1", "The address it listens at; 0.0.0.0: every one."
    )
    application: Annotated[str, AfterValidator(_name)] = variable(
        "PLEURA_HL7_APPLICATION", "PLEURA", "Its name in its answers (MSH-3)."
    )
    facility: Annotated[str, AfterValidator(_name)] = variable(
        "PLEURA_HL7_FACILITY", "PLEURA", "Its facility in its answers (MSH-4)."
    )
    certificate_file: OptionalPath = variable(
        "PLEURA_HL7_CERTIFICATE_FILE",
        None,
        "Its TLS certificate (PEM), with those between it and the authority. With it the port "
        "speaks TLS alone.",
    )
    key_file: OptionalPath = variable(
        "PLEURA_HL7_KEY_FILE", None, "The private key (PEM) of this certificate."
    )
    ca_file: OptionalPath = variable(
        "PLEURA_HL7_CA_FILE",
        None,
        "The certificates (PEM) of the authorities that have signed those of the senders, or these "
        "themselves. Every sender must show one; which one is stated of each sender.",
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
    def tls_files(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and authorities; None where it speaks without TLS."""
        if self.certificate_file is None or self.key_file is None or self.ca_file is None:
            return None
        return self.certificate_file, self.key_file, self.ca_file

    @property
    def max_message_bytes(self) -> int:
        """Largest message in bytes."""
        return self.max_message_kb * 1024

    def problem(self) -> str | None:
        """A sentence for what does not go together."""
        files = (self.certificate_file, self.key_file, self.ca_file)
        if any(files) and not all(files):
            return (
                "PLEURA_HL7_CERTIFICATE_FILE, PLEURA_HL7_KEY_FILE and PLEURA_HL7_CA_FILE must be "
                "given together."
            )
        if not any(files) and not self.plain and not _is_loopback(self.host):
            return (
                "PLEURA_HL7_HOST is no loopback address: give the TLS files "
                "(PLEURA_HL7_CERTIFICATE_FILE, …), or set PLEURA_HL7_PLAIN=yes."
            )
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

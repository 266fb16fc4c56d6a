"""The settings of the DICOM listener: where it listens, as whom, and how much it takes."""

from typing import Annotated, Final

from pydantic import AfterValidator

from portal.settings.declaration import OptionalPath, WholeNumber, variable
from portal.settings.network import listener

_LONGEST_TITLE: Final = 16


def _ae_title(text: str) -> str:
    good = text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()
    if not good or not 0 < len(text) <= _LONGEST_TITLE:
        raise ValueError("must be an AE title: 1 to 16 characters of ASCII, without a backslash")
    return text


class Dicom(listener.Listener):
    """The listener; None where no port is set."""

    port: WholeNumber = listener.port("PLEURA_DICOM_PORT", "dicom-listener", 11112)
    host: str = listener.host("PLEURA_DICOM_HOST")
    certificate_file: OptionalPath = listener.certificate_file(
        "PLEURA_DICOM_CERTIFICATE_FILE",
        "; for senders without TLS start a second listener on another port",
    )
    key_file: OptionalPath = listener.key_file("PLEURA_DICOM_KEY_FILE")
    ca_file: OptionalPath = listener.ca_file("PLEURA_DICOM_CA_FILE")
    ae_title: Annotated[str, AfterValidator(_ae_title)] = variable(
        "PLEURA_DICOM_AE_TITLE", "PLEURA", "Its AE title, by which senders must call it."
    )
    max_associations: WholeNumber = variable(
        "PLEURA_DICOM_MAX_ASSOCIATIONS", 50, "How many associations at a time.", ge=1, le=1000
    )
    max_pdu: WholeNumber = variable(
        "PLEURA_DICOM_MAX_PDU",
        131072,
        "Largest message part (P-DATA) that senders may use, in bytes.",
        ge=4096,
        le=1048576,
    )
    idle_seconds: WholeNumber = variable(
        "PLEURA_DICOM_IDLE_SECONDS",
        60,
        "An association without anything sent for so long is ended; a part of a message must "
        "arrive within that time, too.",
        ge=5,
        le=3600,
    )

"""The settings of the DICOM listener: where it listens, as whom, and how much it takes."""

from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from portal.settings.declaration import MODEL, OptionalPath, WholeNumber, variable

_LONGEST_TITLE: Final = 16


def _ae_title(text: str) -> str:
    good = text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()
    if not good or not 0 < len(text) <= _LONGEST_TITLE:
        raise ValueError("must be an AE title: 1 to 16 characters of ASCII, without a backslash")
    return text


class Dicom(BaseModel):
    """The listener; None where no port is set."""

    model_config: ClassVar[ConfigDict] = MODEL

    port: WholeNumber = variable(
        "PLEURA_DICOM_PORT",
        ...,
        "The port of `python -m portal dicom-listener`, such as 11112; 0: a free one.",
        ge=0,
        le=65535,
    )
    host: str = variable(
        "PLEURA_DICOM_HOST", "127.0.0.1", "The address it listens at; 0.0.0.0: every one."
    )
    ae_title: Annotated[str, AfterValidator(_ae_title)] = variable(
        "PLEURA_DICOM_AE_TITLE", "PLEURA", "Its AE title, by which senders must call it."
    )
    certificate_file: OptionalPath = variable(
        "PLEURA_DICOM_CERTIFICATE_FILE",
        None,
        "Its TLS certificate (PEM), with those between it and the authority. With it the port "
        "speaks TLS alone; for senders without TLS start a second listener on another port.",
    )
    key_file: OptionalPath = variable(
        "PLEURA_DICOM_KEY_FILE", None, "The private key (PEM) of this certificate."
    )
    ca_file: OptionalPath = variable(
        "PLEURA_DICOM_CA_FILE",
        None,
        "The certificates (PEM) of the authorities that have signed those of the senders, or these "
        "themselves. Every sender must show one; which one is stated of each node.",
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

    @property
    def tls_files(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and authorities; None where it speaks without TLS."""
        if self.certificate_file is None or self.key_file is None or self.ca_file is None:
            return None
        return self.certificate_file, self.key_file, self.ca_file

    def problem(self) -> str | None:
        """A sentence for what does not go together."""
        files = (self.certificate_file, self.key_file, self.ca_file)
        if any(files) and not all(files):
            return (
                "PLEURA_DICOM_CERTIFICATE_FILE, PLEURA_DICOM_KEY_FILE and PLEURA_DICOM_CA_FILE "
                "must be given together."
            )
        return None

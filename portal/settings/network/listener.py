"""What the settings of every listener have in common: where it listens, and its TLS."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from portal.settings.declaration import MODEL, OptionalPath, WholeNumber, variable


class Listener(BaseModel):
    """A listener; None where no port is set."""

    model_config: ClassVar[ConfigDict] = MODEL

    port: WholeNumber
    host: str
    certificate_file: OptionalPath
    key_file: OptionalPath
    ca_file: OptionalPath

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
            of = type(self).model_fields
            certificate, key, authorities = (
                of[name].validation_alias for name in ("certificate_file", "key_file", "ca_file")
            )
            return f"{certificate}, {key} and {authorities} must be given together."
        return None


def port(name: str, command: str, usual: int) -> Any:
    """The port of a command, which is the first variable of its listener."""
    return variable(
        name,
        ...,
        f"The port of `python -m portal {command}`, such as {usual}; 0: a free one.",
        ge=0,
        le=65535,
    )


def host(name: str) -> Any:
    """The address."""
    return variable(name, "127.0.0.1", "The address it listens at; 0.0.0.0: every one.")


def certificate_file(name: str, more: str = "") -> Any:
    """The certificate."""
    return variable(
        name,
        None,
        "Its TLS certificate (PEM), with those between it and the authority. With it the port "
        f"speaks TLS alone{more}.",
    )


def key_file(name: str) -> Any:
    """The certificate's key."""
    return variable(name, None, "The private key (PEM) of this certificate.")


def ca_file(name: str) -> Any:
    """Whose certificates senders may show."""
    return variable(
        name,
        None,
        "The certificates (PEM) of the authorities that have signed those of the senders, or these "
        "themselves. Every sender must show one; which one is stated of each node.",
    )

"""The settings of notifications: the mail server and the webhook that events are sent to."""

import re
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from portal.settings import allowed_hosts
from portal.settings.declaration import MODEL, OptionalPath, WholeNumber, variable

_ADDRESS: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+", re.ASCII)
_SECRET_LENGTH: Final = 32


def _host(text: str) -> str:
    if not allowed_hosts.is_host_name(text):
        raise ValueError("must be the name of a host")
    return text.lower()


def _address(text: str) -> str:
    if len(text) > 254 or not _ADDRESS.fullmatch(text):
        raise ValueError("must be an e-mail address such as pleura@example.org")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.username is not None or parts.fragment or not text.isascii():
        raise ValueError("must be an address such as https://hooks.example.org/pleura")
    return text


def _secret(text: str) -> str:
    if len(text) < _SECRET_LENGTH:
        raise ValueError(f"must have at least {_SECRET_LENGTH} characters")
    return text


class Smtp(BaseModel):
    """The mail server, and who the mails are from."""

    model_config: ClassVar[ConfigDict] = MODEL

    host: Annotated[str, AfterValidator(_host)] = variable(
        "PLEURA_SMTP_HOST",
        ...,
        "The mail server that sends notifications of critical findings. It must be listed in "
        "PLEURA_OUTGOING_HOSTS with its port, as in `private:mail.example.org:587`.",
    )
    port: WholeNumber = variable("PLEURA_SMTP_PORT", 587, "Its port.", ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = variable(
        "PLEURA_SMTP_SECURITY",
        "starttls",
        "starttls, tls (from the first byte, usually port 465), or none, which production refuses. "
        "The certificate must be the host's.",
    )
    user: str = variable("PLEURA_SMTP_USER", "", "Who signs in there; none: nobody does.")
    password: str = variable("PLEURA_SMTP_PASSWORD", "", "The password of this user.", secret=True)
    sender: Annotated[str, AfterValidator(_address)] = variable(
        "PLEURA_SMTP_SENDER", ..., "The e-mail address that the notifications are from."
    )

    ca_file: OptionalPath = variable("PLEURA_CA_FILE", None, "")


class Webhook(BaseModel):
    """The one address that is called with each event, and the secret that signs the calls."""

    model_config: ClassVar[ConfigDict] = MODEL

    url: Annotated[str, AfterValidator(_url)] = variable(
        "PLEURA_WEBHOOK_URL",
        ...,
        "An address that each event of a critical finding is posted to: event, case number, team "
        "and link. Its host must be listed in PLEURA_OUTGOING_HOSTS.",
    )
    secret: Annotated[str, AfterValidator(_secret)] = variable(
        "PLEURA_WEBHOOK_SECRET",
        ...,
        "Signs the calls (HMAC-SHA256); at least 32 characters.",
        secret=True,
    )

    ca_file: OptionalPath = variable("PLEURA_CA_FILE", None, "")

"""Tickets: signed, expiring tokens of one job and one attempt, for one worker."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from portal.jobs.errors import BadTicket
from portal.settings import Settings


@dataclass(frozen=True, slots=True)
class Ticket:
    """What its bearer may do: this attempt at this job, as long as its worker's token works."""

    job_id: UUID
    attempt: int
    token_id: UUID | None = None


def issue(settings: Settings, ticket: Ticket, now: datetime) -> str:
    """Make a ticket that lasts for Redis' visibility timeout."""
    expires = now + timedelta(seconds=settings.visibility_seconds)
    token = ticket.token_id.hex if ticket.token_id else ""
    claims = [ticket.job_id.hex, ticket.attempt, int(expires.timestamp()), token]
    text = _serializer(settings).dumps(claims)
    return text if isinstance(text, str) else text.decode("ascii")


def read(settings: Settings, text: str, job_id: UUID, now: datetime) -> Ticket:
    """The ticket, or BadTicket unless it is genuine, for this job and not expired."""
    ticket = _read(settings, text, now)
    if ticket.job_id != job_id:
        raise BadTicket
    return ticket


def is_genuine(settings: Settings, text: str, now: datetime) -> bool:
    """Whether the text is a ticket of any job that has not expired."""
    try:
        _read(settings, text, now)
    except BadTicket:
        return False
    return True


def _read(settings: Settings, text: str, now: datetime) -> Ticket:
    try:
        job, attempt, expires, token = _serializer(settings).loads(text)
        ticket = Ticket(UUID(hex=job), int(attempt), UUID(hex=token) if token else None)
        end = datetime.fromtimestamp(expires, UTC)
    except (BadData, ValueError, TypeError, AttributeError, OverflowError, OSError):
        raise BadTicket from None
    if now >= end:
        raise BadTicket
    return ticket


def _serializer(settings: Settings) -> URLSafeSerializer:
    # The signing key is derived from the secret and the salt: a ticket is no other token.
    return URLSafeSerializer(
        settings.secret_key,
        salt="pleura.ticket",
        signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
    )

"""Tickets: signed tokens of one job and one attempt, for one worker.

A ticket is of use as long as its attempt runs, which the ledger ends by the database's clock
(`claims.heartbeat`): two portals whose clocks differ accept each other's. The time in it only lets
the server forget old ones.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from portal.jobs.errors import BadTicket
from portal.settings import Settings

# So far the clocks of portals may be apart for the server's own question (`is_genuine`).
_CLOCKS_APART: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What its bearer may do: this attempt at this job, as long as its worker's token works."""

    job_id: UUID
    attempt: int
    token_id: UUID | None = None


def issue(settings: Settings, ticket: Ticket, now: datetime) -> str:
    """Make a ticket of an attempt that begins now."""
    expires = now + timedelta(seconds=settings.visibility_seconds)
    token = ticket.token_id.hex if ticket.token_id else ""
    claims = [ticket.job_id.hex, ticket.attempt, int(expires.timestamp()), token]
    text = _serializer(settings).dumps(claims)
    return text if isinstance(text, str) else text.decode("ascii")


def read(settings: Settings, text: str, job_id: UUID) -> Ticket:
    """The ticket, or BadTicket unless it is genuine and for this job."""
    ticket, _ = _read(settings, text)
    if ticket.job_id != job_id:
        raise BadTicket
    return ticket


def is_genuine(settings: Settings, text: str, now: datetime) -> bool:
    """Whether the text is a ticket of any job whose attempt has not ended days ago."""
    try:
        _, end = _read(settings, text)
    except BadTicket:
        return False
    return (now - _CLOCKS_APART).timestamp() < end


def _read(settings: Settings, text: str) -> tuple[Ticket, int]:
    """The ticket, and when its attempt ends at the latest by the clock of who gave it."""
    try:
        job, attempt, end, token = _serializer(settings).loads(text)
        return Ticket(UUID(hex=job), int(attempt), UUID(hex=token) if token else None), int(end)
    except (BadData, ValueError, TypeError, AttributeError, OverflowError):
        raise BadTicket from None


def _serializer(settings: Settings) -> URLSafeSerializer:
    # The signing key is derived from the secret and the salt: a ticket is no other token.
    return URLSafeSerializer(
        settings.secret_key,
        salt="pleura.ticket",
        signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
    )

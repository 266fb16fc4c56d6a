"""One call of the webhook: a signed body of JSON, which names no patient.

The signature is HMAC-SHA256 over `timestamp.body`, in hexadecimal: whoever receives a call compares
it, and refuses one whose time stamp is old. A call that is sent again has the same event id.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime

from portal.exchange import outbound
from portal.exchange.outbound import Target
from portal.settings.notifications import Webhook


class CallRefused(Exception):
    """The other side did not accept a call. `is_final`: it never will."""

    def __init__(self, code: str, *, is_final: bool) -> None:
        super().__init__(code)
        self.code = code
        self.is_final = is_final


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What `Pleura-Signature` holds behind `sha256=`."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def call(
    webhook: Webhook,
    target: Target,
    event: Mapping[str, str],
    now: datetime,
    *,
    seconds: float,
) -> None:
    """Post an event, `event["id"]` among it; CallRefused for any answer but 2xx, OSError for none.

    It ends within `seconds`. A redirect is not followed: it is an answer that does not accept.
    """
    body = json.dumps(event, sort_keys=True, separators=(",", ":")).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Pleura",
        "Pleura-Event-Id": event["id"],
        "Pleura-Timestamp": timestamp,
        "Pleura-Signature": f"sha256={signature(webhook.secret, timestamp, body)}",
    }
    answer = outbound.call(
        *("POST", target, body, headers),
        seconds=seconds,
        max_bytes=1024,
        ends_after=seconds,
        ca_file=webhook.ca_file,
    )
    if not 200 <= answer.status < 300:
        raise CallRefused(f"http_{answer.status}", is_final=answer.status == 410)

"""Whether mail server and webhook can be reached as the settings state; nothing is sent."""

from collections.abc import Iterator
from typing import Final

from portal.exchange import mail, outbound
from portal.exchange.mail import MailRefused
from portal.exchange.outbound import NotAllowed
from portal.exchange.outbox import Peers
from portal.operations.check import Check
from portal.settings import Settings

_SECONDS: Final = 10.0
_NOT_ALLOWED: Final = {
    "not_listed": "it is not in PLEURA_OUTGOING_HOSTS",
    "not_https": "plain http is not allowed for it",
    "not_public": "its address is not public",
    "not_found": "its name is not found",
    "not_an_address": "it is no address",
}
_LIST: Final = (
    "List it in PLEURA_OUTGOING_HOSTS as [http:][private:]name[:port]: a mail server with its "
    "port, an address in the house as private."
)


def of(settings: Settings, peers: Peers | None = None) -> Iterator[Check]:
    """A line for each of the two."""
    places = peers or Peers.of(settings)
    yield _mail(settings, places)
    yield _webhook(settings, places)


def _mail(settings: Settings, places: Peers) -> Check:
    if settings.smtp is None:
        return Check("mail", "ok", "not set up: critical findings are shown on the pages alone")
    try:
        mail.try_out(settings.smtp, places.mail(), seconds=_SECONDS)
    except NotAllowed as refused:
        return Check("mail", "failed", _NOT_ALLOWED[refused.code], _LIST)
    except (MailRefused, OSError) as error:
        code = error.code if isinstance(error, MailRefused) else type(error).__name__
        advice = "Compare the PLEURA_SMTP_ settings with those of the mail server, and its log."
        return Check("mail", "failed", f"the mail server does not take it ({code})", advice)
    return Check("mail", "ok", f"{settings.smtp.host} answers")


def _webhook(settings: Settings, places: Peers) -> Check:
    if settings.webhook is None:
        return Check("webhook", "ok", "not set up")
    try:
        outbound.reach(places.webhook(), _SECONDS, settings.webhook.ca_file)
    except NotAllowed as refused:
        return Check("webhook", "failed", _NOT_ALLOWED[refused.code], _LIST)
    except OSError as error:
        text = f"its host can't be reached ({type(error).__name__})"
        return Check("webhook", "failed", text, "Start it, and check its certificate.")
    return Check("webhook", "ok", "its host answers")

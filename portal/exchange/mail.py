"""One e-mail to the mail server of the settings, whose address is judged like any other host's."""

import contextlib
import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from portal.exchange import outbound
from portal.exchange.outbound import Target
from portal.settings.notifications import Smtp


class MailRefused(Exception):
    """The mail server does not take it. `is_final`: it never will."""

    def __init__(self, code: str, *, is_final: bool) -> None:
        super().__init__(code)
        self.code = code
        self.is_final = is_final


def message(
    smtp: Smtp, to: str, subject: str, text: str, *, message_id: UUID, host: str, now: datetime
) -> EmailMessage:
    """A plain text mail. With the same `message_id` again it is the same one to who receives it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = smtp.sender, to, subject
    mail["Message-ID"] = f"<{message_id}@{host}>"
    mail["Date"] = format_datetime(now)
    mail["Auto-Submitted"] = "auto-generated"  # no answer by an absent person's program
    mail.set_content(text)
    return mail


def send(smtp: Smtp, target: Target, mail: EmailMessage, *, seconds: float) -> None:
    """Hand a mail over; MailRefused or OSError where it was not taken. It ends within `seconds`."""
    client = _Client(smtp, target, seconds)
    with outbound.ending(client.end, seconds):
        try:
            _hand_over(smtp, client, mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise MailRefused("recipient", is_final=min(codes, default=0) >= 500) from None
        except smtplib.SMTPAuthenticationError:
            raise MailRefused("sign_in", is_final=False) from None
        except smtplib.SMTPResponseException as error:
            raise MailRefused(f"smtp_{error.smtp_code}", is_final=False) from None
        except smtplib.SMTPException as error:
            raise MailRefused(_code_of(error), is_final=False) from None
        finally:
            client.close()


def try_out(smtp: Smtp, target: Target, *, seconds: float) -> None:
    """Connect and sign in without sending anything; MailRefused or OSError as `send`."""
    client = _Client(smtp, target, seconds)
    with outbound.ending(client.end, seconds):
        try:
            _greet(smtp, client)
            client.quit()
        except smtplib.SMTPAuthenticationError:
            raise MailRefused("sign_in", is_final=False) from None
        except smtplib.SMTPException as error:
            raise MailRefused(_code_of(error), is_final=False) from None
        finally:
            client.close()


def _hand_over(smtp: Smtp, client: "_Client", mail: EmailMessage) -> None:
    _greet(smtp, client)
    client.send_message(mail)
    with contextlib.suppress(smtplib.SMTPException):  # it was taken
        client.quit()


def _greet(smtp: Smtp, client: "_Client") -> None:
    client.connect(client.target.host, client.target.port)
    if smtp.security == "starttls":
        client.starttls(context=_context(smtp))
    if smtp.user:
        client.login(smtp.user, smtp.password)


def _context(smtp: Smtp) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(smtp.ca_file) if smtp.ca_file else None)


def _code_of(error: Exception) -> str:
    return {"SMTPServerDisconnected": "disconnected", "SMTPNotSupportedError": "no_tls"}.get(
        type(error).__name__, "smtp"
    )


class _Client(smtplib.SMTP):
    """A client that connects to the judged address, and checks the certificate of its host."""

    def __init__(self, smtp: Smtp, target: Target, seconds: float) -> None:
        super().__init__(timeout=seconds, local_hostname="pleura")
        self.target = target
        self._smtp = smtp
        self._opened: Any = None
        self._host = target.host  # what `starttls` compares the certificate with

    def _get_socket(self, _host: str, _port: int, timeout: float) -> Any:
        context = _context(self._smtp) if self._smtp.security == "tls" else None
        self._opened = outbound.connect(self.target, timeout, context)
        return self._opened

    def end(self) -> None:
        """Let the thread that waits for this connection go on, with an error."""
        outbound.shut(self.sock)
        outbound.shut(self._opened)

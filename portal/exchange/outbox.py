"""Sending what the outbox holds (`critical.outbox`): e-mails and calls of the webhook.

Each message is claimed in one transaction, sent outside of any, and settled in another one. Who is
killed in between leaves a claim that lapses, so that every message is sent once at least; that it
came twice its receiver sees by the event's id. Nothing here names a patient.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.critical import outbox
from portal.database import DatabaseTime
from portal.exchange import mail, outbound, webhook
from portal.exchange.mail import MailRefused
from portal.exchange.outbound import NotAllowed, Target
from portal.exchange.webhook import CallRefused
from portal.languages import _, lazy, moment_text, speaking
from portal.models import (
    Channel,
    CriticalFinding,
    Language,
    Notification,
    NotificationState,
    Study,
    Team,
    User,
)
from portal.settings import Settings
from portal.studies import exams
from portal.teams.settings import settings_of

SECONDS: Final = 15.0  # for one message
MOST_ATTEMPTS: Final = 12  # within about five hours
_CLAIM: Final = 60.0  # seconds, by the database's clock: the process's may be wrong
_log = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 30.0
_LONGEST_PAUSE: Final = 3600.0
_LONGEST_WAIT: Final = timedelta(seconds=_LONGEST_PAUSE)
_REMEMBERED: Final = timedelta(days=90)
_TEXTS: Final = {
    outbox.OPENED: lazy(
        "A critical finding was stated. You are informed as the next on the rota: you are asked to "
        "see to it if nobody was informed in time."
    ),
    outbox.PASSED_ON: lazy(
        "You are asked to see to a critical finding: nobody was informed of it yet."
    ),
    outbox.UNANSWERED: lazy(
        "Everybody on the rota was asked to see to a critical finding, and nobody "
        "was informed of it yet. Call somebody."
    ),
    outbox.CLOSED: lazy("A critical finding is closed: somebody was informed of it."),
    outbox.WITHDRAWN: lazy("A finding is not critical any more."),
}


@dataclass(frozen=True, slots=True)
class Peers:
    """Where mail server and webhook are; NotAllowed where the settings do not allow them."""

    mail: Callable[[], Target]
    webhook: Callable[[], Target]

    @classmethod
    def of(cls, settings: Settings) -> "Peers":
        """Those of the settings, judged anew with each call."""

        def mail_server() -> Target:
            assert settings.smtp is not None
            smtp = settings.smtp
            return outbound.judge_peer(smtp.host, smtp.port, settings.outgoing_hosts)

        def called() -> Target:
            assert settings.webhook is not None
            return outbound.judge(settings.webhook.url, settings.outgoing_hosts)

        return cls(mail_server, called)


@dataclass(frozen=True, slots=True)
class _Message:
    """A claimed message and all that is sent of it."""

    id: UUID
    event_id: UUID
    event: str
    channel: Channel
    attempt: int
    claimed_until: datetime
    created: datetime
    address: str  # of the person, empty for none who can be written to
    study_id: UUID
    case_number: str
    team: str
    language: Language  # the team's


class _Dropped(Exception):
    """There is nobody to send it to."""


def send_due(
    sessions: Callable[[], Session],
    settings: Settings,
    channel: Channel,
    clock: Callable[[], datetime],
    *,
    peers: Peers | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Send what is due by this channel, one after the other; how many were sent.

    One about an exam that can't be read keeps back no other.
    """
    sent, unreadable = 0, set[UUID]()
    places = peers or Peers.of(settings)
    while may_go_on():
        with sessions() as session:
            message = _claim(session, channel, clock(), unreadable)
        if message is None:
            break
        state, error = _send(settings, places, message, clock())
        with sessions() as session:
            _settle(session, message, state, error, clock())
        sent += state is NotificationState.SENT
    return sent


def forget_old(session: Session, now: datetime) -> None:
    """Remove what was sent, or will not be, three months ago."""
    session.execute(
        delete(Notification).where(
            Notification.created < now - _REMEMBERED,
            Notification.state != NotificationState.WAITING,
        )
    )
    session.commit()


def pause_after(attempt: int) -> timedelta:
    """How long a message waits after an attempt that failed."""
    return timedelta(seconds=min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1)))


def _claim(
    session: Session, channel: Channel, now: datetime, unreadable: set[UUID]
) -> _Message | None:
    """The next message that is due, for this process alone until the claim lapses; without those
    that are `unreadable`, to which it adds.
    """
    while True:
        row = session.scalars(
            select(Notification)
            .where(
                Notification.state == NotificationState.WAITING,
                Notification.channel == channel,
                # What waits longer than any pause was dated by a clock that was ahead.
                or_(Notification.next_at <= now, Notification.next_at > now + _LONGEST_WAIT),
                or_(
                    Notification.claimed_until.is_(None),
                    Notification.claimed_until <= DatabaseTime(),
                ),
                Notification.id.not_in(unreadable),
            )
            .order_by(Notification.next_at, Notification.created, Notification.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        ).first()
        if row is None:
            session.commit()
            return None
        message_id = row.id
        try:
            message = _claimed(session, row)
        except database.UNREADABLE as error:
            session.rollback()
            if not database.is_damage(error):
                raise
            unreadable.add(message_id)
            _log.error("notification %s is not sent: its exam can't be read", message_id)
            continue
        session.commit()
        return message


def _claimed(session: Session, row: Notification) -> _Message:
    finding = session.get_one(CriticalFinding, row.finding_id)
    study = session.get_one(Study, exams.survivor_of(session, finding.study_id))
    user = session.get(User, row.user_id) if row.user_id is not None else None
    row.attempts += 1
    row.claimed_until = DatabaseTime(_CLAIM)
    session.flush()
    session.refresh(row)
    assert row.claimed_until is not None
    return _Message(
        id=row.id,
        event_id=row.event_id,
        event=row.event,
        channel=row.channel,
        attempt=row.attempts,
        claimed_until=row.claimed_until,
        created=row.created,
        address=user.email if user is not None and user.disabled_at is None else "",
        study_id=study.id,
        case_number=study.case_number,
        team=session.get_one(Team, finding.team_id).name,
        language=settings_of(session, finding.team_id).language,
    )


def _send(
    settings: Settings, peers: Peers, message: _Message, now: datetime
) -> tuple[NotificationState, str]:
    """Send a message; what becomes of it and why."""
    try:
        if message.channel is Channel.EMAIL:
            _mail(settings, peers, message)
        else:
            _call(settings, peers, message, now)
    except _Dropped as dropped:
        return NotificationState.DROPPED, str(dropped)
    except NotAllowed as refused:
        code, is_final = refused.code, False
    except (MailRefused, CallRefused) as refused:
        code, is_final = refused.code, refused.is_final
    except (OSError, ValueError) as error:
        code, is_final = _code_of(error), False
    else:
        return NotificationState.SENT, ""
    is_over = is_final or message.attempt >= MOST_ATTEMPTS
    return NotificationState.FAILED if is_over else NotificationState.WAITING, code[:40]


def _mail(settings: Settings, peers: Peers, message: _Message) -> None:
    if settings.smtp is None:
        raise _Dropped("not_set_up")
    if not message.address:
        raise _Dropped("disabled")
    with speaking(message.language):
        subject = _("Critical finding, case %(number)s", number=message.case_number)
        what = str(_TEXTS[message.event])
        where = _(
            "Case %(number)s, team %(team)s, %(time)s",
            number=message.case_number,
            team=message.team,
            time=moment_text(message.created),
        )
    made = mail.message(
        settings.smtp,
        message.address,
        subject,
        f"{what}\n\n{where}\n{_link(settings, message)}\n",
        message_id=message.id,
        host=urlsplit(settings.base_url).hostname or "pleura",
        now=message.created,
    )
    mail.send(settings.smtp, peers.mail(), made, seconds=SECONDS)


def _call(settings: Settings, peers: Peers, message: _Message, now: datetime) -> None:
    if settings.webhook is None:
        raise _Dropped("not_set_up")
    event = {
        "id": str(message.event_id),
        "event": message.event,
        "at": message.created.isoformat(),
        "case": message.case_number,
        "team": message.team,
        "link": _link(settings, message),
    }
    webhook.call(settings.webhook, peers.webhook(), event, now, seconds=SECONDS)


def _link(settings: Settings, message: _Message) -> str:
    return f"{settings.base_url}/studies/{message.study_id}"


def _code_of(error: Exception) -> str:
    return "timed_out" if isinstance(error, TimeoutError) else type(error).__name__


def _settle(
    session: Session, message: _Message, state: NotificationState, error: str, now: datetime
) -> None:
    """Write down what became of a message, unless its claim has lapsed and another has it."""
    row = session.get(Notification, message.id, with_for_update=True, populate_existing=True)
    if row is None or row.claimed_until != message.claimed_until:
        session.commit()
        return
    if row.state is NotificationState.WAITING or state is NotificationState.SENT:
        row.state, row.error = state, error
    row.claimed_until = None
    if state is NotificationState.WAITING:
        row.next_at = now + pause_after(message.attempt)
    if state is NotificationState.SENT:
        row.sent_at = now
    if state in (NotificationState.SENT, NotificationState.FAILED):
        detail = {"event": message.event, "channel": message.channel.value, "error": error}
        audit.append(
            session,
            f"notification_{state.value}",
            now=now,
            study_id=message.study_id,
            subject_id=row.user_id,
            detail=detail,
        )
    session.commit()

"""Notifications: once for each event, sent at least once, without a patient, whatever hangs."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from email.header import decode_header, make_header
from typing import Any

import pytest
from sqlalchemy import func, select

from portal.access import Denied
from portal.database import DatabaseTime
from portal.errors import Conflict
from portal.exchange import outbound, outbox, sent_messages
from portal.exchange.outbound import NotAllowed, Target
from portal.exchange.outbox import Peers
from portal.models import (
    AuditEvent,
    Channel,
    Language,
    Notification,
    NotificationState,
    Study,
    TeamChoices,
    User,
)
from portal.settings import Settings
from portal.settings.allowed_hosts import parse
from tests.portal.critical.test_communications import record
from tests.portal.critical.test_escalation import READ, WAIT, choose, reader
from tests.portal.critical.test_escalation import run as escalate
from tests.portal.critical.test_findings import exam, read
from tests.portal.exchange.test_webhook import SECRET, Hook
from tests.portal.exchange.test_webhook import hook as hook
from tests.support import wait
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.core import make_settings
from tests.support.paths import ROOT
from tests.support.servers.mail_server import Mailbox, mail_server
from tests.support.wait import only_on_sqlite

WAITING, SENT = NotificationState.WAITING, NotificationState.SENT
FAILED, DROPPED = NotificationState.FAILED, NotificationState.DROPPED


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


def settings_of(clinic: Clinic) -> Settings:
    return make_settings(
        clinic.core.data_dir,
        DATABASE_URL=clinic.core.settings.database_url,
        PLEURA_BASE_URL="https://pleura.example.org",
        PLEURA_SMTP_HOST="mail.example.org",
        PLEURA_SMTP_SENDER="pleura@example.org",
        PLEURA_SMTP_SECURITY="none",
        PLEURA_WEBHOOK_URL="https://hooks.example.org/in",
        PLEURA_WEBHOOK_SECRET=SECRET,
    )


def send(
    clinic: Clinic,
    hook: Hook | None,
    box: Mailbox | None,
    minutes: float,
    settings: Settings | None = None,
) -> int:
    """Send what is due at this minute by both channels, to servers on this machine."""

    def mail() -> Target:
        if box is None:
            raise NotAllowed("not_listed")
        return Target("", "mail.example.org", box.port, "", "127.0.0.1")

    def webhook() -> Target:
        if hook is None:
            raise NotAllowed("not_listed")
        return hook.target

    return sum(
        outbox.send_due(
            clinic.core.sessions,
            settings or settings_of(clinic),
            channel,
            lambda: after(minutes=minutes),
            peers=Peers(mail, webhook),
        )
        for channel in Channel
    )


def called(hook: Hook) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in hook.calls]


def rows(clinic: Clinic) -> list[Notification]:
    with clinic.session as session:
        query = select(Notification).order_by(Notification.created, Notification.id)
        return list(session.scalars(query))


def lapse(clinic: Clinic) -> None:
    """A claim's minute is over."""
    with clinic.session as session:
        for row in session.scalars(select(Notification)):
            if row.claimed_until is not None:
                row.claimed_until = DatabaseTime(-1)
        session.commit()


def test_each_event_is_sent_once_and_names_no_patient(
    clinic: Clinic, hook: Hook, box: Mailbox
) -> None:
    choose(clinic, reader(clinic, "First"))
    study_id = exam(clinic, "SECRET-ID")
    read(clinic, study_id, comment="A private remark.")
    assert send(clinic, hook, box, READ) == 2  # the first on the rota is informed at once
    assert send(clinic, hook, box, READ + 1) == 0
    escalate(clinic, READ + WAIT)
    assert send(clinic, hook, box, READ + WAIT) == 2
    escalate(clinic, READ + 2 * WAIT)
    assert send(clinic, hook, box, READ + 2 * WAIT) == 3
    record(clinic, study_id, minutes=80)
    assert send(clinic, hook, box, 80) == 1
    events = called(hook)
    assert [one["event"] for one in events] == [
        "critical_opened",
        "critical_passed_on",
        "critical_unanswered",
        "critical_closed",
    ]
    assert len({one["id"] for one in events}) == 4
    assert {tuple(sorted(one)) for one in events} == {("at", "case", "event", "id", "link", "team")}
    assert {one["link"] for one in events} == {f"https://pleura.example.org/studies/{study_id}"}
    expected = ["first@example.org"] * 3 + ["mate@example.org"]
    assert sorted(box.recipients) == expected
    everything = " ".join([*map(str, events), *(mail.as_string() for mail in box.mails)])
    for hidden in ("SECRET-ID", "PHANTOM", "1963", "private", "right", "Grün", "A-77"):
        assert hidden not in everything
    assert len({mail["Message-ID"] for mail in box.mails}) == 4
    with clinic.session as session:
        sent = select(func.count()).where(AuditEvent.event == "notification_sent")
        assert session.scalar(sent) == 8


def test_a_mail_is_in_the_language_of_the_team(clinic: Clinic, hook: Hook, box: Mailbox) -> None:
    choose(clinic, reader(clinic, "First"))
    study_id = exam(clinic, "SECRET-ID")
    with clinic.session as session:
        team_id = session.get_one(Study, study_id).team_id
        session.add(TeamChoices(team_id=team_id, language=Language.DE))
        session.commit()
    read(clinic, study_id)
    escalate(clinic, READ + WAIT)
    send(clinic, hook, box, READ + WAIT)
    at_opening, mail = box.mails
    number = study_id.hex[:6].upper()
    for one in (at_opening, mail):
        subject = str(make_header(decode_header(one["Subject"])))
        assert subject == f"Kritischer Befund, Fall {number}"
    text = mail.get_payload(decode=True).decode()
    assert "Sie werden gebeten" in text
    assert f"Fall {number}, Team " in text


def test_what_is_not_taken_is_tried_again_later_and_given_up_in_the_end(
    clinic: Clinic, hook: Hook
) -> None:
    read(clinic, exam(clinic))
    hook.status = 500
    minute, attempts = float(READ), 0
    while rows(clinic)[0].state is WAITING:
        attempts += 1
        assert send(clinic, hook, None, minute) == 0
        (row,) = rows(clinic)
        assert (row.attempts, row.error) == (attempts, "http_500")
        send(clinic, hook, None, minute)  # not yet due
        assert len(hook.calls) == attempts
        pause = outbox.pause_after(attempts)
        assert row.state is FAILED or row.next_at == after(minutes=minute) + pause
        minute += pause.total_seconds() / 60
    assert (rows(clinic)[0].state, attempts) == (FAILED, outbox.MOST_ATTEMPTS)
    assert {headers["Pleura-Event-Id"] for headers, _ in hook.calls} == {
        str(rows(clinic)[0].event_id)
    }
    with clinic.session as session:
        (line,) = sent_messages.messages(session, clinic.admin).lines
        assert (line.state, line.error, line.to) == (FAILED, "http_500", "")
        with pytest.raises(Denied):
            sent_messages.retry(session, clinic.mate, line.id, after(minutes=minute))
        sent_messages.retry(session, clinic.admin, line.id, after(minutes=minute))
    hook.status = 200
    assert send(clinic, hook, None, minute) == 1
    with clinic.session as session, pytest.raises(Conflict):
        sent_messages.retry(session, clinic.admin, line.id, after(minutes=minute))


def test_what_a_clock_ahead_has_put_off_is_sent_once_the_clock_is_right(
    clinic: Clinic, hook: Hook
) -> None:
    read(clinic, exam(clinic))
    hook.status = 500
    assert send(clinic, hook, None, READ + 24 * 60) == 0
    assert rows(clinic)[0].next_at > after(days=1)
    hook.status = 200
    assert send(clinic, hook, None, READ + 1) == 1


def test_who_is_killed_while_sending_leaves_it_to_another(clinic: Clinic, hook: Hook) -> None:
    """The same call twice, with one id: by that its receiver knows it."""
    read(clinic, exam(clinic))
    with clinic.session as session:
        first = outbox._claim(session, Channel.WEBHOOK, after(minutes=READ), set())
    assert first is not None
    place = Peers(lambda: hook.target, lambda: hook.target)
    outbox._send(settings_of(clinic), place, first, after(minutes=READ))  # and is killed here
    assert send(clinic, hook, None, READ + 600) == 0  # its claim lasts by the database's clock
    lapse(clinic)
    assert send(clinic, hook, None, READ + 1.1) == 1
    assert len(hook.calls) == 2
    assert len({headers["Pleura-Event-Id"] for headers, _ in hook.calls}) == 1
    with clinic.session as session:  # the first comes back: its claim is nobody's any more
        outbox._settle(session, first, FAILED, "late", after(minutes=READ + 2))
    assert rows(clinic)[0].state is SENT


def test_a_process_that_is_killed_while_it_sends_loses_nothing(clinic: Clinic, hook: Hook) -> None:
    read(clinic, exam(clinic))
    hook.behaviour = "silent"
    url = clinic.core.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.support.served.sender", str(clinic.core.data_dir), url]
    now = after(minutes=READ).isoformat()
    with subprocess.Popen([*command, str(hook.port), now], cwd=ROOT) as sender:
        assert wait.until(lambda: len(hook.calls) == 1)
        sender.kill()
    assert rows(clinic)[0].state is WAITING
    hook.behaviour = ""
    assert send(clinic, hook, None, READ + 0.5) == 0
    lapse(clinic)
    assert send(clinic, hook, None, READ + 1.1) == 1
    assert len({headers["Pleura-Event-Id"] for headers, _ in hook.calls}) == 1
    assert send(clinic, hook, None, READ + 60) == 0


def test_two_senders_do_not_send_it_twice(clinic: Clinic, hook: Hook) -> None:
    read(clinic, exam(clinic))
    with clinic.session as one, clinic.session as other:
        now = after(minutes=READ)
        taken = outbox._claim(one, Channel.WEBHOOK, now, set())
        assert (taken is not None, outbox._claim(other, Channel.WEBHOOK, now, set())) == (
            True,
            None,
        )


def test_a_message_about_an_exam_that_cannot_be_read_keeps_back_no_other(
    clinic: Clinic, hook: Hook
) -> None:
    only_on_sqlite(clinic.core.engine)
    damaged, other = exam(clinic, "A"), exam(clinic, "B", 2)
    for study_id in (damaged, other):
        read(clinic, study_id)
    with clinic.session as session:
        number = session.get_one(Study, other).case_number
    spoil(clinic.core, "studies", "created", "xx", f"id = '{damaged.hex}'")
    assert send(clinic, hook, None, READ) == 1
    assert [one["case"] for one in called(hook)] == [number]
    assert sorted(row.state for row in rows(clinic)) == sorted([SENT, WAITING])


def test_what_nobody_can_get_is_dropped(clinic: Clinic, hook: Hook, box: Mailbox) -> None:
    person = reader(clinic, "First")
    choose(clinic, person)
    read(clinic, exam(clinic))
    bare = make_settings(clinic.core.data_dir, DATABASE_URL=clinic.core.settings.database_url)
    send(clinic, hook, box, READ, bare)
    assert {(row.state, row.error) for row in rows(clinic)} == {(DROPPED, "not_set_up")}
    at_opening = len(rows(clinic))
    escalate(clinic, READ + WAIT)
    with clinic.session as session:
        session.get_one(User, person).disabled_at = after(minutes=READ + WAIT)
        session.commit()
    send(clinic, hook, box, READ + WAIT)
    states = {row.channel: (row.state, row.error) for row in rows(clinic)[at_opening:]}
    assert states == {Channel.EMAIL: (DROPPED, "disabled"), Channel.WEBHOOK: (SENT, "")}
    assert box.mails == []


def test_a_webhook_that_is_not_allowed_is_not_called(clinic: Clinic, hook: Hook) -> None:
    read(clinic, exam(clinic))
    settings = settings_of(clinic)
    outbox.send_due(
        clinic.core.sessions, settings, Channel.WEBHOOK, lambda: after(minutes=READ)
    )  # its host is not in the list
    (row,) = rows(clinic)
    assert (row.state, row.error) == (WAITING, "not_listed")


def test_peers_are_judged_by_the_list_of_the_settings() -> None:
    allowed = parse("mail.example.org:587, private:inside.example.org:25, plain.example.org")
    judge = outbound.judge_peer
    public = {"mail.example.org": "93.184.215.14", "inside.example.org": "10.0.0.7"}

    def resolve(name: str, _port: int) -> list[str]:
        return [public.get(name, "127.0.0.1")]

    assert judge("mail.example.org", 587, allowed, resolve).address == "93.184.215.14"
    assert judge("inside.example.org", 25, allowed, resolve).address == "10.0.0.7"
    for name, port in (
        ("mail.example.org", 25),
        ("plain.example.org", 587),
        ("elsewhere.example.org", 587),
        ("[::1]", 25),
    ):
        with pytest.raises(NotAllowed):
            judge(name, port, allowed, resolve)
    with pytest.raises(NotAllowed, match="not_public"):
        judge("inside.example.org", 25, allowed, lambda _name, _port: ["127.0.0.1"])


def test_a_webhook_that_hangs_holds_nobody_up(
    clinic: Clinic, hook: Hook, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SECONDS", 0.4)
    hook.behaviour = "silent"
    choose(clinic, reader(clinic, "First"))
    read(clinic, exam(clinic))
    escalate(clinic, READ + WAIT)
    began = time.monotonic()
    assert send(clinic, hook, box, READ + WAIT) == 2  # the mails
    assert time.monotonic() - began < 3
    assert len(box.mails) == 2
    assert {row.state for row in rows(clinic) if row.channel is Channel.WEBHOOK} == {WAITING}
    read(clinic, exam(clinic, "B", 2), now=after(minutes=READ + WAIT))  # no lock is held


def test_what_was_sent_long_ago_is_forgotten(clinic: Clinic, hook: Hook) -> None:
    read(clinic, exam(clinic))
    with clinic.session as session:
        outbox.forget_old(session, after(days=91))
    assert len(rows(clinic)) == 1  # it still waits
    send(clinic, hook, None, READ)
    for days, left in ((89, 1), (91, 0)):
        with clinic.session as session:
            outbox.forget_old(session, after(days=days))
        assert len(rows(clinic)) == left

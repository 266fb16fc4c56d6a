"""What `doctor` finds out about mail server and webhook."""

from pathlib import Path

import pytest

from portal.exchange.outbound import NotAllowed, Target
from portal.exchange.outbox import Peers
from portal.operations import notification_checks
from portal.settings import Settings, SettingsError
from tests.portal.exchange.test_webhook import SECRET, Hook
from tests.portal.exchange.test_webhook import hook as hook
from tests.support.core import make_settings
from tests.support.servers.mail_server import mail_server

BOTH = {
    "PLEURA_SMTP_HOST": "mail.example.org",
    "PLEURA_SMTP_SENDER": "pleura@example.org",
    "PLEURA_SMTP_SECURITY": "none",
    "PLEURA_WEBHOOK_URL": "https://hooks.example.org/in",
    "PLEURA_WEBHOOK_SECRET": SECRET,
}


def states(settings: Settings, peers: Peers | None = None) -> dict[str, str]:
    return {one.name: one.state for one in notification_checks.of(settings, peers)}


def test_without_both_nothing_is_wrong(tmp_path: Path) -> None:
    assert states(make_settings(tmp_path)) == {"mail": "ok", "webhook": "ok"}


def test_both_are_tried_and_nothing_is_sent(tmp_path: Path, hook: Hook) -> None:
    with mail_server() as box:
        place = Target("", "mail.example.org", box.port, "", "127.0.0.1")
        there = Peers(lambda: place, lambda: hook.target)
        assert states(make_settings(tmp_path, **BOTH), there) == {"mail": "ok", "webhook": "ok"}
    assert (box.mails, hook.calls) == ([], [])
    assert states(make_settings(tmp_path, **BOTH), there)["mail"] == "failed"  # it has gone


def test_hosts_that_are_not_listed_are_not_called(tmp_path: Path) -> None:
    found = list(notification_checks.of(make_settings(tmp_path, **BOTH)))
    assert [(one.state, "PLEURA_OUTGOING_HOSTS" in one.text) for one in found] == [
        ("failed", True),
        ("failed", True),
    ]


@pytest.mark.parametrize("code", ["not_listed", "not_https", "not_public", "not_found"])
def test_each_reason_is_a_sentence(tmp_path: Path, code: str) -> None:
    def refuse() -> Target:
        raise NotAllowed(code)

    for one in notification_checks.of(make_settings(tmp_path, **BOTH), Peers(refuse, refuse)):
        assert one.advice


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PLEURA_SMTP_HOST", "mail server", "must be the name of a host"),
        ("PLEURA_SMTP_SENDER", "pleura", "must be an e-mail address"),
        ("PLEURA_SMTP_PORT", "0", "whole number"),
        ("PLEURA_SMTP_SECURITY", "ssl", "starttls"),
        ("PLEURA_WEBHOOK_URL", "ftp://hooks.example.org", "must be an address"),
        ("PLEURA_WEBHOOK_URL", "https://user@hooks.example.org", "must be an address"),
        ("PLEURA_WEBHOOK_SECRET", "short", "at least 32 characters"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        make_settings(tmp_path, **BOTH | {name: value})

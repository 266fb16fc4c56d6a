"""Health checks: one answer a second for all who ask, and nothing of one client for another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal.server import limits
from portal.server.environ import environ_of
from portal.server.health_answers import HealthAnswers
from portal.server.request_body import RequestRefused
from portal.server.sending import AppAnswer
from tests.portal.server.test_environ import scope

READY = environ_of(scope("/health/ready"))


class Portal:
    """Answers when it is let, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.health = HealthAnswers(self._answer, "https")

    async def _answer(self, environ: dict[str, Any]) -> AppAnswer:
        self.asked.append(environ)
        await self.may_answer.wait()
        if len(self.asked) == 1 and "fails" in self.asked[0]["PATH_INFO"]:
            raise RequestRefused(500)
        return AppAnswer(200, [], str(len(self.asked)).encode())

    async def ask(self, environ: dict[str, Any] = READY, client: str = "192.0.2.1") -> bytes:
        body = (await self.health.answer(environ, client)).body
        assert isinstance(body, bytes)
        return body


def run(test: Coroutine[Any, Any, None]) -> None:
    """In a thread, because a browser's event loop may be running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, test).result()


def test_whoever_asks_at_the_same_time_or_soon_gets_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask() -> None:
        portal = Portal()
        monkeypatch.setattr(limits, "HEALTH_SECONDS", 3600.0)
        crowd = [asyncio.create_task(portal.ask(client=f"192.0.2.{n}")) for n in range(50)]
        await asyncio.sleep(0)
        crowd[0].cancel()  # the one who began it leaves
        portal.may_answer.set()
        assert set(await asyncio.gather(*crowd[1:])) == {b"1"}
        assert await portal.ask() == b"1"
        monkeypatch.setattr(limits, "HEALTH_SECONDS", 0.0)
        assert await portal.ask() == b"2"

    run(ask())


def test_a_failure_is_not_given_to_those_who_ask_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEALTH_SECONDS", 3600.0)
    environ = environ_of(scope("/health/fails"))

    async def ask() -> None:
        portal = Portal()
        portal.may_answer.set()
        with pytest.raises(RequestRefused):
            await portal.ask(environ)
        assert await portal.ask(environ) == b"2"

    run(ask())


def test_an_address_that_asks_too_often_is_refused_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEALTH_CHECKS_PER_SECOND", 3)

    async def ask() -> None:
        portal = Portal()
        portal.may_answer.set()
        refused = 0
        for number in range(100):  # from one network; how many seconds it takes does not matter
            try:
                await portal.ask(client=f"2001:db8::{number}")
            except RequestRefused as error:
                refused += error.status == 429
                assert await portal.ask(client=f"192.0.2.{number}")
        assert refused > 0

    run(ask())


def test_the_answer_holds_nothing_of_the_one_who_asked_first() -> None:
    async def ask() -> None:
        portal = Portal()
        portal.may_answer.set()
        sent = (("Cookie", "pleura=secret"), ("X-Forwarded-For", "192.0.2.9"), ("Host", "evil"))
        await portal.ask(environ_of(scope("/health/ready?a=b", *sent)))
        asked = portal.asked[0]
        assert {k: v for k, v in asked.items() if k.startswith("HTTP_")} == {
            "HTTP_HOST": "127.0.0.1:8000"
        }
        assert (asked["QUERY_STRING"], asked["wsgi.url_scheme"]) == ("", "https")

    run(ask())


def test_who_asks_for_the_head_gets_no_body_and_other_requests_are_no_checks() -> None:
    async def ask() -> None:
        portal = Portal()
        portal.may_answer.set()
        assert await portal.ask(READY | {"REQUEST_METHOD": "HEAD"}) == b""
        assert await portal.ask() == b"1"

    run(ask())
    assert HealthAnswers.are_asked_for(READY)
    assert not HealthAnswers.are_asked_for(READY | {"REQUEST_METHOD": "POST"})
    assert not HealthAnswers.are_asked_for(environ_of(scope("/health/other")))

"""An issuer that does not answer, and neighbours at one address: few wait, others go on."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts import openid_connect
from portal.accounts.throttle import ADDRESS, LEAVE, LEAVE_BROWSER
from portal.models import Role
from portal.server import limits
from tests.portal.web.accounts.test_single_sign_on import (
    MARIA,
    TOKEN,
    back_of,
    come,
    portal,
)
from tests.support.core import Clock
from tests.support.portal_app import make_person, post, sign_in_by_pages
from tests.support.sign_in.identity_provider import Provider, serve
from tests.support.wait import until

SSO = "/sign-in/sso"


class SilentIssuer:
    """Accepts connections and never answers; it can hang up."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        return self.listener.accept()[0]

    def was_asked(self) -> bool:
        """Whether somebody has connected since, without waiting for it."""
        self.listener.setblocking(False)
        with suppress(BlockingIOError):
            self.accept().close()
            return True
        return False


@pytest.fixture
def silent() -> Iterator[SilentIssuer]:
    issuer = SilentIssuer()
    yield issuer
    issuer.listener.close()


@pytest.fixture
def provider(clock: Clock) -> Iterator[Provider]:
    with serve() as provider:
        provider.now, provider.claims = clock().timestamp(), dict(MARIA)
        yield provider


def test_while_one_waits_for_the_issuer_all_others_are_sent_away_at_once(
    tmp_path: Path, silent: SilentIssuer, clock: Clock
) -> None:
    app = portal(tmp_path, Provider(url=silent.url), clock)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):  # and later, when one tries again
            first = pool.submit(app.test_client().get, SSO)
            connection = silent.accept()
            away = app.test_client().get(SSO)
            assert not first.done()
            assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
            assert "If you have a password of Pleura, sign in with it" in away.text
            assert 'href="/sign-in"' in away.text
            connection.close()
            assert first.result(60).headers["Retry-After"] == "30"
            clock.forward(seconds=20)
            later = app.test_client().get(SSO)
            assert (later.status_code, later.headers["Retry-After"]) == (503, "10")
            clock.forward(seconds=11)
    assert not silent.was_asked()  # by nobody but the two


class Held:
    """An answer of the issuer that does not come until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self.let_go.wait(60)
        yield b"{}"


def test_few_wait_for_what_a_code_stands_for(
    tmp_path: Path, provider: Provider, clock: Clock
) -> None:
    app = portal(tmp_path, provider, clock)
    browsers = [app.test_client() for _ in range(openid_connect._EXCHANGES + 1)]
    backs = [back_of(provider.authorize(one.get(SSO).location)) for one in browsers]
    held = Held()
    provider.false_answers = {TOKEN: held}
    with ThreadPoolExecutor(len(browsers)) as pool:
        waiting = [
            pool.submit(one.get, back) for one, back in zip(browsers[:-1], backs[:-1], strict=True)
        ]
        try:
            assert until(lambda: provider.asked.count(TOKEN) == openid_connect._EXCHANGES)
            assert browsers[-1].get(backs[-1]).status_code == 503
            assert not any(one.done() for one in waiting)
        finally:
            held.let_go.set()
        assert {one.result(60).status_code for one in waiting} <= {403, 503}
    provider.false_answers = {}
    assert browsers[-1].get(backs[-1]).status_code == 200  # its code is still good


def test_those_who_wait_leave_a_thread_to_passwords() -> None:
    reading = 1
    assert reading + openid_connect._EXCHANGES < limits.OTHER_THREADS


def test_an_issuer_that_fails_one_code_is_asked_anew_and_away_for_nobody(
    tmp_path: Path, provider: Provider, clock: Clock
) -> None:
    app = portal(tmp_path, provider, clock)
    one, other = app.test_client(), app.test_client()
    back = back_of(provider.authorize(one.get(SSO).location))
    provider.false_answers = {TOKEN: [b"<html>"]}
    assert one.get(back).status_code == 503
    provider.false_answers, provider.asked = {}, []
    assert come(other, provider).status_code == 200
    assert provider.asked.count("/.well-known/openid-configuration") == 1


def hurry(client: FlaskClient, path: str, times: int, address: str = "") -> list[int]:
    elsewhere = {"REMOTE_ADDR": address or "127.0.0.1"}
    return [client.get(path, environ_base=elsewhere).status_code for _ in range(times)]


@pytest.fixture
def own(app: Flask, clock: Clock) -> FlaskClient:
    """A browser in which somebody has signed in before."""
    browser = app.test_client()
    sign_in_by_pages(browser, make_person(app, Role.READER), clock())
    assert post(browser, "/sign-out").status_code == 303
    return browser


@pytest.fixture
def app(tmp_path: Path, provider: Provider, clock: Clock) -> Flask:
    return portal(tmp_path, provider, clock)


def test_neighbours_at_one_address_keep_nobody_out_who_signed_in_there_before(
    app: Flask, own: FlaskClient, provider: Provider
) -> None:
    stranger, new = app.test_client(), app.test_client()
    assert hurry(stranger, SSO, LEAVE.tries + 1)[-1] == 429
    assert hurry(stranger, f"{SSO}/back?code=x&state=y", ADDRESS.tries + 1)[-1] == 429
    assert new.get(SSO).status_code == 429
    assert come(own, provider).status_code == 200
    # And it has its own tries, no more.
    assert hurry(own, SSO, LEAVE_BROWSER.tries)[-2:] == [303, 429]


def test_a_network_of_ipv6_is_one_address(app: Flask) -> None:
    client = app.test_client()
    found = [
        hurry(client, SSO, 1, f"2001:db8:1:2::{number:x}")[0] for number in range(LEAVE.tries + 1)
    ]
    assert found == [303] * LEAVE.tries + [429]
    assert hurry(client, SSO, 1, "2001:db8:1:3::1") == [303]


@pytest.mark.parametrize("false", ["", "~~", "x.y", "W10.AAAA"])
def test_a_browser_that_was_made_up_counts_with_its_address(app: Flask, false: str) -> None:
    client = app.test_client()
    client.set_cookie("pleura-device", false)
    assert hurry(client, SSO, LEAVE.tries + 1) == [303] * LEAVE.tries + [429]

"""People and programs at the portal, by HTTP: the first admin, a technologist, a reader, pictures.

The requests come as from the proxy with TLS that stands in front of the portal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from deploy.trial.containers import URL, Installation
from deploy.trial.shell import Broken, require

# Of people who exist in this trial alone.
PASSWORD = "a lamp beside forty green chairs"  # pragma: allowlist secret
_TEAM = "Radiology"
_PROXY = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "Host": "xray.example"}


def code(secret: str, at: float) -> str:
    """What an authenticator app shows (RFC 6238, SHA-1, six digits, 30 s)."""
    key = base64.b32decode(secret.replace(" ", ""))
    digest = hmac.digest(key, struct.pack(">Q", int(at) // 30), hashlib.sha1)
    place = digest[-1] & 15
    number = struct.unpack(">I", digest[place : place + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


@dataclass
class Browser:
    """A person's browser: cookies, form tokens, redirects within the portal."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    secret: str = ""

    def send(self, method: str, path: str, form: dict[str, str] | None = None) -> httpx2.Response:
        """One request; the cookies of its answer are kept."""
        header = {**_PROXY, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if method == "POST":
            header |= {"Origin": URL, "Sec-Fetch-Site": "same-origin"}
        answer = httpx2.request(
            method, self.address + path, data=form, headers=header, timeout=30, trust_env=False
        )
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def post(self, path: str, form: dict[str, str], page: str = "") -> httpx2.Response:
        """Send a page's form."""
        shown = self.send("GET", page or path).text
        found = re.search(r'name="csrf-token" content="([^"]+)"', shown)
        require(found is not None, f"{page or path} has no form token:\n{shown[:400]}")
        assert found is not None
        return self.send("POST", path, {"csrf_token": found[1], **form})

    def join(self, link: str) -> None:
        """Follow an invitation: a password, then a second factor."""
        path = urlsplit(link).path
        answer = self.post(path, {"password": PASSWORD})
        require(answer.status_code == 303, f"the link answered {answer.status_code}")
        self.enrol()

    def enrol(self) -> None:
        """Set up the second factor that the page shows."""
        shown = self.send("GET", "/enrol").text
        self.secret = shown.partition('id="totp-key">')[2].partition("<")[0]
        answer = self.post("/enrol", {"code": code(self.secret, time.time())})
        require(answer.status_code == 200, f"the second factor answered {answer.status_code}")


def first_admin(running: Installation) -> Browser:
    """The admin whom `create-admin` prints a link for, signed in."""
    person = ("--name", "Admin", "--email", "admin@xray.example", "--team", _TEAM)
    printed = running.manage("create-admin", *person)
    (link,) = re.findall(r"https://\S+/join/\S+", printed)
    browser = Browser(running.address)
    browser.join(link)
    return browser


def invite(admin: Browser, running: Installation, role: str) -> Browser:
    """A person of this role, invited by the admin, signed in."""
    form = {"name": role.title(), "email": f"{role}@xray.example", "role": role, "team": _TEAM}
    answer = admin.post("/admin/people", form)
    links = re.findall(r"https://[^\s\"<]+/join/[\w-]+", answer.text)
    require(len(links) > 0, f"the invitation answered {answer.status_code}")
    browser = Browser(running.address)
    browser.join(links[0])
    return browser


def token(running: Installation, role: str, *scopes: str) -> str:
    """A new API token of this person."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    return running.manage("token", "create", "--user", f"{role}@xray.example", *words)


@dataclass
class Program:
    """A program with an API token; it tries again for as long as a portal is away."""

    address: str
    token: str
    patience: float = 240.0

    def upload(self, file: Path) -> str:
        """Send a picture until it is accepted; the case's id."""
        end = time.monotonic() + self.patience
        while True:
            with suppress(httpx2.TransportError), file.open("rb") as stream:
                answer = httpx2.post(
                    f"{self.address}/api/v1/studies",
                    files={"file": (file.name, stream)},
                    headers=self._header(),
                    timeout=30,
                    trust_env=False,
                )
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                if answer.status_code not in (429, 500, 502, 503, 504):
                    raise Broken(f"{file.name}: {answer.status_code} {answer.text[:300]}")
            require(time.monotonic() < end, f"{file.name} was never accepted")
            time.sleep(0.5)

    def study(self, study: str) -> dict[str, Any] | None:
        """A case as the API gives it; None while the portal is away."""
        with suppress(httpx2.TransportError):
            answer = httpx2.get(
                f"{self.address}/api/v1/studies/{study}",
                headers=self._header(),
                timeout=30,
                trust_env=False,
            )
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return None

    def results(self, studies: list[str], seconds: float = 300.0) -> dict[str, dict[str, Any]]:
        """The cases with their results; Broken where one has none after so many seconds."""
        found: dict[str, dict[str, Any]] = {}
        end = time.monotonic() + seconds
        while len(found) < len(studies):
            for one in studies:
                if one not in found:
                    case = self.study(one)
                    if case is not None and case["prediction"] is not None:
                        found[one] = case
            missing = [one for one in studies if one not in found]
            if missing and time.monotonic() > end:
                states = [(self.study(one) or {}).get("state") for one in missing]
                raise Broken(f"{len(missing)} cases have no result after {seconds:.0f} s: {states}")
            time.sleep(0.5)
        return found

    def _header(self) -> dict[str, str]:
        return {**_PROXY, "Authorization": f"Bearer {self.token}"}

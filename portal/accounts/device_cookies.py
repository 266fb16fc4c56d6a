"""Device cookies: a browser in which a person has signed in before has tries of its own.

Who knows a person's e-mail address can use up the tries that are counted for others, also from
the same address. A browser that has shown both factors gets a signed entry for that person; with it
its tries are counted apart from everybody else's. An entry is no proof of identity: whoever steals
it gets five tries a minute, and password and second factor are still needed.

One more entry belongs to nobody: it shows that a person has signed in here, for what is counted
before it is known who comes (the way to the single sign-on's issuer).

An entry holds a random number, the time and the person's `device_generation`; the signing key is
derived from the e-mail address, so that an entry names nobody and is worthless for anybody else.
Whatever ends a person's other sessions changes the generation, and with it ends the entries.
Source: OWASP, Slow Down Online Guessing Attacks with Device Cookies.
"""

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

from portal.models import User

LIFETIME: Final = timedelta(days=90)
MOST_PEOPLE: Final = 8  # who share a browser; the one who signed in longest ago is dropped
_BETWEEN: Final = "~"
_MOST_ENTRIES: Final = MOST_PEOPLE + 1  # with that of the browser
_ENTRY: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Device:
    """A browser as one person's, as its entry has it. `number` is what tries are counted by."""

    number: str
    generation: int

    def is_of(self, user: User | None) -> bool:
        """Whether nothing has ended the entry since; always False without an account."""
        return user is not None and user.device_generation == self.generation


@dataclass(frozen=True, slots=True)
class DeviceCookie:
    """What a browser has sent, and the secret by which entries are signed."""

    sent: str = field(repr=False)
    secret_key: str = field(repr=False)

    def read(self, email: str, now: datetime) -> Device | None:
        """The entry for the account of this address; None for unknown, forged or old ones.

        No database is asked: `Device.is_of` has to be checked as well.
        """
        for entry in self._entries():
            device = self._device(entry, email, now)
            if device is not None:
                return device
        return None

    def device_of(self, user: User, now: datetime) -> Device | None:
        """This browser as the person's own, if it is."""
        device = self.read(user.email, now)
        return device if device is not None and device.is_of(user) else None

    def browser(self, now: datetime) -> str | None:
        """The number of a browser in which a person has signed in before; None for any other."""
        for entry in self._entries():
            number = self._browser(entry, now)
            if number is not None:
                return number
        return None

    def with_person(self, user: User, now: datetime) -> str:
        """The cookie's next value: with a new entry for a person who has shown both factors."""
        people = [one for one in self._entries() if self._browser(one, now) is None]
        others = [one for one in people if self._device(one, user.email, now) is None]
        at = int(now.timestamp())
        entries = [
            self._serializer(user.email).dumps([secrets.token_hex(16), at, user.device_generation]),
            self._browser_serializer().dumps([secrets.token_hex(16), at]),
        ]
        own, browser = (one if isinstance(one, str) else one.decode("ascii") for one in entries)
        return _BETWEEN.join([own, *others[: MOST_PEOPLE - 1], browser])

    def _entries(self) -> list[str]:
        parts = self.sent.split(_BETWEEN, _MOST_ENTRIES)[:_MOST_ENTRIES]
        return [part for part in parts if _ENTRY.fullmatch(part)]

    def _device(self, entry: str, email: str, now: datetime) -> Device | None:
        try:
            number, issued, generation = self._serializer(email).loads(entry)
        except (BadData, ValueError, TypeError):
            return None
        age = now.timestamp() - issued
        return Device(number, generation) if 0 <= age < LIFETIME.total_seconds() else None

    def _browser(self, entry: str, now: datetime) -> str | None:
        try:
            number, issued = self._browser_serializer().loads(entry)
        except (BadData, ValueError, TypeError):
            return None
        return number if 0 <= now.timestamp() - issued < LIFETIME.total_seconds() else None

    def _serializer(self, email: str) -> URLSafeSerializer:
        person = sha256(email.encode("utf-8", "surrogatepass")).hexdigest()
        return self._signed(f"pleura.device:{person}")

    def _browser_serializer(self) -> URLSafeSerializer:
        return self._signed("pleura.browser")

    def _signed(self, salt: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self.secret_key,
            salt=salt,
            signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
        )

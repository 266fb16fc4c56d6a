"""Passwords: the rules that a new one must keep, and argon2id hashes of those in use.

Owns no rows: `people` stores what `hash_password` returns and asks `verify` at sign-in.
"""

import base64
import re
import secrets
from collections.abc import Iterable
from functools import cache

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from portal.errors import Invalid
from portal.languages import _

SHORTEST = 12
LONGEST = 128
_STRONG_ENOUGH = 3  # of 0 to 4 on zxcvbn's scale: more than 10^8 guesses
_JUDGED = 24  # characters that zxcvbn is given: its time grows with the length many times over
_OWN_PART = 8  # characters that must remain once names and words of this site are taken away

# Words that anyone would try first on this site.
SITE_WORDS = (
    "pleura",
    "pneumothorax",
    "pneumo",
    "radiology",
    "radiologist",
    "radiographer",
    "radiograph",
    "technologist",
    "chest",
    "thorax",
    "x-ray",
    "xray",
    "hospital",
    "clinic",
    "doctor",
)

_parameters = profiles.RFC_9106_LOW_MEMORY
_hasher = PasswordHasher.from_parameters(_parameters)


def check_new(password: str, own_words: Iterable[str] = ()) -> None:
    """Raise `Invalid` unless the password may be used.

    There are no composition rules: length, and not easily guessed, is all. `own_words` are the
    person's name and e-mail address, which count as known to whoever guesses. How easily it is
    guessed is judged by its beginning: a password is at least as hard to guess as a part of it.
    """
    if len(password) < SHORTEST:
        raise Invalid(
            "password",
            _(
                "Use at least %(shortest)s characters. A few words in a row work well.",
                shortest=SHORTEST,
            ),
        )
    if len(password) > LONGEST:
        raise Invalid("password", _("Use at most %(longest)s characters.", longest=LONGEST))
    try:
        password.encode()
    except UnicodeEncodeError:
        raise Invalid("password", _("This holds a character that cannot be stored.")) from None
    folded = password.casefold()
    if folded in _common():
        raise Invalid("password", _("This is one of the commonest passwords. Choose another."))
    words = sorted({*SITE_WORDS, *_pieces(own_words)}, key=len, reverse=True)
    rest = folded
    for word in words:
        rest = rest.replace(word, "")
    if rest != folded and len(re.sub(r"[\W_]", "", rest)) < _OWN_PART:
        raise Invalid(
            "password",
            _("This is mostly your name or words of this site. Choose something unrelated."),
        )
    guess = zxcvbn(_once(password)[:_JUDGED], user_inputs=words)
    if int(guess["score"]) < _STRONG_ENOUGH:
        raise Invalid(
            "password",
            _(
                "This is easily guessed: it follows a common pattern. "
                "Add another word or two that have nothing to do with each other."
            ),
        )


def _once(password: str) -> str:
    """The password with each word once: zxcvbn does not see one that comes again after a space."""
    seen = set[str]()

    def first(found: re.Match[str]) -> str:
        word = found.group().casefold()
        again = word in seen
        seen.add(word)
        return "" if again else found.group()

    return re.sub(r"[^\W_]{3,}", first, password)


def hash_password(password: str) -> str:
    """The argon2id hash (RFC 9106, low memory) to be stored. Never truncates."""
    return _hasher.hash(password)


def verify(stored: str | None, password: str) -> bool:
    """Whether the password belongs to the stored hash.

    Without a hash (nobody of that name, or an invitation not yet accepted) a decoy is computed, so
    that the answer takes as long as a wrong password does.
    """
    try:
        return _hasher.verify(stored or _decoy(), password) and stored is not None
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters than today's: then hash again at sign-in."""
    return _hasher.check_needs_rehash(stored)


@cache
def _common() -> frozenset[str]:
    """The passwords that turn up most often in leaked lists, as ranked by zxcvbn."""
    return frozenset(word.casefold() for word in FREQUENCY_LISTS["passwords"])


@cache
def _decoy() -> str:
    """A well-formed hash of today's cost that no password opens."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_parameters.salt_len, _parameters.hash_len)
    )
    p = _parameters
    return (
        f"$argon2id$v={p.version}$m={p.memory_cost},t={p.time_cost},p={p.parallelism}"
        f"${salt}${digest}"
    )


def _pieces(texts: Iterable[str]) -> set[str]:
    """The words of three letters or more in names and addresses."""
    return {
        piece for text in texts for piece in re.split(r"[\W_]+", text.casefold()) if len(piece) > 2
    }

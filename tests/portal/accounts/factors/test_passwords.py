"""Passwords: what is refused, what is accepted, and that nothing is cut off."""

import functools
import string
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from portal.accounts.factors import passwords
from portal.errors import Invalid


def is_accepted(password: str, *own: str) -> bool:
    """Whether it may be chosen."""
    try:
        passwords.check_new(password, own)
    except Invalid:
        return False
    return True


def test_the_3000_commonest_passwords_are_refused() -> None:
    commonest = list(FREQUENCY_LISTS["passwords"])[:3000]
    assert len(commonest) == 3000
    assert [p for p in commonest if is_accepted(p)] == []


def test_common_ones_stay_refused_in_capitals() -> None:
    long_enough = [p for p in FREQUENCY_LISTS["passwords"] if len(p) >= 12]
    assert len(long_enough) > 100
    dressed = [change(p) for p in long_enough for change in (str, str.upper, str.title)]
    assert [p for p in dressed if is_accepted(p)] == []


@pytest.mark.parametrize(
    "password",
    [
        "x" * 11,
        "",
        "a" * 64,
        "123456789012",
        "abcdefghijkl",
        "qwertyuiop12",
        "Password2026!",
        "pleura-pneumo-12",
        "pneumothorax2026",
        "RadiologyRadiology",
        "ada lovelace 1815!",
        "ada@example.org1",
        "half a surrogate \ud800 here",
        "correct horse battery staple " * 5,
    ],
)
def test_these_are_refused(password: str) -> None:
    assert not is_accepted(password, "Ada Lovelace", "ada@example.org")


@pytest.mark.parametrize(
    "password",
    [
        "blue kettle on tuesday",
        "seven green umbrellas sleep",
        "8vR!kq2#Lm0z",
        "grüner Kessel am Dienstag",
        "火曜日の青いやかんが歌う森の中で",
        "  spaces count too, at the ends  ",
        "the radiologist forgot her umbrella in Porto",
    ],
)
def test_these_are_accepted(password: str) -> None:
    assert is_accepted(password, "Ada Lovelace", "ada@example.org")


def test_64_and_128_characters_are_accepted_and_129_are_not() -> None:
    sentence = "violet otters borrow lanterns while copper trains whistle past midnight markets "
    longest = (sentence + "and eleven sleepy cartographers fold paper")[:128].ljust(128, "!")
    assert is_accepted(sentence[:64])
    assert is_accepted(longest)
    assert not is_accepted(longest + "x")


def test_the_last_character_counts() -> None:
    password = "violet otters borrow lanterns " * 4
    stored = passwords.hash_password(password + "a")
    assert passwords.verify(stored, password + "a")
    assert not passwords.verify(stored, password + "b")
    assert not passwords.verify(stored, password)


def test_capitals_and_spaces_count() -> None:
    stored = passwords.hash_password("Blue Kettle ")
    assert passwords.verify(stored, "Blue Kettle ")
    assert not passwords.verify(stored, "blue kettle ")
    assert not passwords.verify(stored, "Blue Kettle")


def test_the_hash_is_argon2id_of_the_recommended_cost() -> None:
    stored = passwords.hash_password("whatever")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert stored != passwords.hash_password("whatever")
    assert not passwords.is_outdated(stored)


def test_a_cheaper_hash_is_known_as_outdated() -> None:
    from argon2 import PasswordHasher

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("whatever")
    assert passwords.verify(cheap, "whatever")
    assert passwords.is_outdated(cheap)


@pytest.mark.parametrize("stored", [None, "", "junk", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
def test_without_a_sound_hash_nothing_is_right(stored: str | None) -> None:
    assert not passwords.verify(stored, "whatever")
    assert not passwords.verify(stored, "")


@settings(max_examples=60)
@given(st.text(alphabet=string.printable, max_size=140))
def test_any_text_gets_an_answer(password: str) -> None:
    is_accepted(password, "Ada Lovelace")


def function_calls(call: Callable[[], object]) -> int:
    """How many functions it calls: a measure of its cost that no busy machine changes."""
    events: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: events.update((event,)))
    try:
        call()
    finally:
        sys.setprofile(None)
    return events["call"] + events["c_call"]


# Each character may stand for letters too: zxcvbn calls twice as many functions for 64 as for 24,
# takes several times as long, and accepts no more than 72.
SLOW = "4@8({[<369&1!|105$7+2%" * 6


@functools.cache
def calls_for(length: int) -> int:
    assert is_accepted("blue kettle on tuesday")  # the lists of words are read before
    return function_calls(lambda: is_accepted(SLOW[:length], "Ada Lovelace"))


@pytest.mark.parametrize("length", [64, 72, 128])
def test_a_long_password_costs_no_more_than_its_beginning(length: int) -> None:
    assert calls_for(length) < 1.2 * calls_for(24)


def test_words_of_this_site_count_wherever_they_stand() -> None:
    with pytest.raises(Invalid, match="words of this site"):
        passwords.check_new("!%7q" + "radiographer-x-ray-thorax-pneumo-" * 3, ("Ada", "ada@b.org"))


@pytest.mark.parametrize("word", ["password", "iloveyou", "Sunshine"])
def test_a_repeated_common_word_is_no_password(word: str) -> None:
    for between in (" ", "-", " _ "):
        with pytest.raises(Invalid, match="easily guessed"):
            passwords.check_new(f"{word}{between}{word.lower()}")
    passwords.check_new("blue tarpaulin over blue gravel")

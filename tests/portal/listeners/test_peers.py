"""Where a system calls from and which certificate it shows."""

import hashlib

import pytest

from portal.errors import Invalid
from portal.listeners import peers


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", []),
        ("10.1.2.3", ["10.1.2.3/32"]),
        ("10.1.2.3/24, 10.1.2.0/24 ::1", ["10.1.2.0/24", "::1/128"]),
    ],
)
def test_networks_are_read_as_they_are_typed(text: str, networks: list[str]) -> None:
    assert peers.networks_of(text) == networks


@pytest.mark.parametrize("text", ["nowhere", "10.1.2", "10.0.0.0/33", " ".join(["10.0.0.1"] * 17)])
def test_what_is_no_network_or_too_many_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="networks"):
        peers.networks_of(text)


@pytest.mark.parametrize(
    ("address", "lies"),
    [
        ("10.1.2.3", True),
        ("10.1.3.3", False),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", False),
        ("nothing", False),
    ],
)
def test_an_address_lies_in_a_network(address: str, lies: bool) -> None:
    assert peers.lies_in(address, ["10.1.2.0/24", "10.9.9.9/32"]) is lies


def test_a_fingerprint_is_read_with_and_without_colons() -> None:
    digits = "AB" * 32
    assert peers.fingerprint_of(":".join(["AB"] * 32)) == digits.lower()
    assert peers.fingerprint_of(" ") is None
    with pytest.raises(Invalid, match="fingerprint"):
        peers.fingerprint_of("ab")


def test_who_has_a_fingerprint_shows_the_certificate_and_nobody_else_shows_one() -> None:
    stated = hashlib.sha256(b"der").hexdigest()
    assert peers.shows(stated, b"der")
    assert not peers.shows(stated, b"other")
    assert not peers.shows(stated, None)
    assert not peers.shows(None, b"der")
    assert peers.shows(None, None)

"""The corpus of bad files in the real decoder, under its real limits: an answer each, in time."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import pytest

from tests.support.hostile_files.bad_files import BAD_FILES, DECODED, wholes
from worker.errors import Permanent
from worker.render.pictures import Decoder
from worker.settings import Settings

# Less memory and time than in earnest: what is stopped by them is stopped by more as well.
SETTINGS = Settings.from_env(
    {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:1",
        "PLEURA_WORKER_TOKEN": "not-for-the-decoder",
        "PLEURA_DECODE_MB": "256",
        "JOB_SECONDS": "5",
    }
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(SETTINGS)
    yield decoder
    decoder.stop()


def outcome(decoder: Decoder, data: bytes) -> str:
    """DECODED or the code of why not; anything else than these fails the test."""
    try:
        decoder.decode(data)
    except Permanent as error:
        return error.code
    return DECODED


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_harms_only_its_own_process(decoder: Decoder, name: str) -> None:
    bad = BAD_FILES[name]
    server = decoder._process.pid
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = bad.make()
    began = time.monotonic()
    assert outcome(decoder, data) in bad.decoder
    # Two processor seconds at most, on a machine that others use too.
    assert time.monotonic() - began < 60
    assert decoder._process.pid == server
    assert decoder._process.poll() is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 300 * 1024


@pytest.mark.parametrize("kind", wholes())
def test_a_file_cut_at_every_kilobyte_fails_for_good(decoder: Decoder, kind: str) -> None:
    whole = wholes()[kind]
    assert outcome(decoder, whole) == DECODED
    for length in range(1024, len(whole), 1024):
        assert outcome(decoder, whole[:length]) in ("truncated", "no_pixels", "decode_failed")


def test_a_valid_file_after_all_of_them_is_still_read(decoder: Decoder) -> None:
    assert decoder.decode(wholes()["PNG"]).facts.rows == 200

"""The render job: each file is decoded in a process of its own; a bad one fails only its job."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml.images.picture import Picture
from tests.support.wait import until
from worker.errors import Permanent, Transient
from worker.framing import receive_untrusted, send
from worker.render.pictures import Decoder
from worker.settings import Settings

SETTINGS = Settings.from_env(
    {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:1",
        "PLEURA_WORKER_TOKEN": "not-for-the-decoder",
        "PLEURA_DECODE_MB": "256",
    }
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(SETTINGS)
    yield decoder
    decoder.stop()


def picture(rows: int = 40, columns: int = 60) -> bytes:
    ramp = np.linspace(0, 65535, rows * columns).astype(np.uint16).reshape(rows, columns)
    ok, encoded = cv2.imencode(".png", ramp)
    assert ok
    return encoded.tobytes()


def png_bomb(rows: int, columns: int) -> bytes:
    """A small file of a large picture: its zeroes unpack to all of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0)
    squeeze = zlib.compressobj(9)
    row = bytes(1 + 2 * columns)
    body = b"".join(squeeze.compress(row) for _ in range(rows)) + squeeze.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_jpeg_with_missing_bytes_is_noticed_in_the_confined_process(decoder: Decoder) -> None:
    rng = np.random.default_rng(4)
    grey = cv2.GaussianBlur(rng.integers(0, 255, (200, 180)).astype(np.uint8), (0, 0), 2)
    stream = cv2.imencode(".jpg", grey)[1].tobytes()
    middle = len(stream) * 2 // 3
    for _ in range(2):  # and the next file is whole again
        with pytest.raises(Permanent) as failed:
            decoder.decode(stream[:middle] + stream[middle + 40 :])
        assert failed.value.code == "decode_failed"
        assert decoder.decode(stream).facts.rows == 200


def test_a_picture_comes_back_whole_with_preview_thumb_and_facts(decoder: Decoder) -> None:
    rendered = decoder.decode(picture())
    assert (rendered.facts.rows, rendered.facts.columns) == (40, 60)
    again = Picture.from_canonical(rendered.pixels, rendered.facts.as_json())
    assert again.pixels.shape == (40, 60)
    assert int(again.pixels[-1, -1]) > int(again.pixels[0, 0])
    for jpeg in (rendered.preview, rendered.thumb):
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED) is not None


def test_an_unreadable_file_fails_for_good_with_the_readers_code(decoder: Decoder) -> None:
    with pytest.raises(Permanent, match="not_an_image"):
        decoder.decode(b"neither DICOM nor PNG nor JPEG, whatever its name")
    with pytest.raises(Permanent, match="empty"):
        decoder.decode(b"")


def test_a_file_that_needs_more_memory_than_allowed_is_stopped(decoder: Decoder) -> None:
    bomb = png_bomb(9000, 11000)
    assert len(bomb) < 400_000
    with pytest.raises(Permanent, match=r"decode_limit|decode_failed"):
        decoder.decode(bomb)
    assert decoder.decode(picture()).facts.rows == 40


def test_one_files_process_that_dies_costs_only_that_file(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's crash is a signal in the file's own process: send the same signal to it."""
    server = decoder._process.pid
    data = picture(3000, 3000)

    def crash(channel: socket.socket, *sizes: int) -> tuple[dict[str, Any], list[bytes]]:
        """Between sending the file and receiving the answer: kill what works on it."""
        forking = children(server)[0]
        while not select.select([channel], [], [], 0.001)[0]:
            for child in children(forking):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGSEGV)
        return receive_untrusted(channel, *sizes)

    def outcome() -> str:
        try:
            decoder.decode(data)
        except Permanent as error:
            return error.code
        return "decoded"

    with monkeypatch.context() as patch:
        patch.setattr("worker.render.pictures.receive_untrusted", crash)
        # On a busy machine a file may be done before its process was found: then once more.
        code = next((found for _ in range(20) if (found := outcome()) != "decoded"), "decoded")
    assert code == "decode_failed"
    assert decoder._process.pid == server
    assert decoder.decode(picture()).facts.rows == 40


def test_a_lost_decoder_is_started_again(decoder: Decoder) -> None:
    os.killpg(decoder._process.pid, signal.SIGKILL)
    decoder._process.wait()
    assert decoder.decode(picture()).facts.columns == 60


def test_a_file_whose_decoder_is_lost_gets_another_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = Decoder(SETTINGS)

    def lose(channel: socket.socket, *sizes: int) -> tuple[dict[str, Any], list[bytes]]:
        os.killpg(decoder._process.pid, signal.SIGKILL)
        return receive_untrusted(channel, *sizes)

    os.killpg(decoder._process.pid, signal.SIGSTOP)  # it must not answer before it is lost
    with monkeypatch.context() as patch:
        patch.setattr("worker.render.pictures.receive_untrusted", lose)
        with pytest.raises(Transient, match="decoder_lost"):
            decoder.decode(picture())
    assert decoder.decode(picture()).facts.rows == 40
    decoder.stop()


def test_the_decoder_has_no_secret_and_ends_with_its_parent() -> None:
    decoder = Decoder(SETTINGS)
    decoder.decode(picture())
    environment = Path(f"/proc/{decoder._process.pid}/environ").read_bytes()
    assert b"PLEURA" not in environment
    assert b"REDIS" not in environment
    decoder._channel.close()
    assert decoder._process.wait(timeout=30) == 0


def test_an_answer_that_cannot_be_fails_for_good(decoder: Decoder) -> None:
    """What a decoder that was taken over may send in place of a picture."""
    facts = decoder.answer(picture())[0]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"facts": {}}, ["", "", ""]),
        ({"facts": None}, ["", "", ""]),
        ({"error": "no code of ours"}, []),
        ({"error": ["empty"]}, []),
        # Codes that are not a decoder's to give: the portal would wait for a model, or for itself.
        *(({"error": code}, []) for code in ("model_missing", "portal_unreachable", "gave_up")),
        ({"neither": 1}, []),
        (facts, ["pixels", "preview"]),
        (facts, ["pixels", "preview", "thumb", "more"]),
    ]
    taken_over = Decoder(SETTINGS, program="tests.support.isolation.decoder_attacks")
    try:
        assert taken_over.decode(asked(facts, ["pixels", "preview", "thumb"])).thumb == b"thumb"
        for answer, parts in cases:
            with pytest.raises(Permanent, match="result_refused"):
                taken_over.decode(asked(answer, parts))
    finally:
        taken_over.stop()


def test_a_file_that_never_ends_does_not_outlive_the_process_that_sent_it() -> None:
    """That process may be killed, and closes nothing but its sockets then."""
    taken_over = Decoder(SETTINGS, program="tests.support.isolation.decoder_attacks")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(taken_over._channel, [b"f"], [theirs.fileno()])
        send(ours, {}, [json.dumps({"sleep": 600, "answer": {}, "parts": []}).encode()])
        forking = children(taken_over._process.pid)[0]
        assert until(lambda: bool(children(forking)))
        taken_over._channel.close()
        try:
            taken_over._process.wait(timeout=60)
        finally:
            taken_over.stop()


def asked(answer: dict[str, Any], parts: list[str]) -> bytes:
    return json.dumps({"answer": answer, "parts": parts}).encode()

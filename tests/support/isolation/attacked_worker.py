"""A process with secrets, as a worker has them, and attacks on it by processes that it started.

``python -m tests.support.isolation.attacked_worker LAYER …`` prints a JSON object for each layer:
what each attack of `decoder_attacks` got where that layer alone confines the attacker, or every
layer of the real ``Decoder`` (all). Its environment must hold `SECRET`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.isolation.decoder_attacks import ATTACKS, REPEATED, SECRET, attempt
from worker.isolation import confinement, kernel, landlock, limits, namespaces, system_calls
from worker.render.pictures import Decoder
from worker.settings import Settings

# Another user than the one that decoding gets, for a test that root starts.
_ORDINARY_USER = 65530
_GIGABYTE = 2**30
_HIGH = 200  # above whatever descriptor an attacker keeps


def _nothing(_: int) -> None:
    pass


def _landlock(_: int) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock.deny_everything()


def _namespaces(_: int) -> None:
    namespaces.enter(as_first=False)
    kernel.drop_capabilities()


# Each is given the descriptor by which its process answers.
LAYERS: dict[str, Callable[[int], None]] = {
    "none": _nothing,
    "undumpable parent": _nothing,
    "closed descriptors": lambda answer: confinement.close_all_but({answer}),
    "limits": lambda _: limits.limit(limits.address_space_bytes() + _GIGABYTE, 10),
    "namespaces": _namespaces,
    "own user": lambda _: confinement.become_own_user(),
    "Landlock": _landlock,
    "system calls": lambda _: system_calls.restrict(),
}


def behind(layer: str, target: Any) -> dict[str, dict[str, str]]:
    """What each attack gets from a process that this layer alone confines."""
    return {attack: _forked(LAYERS[layer], attack, target) for attack in ATTACKS}


def _forked(confine: Callable[[int], None], attack: str, target: Any) -> dict[str, str]:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            confine(writing)
            os.write(writing, json.dumps(attempt(attack, target)).encode())
        except OSError as error:
            os.write(writing, json.dumps({"missing": str(error)}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return dict(json.loads(text)) if text else {"got": "another program runs"}


def behind_all(target: Any) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The layers that are missing here, and what each attack gets from the real Decoder."""
    settings = Settings.from_env(
        {
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PLEURA_PORTAL_URL": "http://127.0.0.1:1",
            "PLEURA_WORKER_TOKEN": "unused",
            "PLEURA_DECODE_MB": "64",
        }
    )
    decoder = Decoder(settings, program="tests.support.isolation.decoder_attacks")
    answers = {}
    for attack in ATTACKS:
        asked = json.dumps({"attack": attack, "target": target}).encode()
        answers[attack] = decoder.answer(asked)[0]
    mark = os.urandom(16)
    decoder.answer(REPEATED * mark)
    halves = [mark[:8].hex(), mark[8:].hex()]
    asked = json.dumps({"attack": "file_before", "target": {"mark": halves}}).encode()
    answers["file_before"] = decoder.answer(asked)[0]
    decoder.stop()
    return decoder.missing, answers


@contextmanager
def _secrets() -> Iterator[dict[str, Any]]:
    """Everything that an attack could find, and where it is."""
    held = ctypes.create_string_buffer(SECRET)
    folder = Path(tempfile.mkdtemp(prefix="attacked-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        key_file, movable = folder / "key", folder / "movable"
        for path in (key_file, movable):
            path.touch(0o600)
        key_file.write_bytes(SECRET)
        in_memory = os.memfd_create("secret")
        os.write(in_memory, SECRET)
        left_open = [fcntl.fcntl(in_memory, fcntl.F_DUPFD, _HIGH) for _ in range(3)]
        for descriptor in left_open:
            stack.callback(os.close, descriptor)
        portal = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        redis, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        redis.bind(str(folder / "redis.sock"))
        abstract.bind(f"\0attacked-{os.getpid()}")
        for listener in (redis, abstract):
            listener.listen(64)
        yield {
            "pid": os.getpid(),
            "address": ctypes.addressof(held),
            "descriptor": in_memory,
            "left_open": left_open[0],
            "key_file": str(key_file),
            "movable": str(movable),
            "folder": str(folder),
            "port": portal.getsockname()[1],
            "unix": str(folder / "redis.sock"),
            "abstract": f"attacked-{os.getpid()}",
        }


def attacked(layer: str) -> dict[str, Any]:
    """The layers that are missing, and what each attack got."""
    if os.geteuid() == 0 and layer not in ("own user", "all"):
        os.setgroups([])
        os.setresgid(_ORDINARY_USER, _ORDINARY_USER, _ORDINARY_USER)
        os.setresuid(_ORDINARY_USER, _ORDINARY_USER, _ORDINARY_USER)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    with _secrets() as target:
        if layer == "undumpable parent":
            kernel.make_undumpable()
        missing, answers = behind_all(target) if layer == "all" else ([], behind(layer, target))
    return {"missing": missing, "answers": answers}


def main(layers: list[str]) -> None:
    """Print what the attacks got, for each layer a line, from a process for each."""
    for layer in layers:
        if (child := os.fork()) == 0:
            print(json.dumps({"layer": layer, **attacked(layer)}), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])

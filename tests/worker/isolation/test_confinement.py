"""A decoder that was taken over gets nothing; and what each layer of isolation alone stops.

Where a kernel or container refuses a layer, what only that layer stops is skipped with the reason.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.support.isolation.attacked_worker import LAYERS
from tests.support.isolation.decoder_attacks import ATTACKS, SECRET
from tests.support.paths import ROOT
from worker.isolation import kernel

pytestmark = pytest.mark.skipif(not kernel.LINUX, reason="Linux alone has these layers")

IN_PROC = {"environment", "memory_file", "descriptor_file", "processes"}
INTO_MEMORY = {"memory_call", "trace", "descriptor_call"}
FILES = {"key_file", "write_file", "move_file"}
LOCAL_SOCKETS = {"unix_socket", "abstract_socket"}
NETWORK = {"tcp", "udp", "listen"}
OTHERS = {"signal_worker", "limit_worker"}
# What each layer stops without the others; `none` and the like show that the attacks work.
STOPS: dict[str, set[str]] = {
    "none": set(),
    "undumpable parent": (IN_PROC | INTO_MEMORY) - {"processes"},
    "closed descriptors": {"inherited", "fill_file"},
    "limits": IN_PROC
    | {"descriptor_call", "key_file", "write_file", "fill_file"}
    | {"fork", "memory_of_a_file", "more_limits"}
    | LOCAL_SOCKETS
    | NETWORK,
    "namespaces": IN_PROC
    | INTO_MEMORY
    | FILES
    | LOCAL_SOCKETS
    | OTHERS
    | {"tcp", "udp", "execute"},
    "own user": (IN_PROC | INTO_MEMORY | FILES | OTHERS | {"unix_socket"}) - {"processes"},
    "Landlock": IN_PROC
    | INTO_MEMORY
    | FILES
    | {"tcp", "listen", "abstract_socket", "signal_worker", "execute"},
    "system calls": set(ATTACKS) - {"inherited", "fill_file", "more_limits"},
}


@cache
def results() -> dict[str, dict[str, Any]]:
    """What each attack got, by layer."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HELD": SECRET.decode()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.isolation.attacked_worker", "all", *LAYERS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return {line["layer"]: line for line in map(json.loads, done.stdout.splitlines())}


SPINS = """
import signal
from worker.isolation.confinement import confine, filter_calls
filter_calls(confine({1}), also=("setitimer",))
signal.setitimer(signal.ITIMER_PROF, 0.05)
while True:
    pass
"""


def test_a_confined_process_ends_by_its_limit_and_the_one_that_was_started_ends_so_too() -> None:
    """The first process of a PID namespace would not: it takes no signal without a handler."""
    command = [sys.executable, "-c", SPINS]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGPROF


CONFINED = """
import ctypes, json, os, signal
from worker.isolation.confinement import OWN_ID, confine, filter_calls

def is_refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False

libc, started, was_root = ctypes.CDLL(None), os.getpid(), os.geteuid() == 0
missing = confine({1})
capabilities, ends_by = (ctypes.c_uint32 * 6)(), ctypes.c_int()
libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities)
libc.prctl(2, ctypes.byref(ends_by))
has = {
    "namespaces": os.getpid() != started and ends_by.value == signal.SIGKILL,
    "a user of its own": not was_root or os.getresuid() == (OWN_ID, OWN_ID, OWN_ID),
    "capabilities": not any(capabilities),
    "undumpable": libc.prctl(3, 0, 0, 0, 0) == 0,
    "no new rights": libc.prctl(39, 0, 0, 0, 0) == 1,
    "Landlock": is_refused(os.open, "/", os.O_RDONLY),
}
filter_calls(missing)
has["filter of system calls"] = is_refused(os.getpgid, 0)
os.write(1, json.dumps({"missing": missing, "has": has}).encode())
"""


@cache
def confined() -> dict[str, Any]:
    """What a confined process finds out about itself."""
    command = [sys.executable, "-c", CONFINED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    "layer",
    [
        *("namespaces", "a user of its own", "capabilities", "undumpable", "no new rights"),
        *("Landlock", "filter of system calls"),
    ],
)
def test_a_confined_process_has_each_layer(layer: str) -> None:
    """What another layer stops too shows nothing about this one."""
    refused = [one for one in confined()["missing"] if one.startswith(f"{layer} (")]
    if refused:
        pytest.skip(refused[0])
    assert confined()["has"][layer]


@pytest.mark.parametrize("attack", [*ATTACKS, "file_before"])
def test_a_decoder_that_was_taken_over_gets_nothing(attack: str) -> None:
    result = results()["all"]
    names = {"a user of its own": "own user", "filter of system calls": "system calls"}
    missing = {layer.split(" (")[0] for layer in result["missing"]}
    missing |= {names[layer] for layer in missing & set(names)}
    if os.geteuid() != 0:
        missing.add("own user")
    stopped_by = {layer for layer, attacks in STOPS.items() if attack in attacks} - {
        "undumpable parent"
    }
    if attack != "file_before" and not stopped_by - missing:
        pytest.skip(f"{attack} is stopped only by what is missing here: {result['missing']}")
    assert set(result["answers"][attack]) == {"stopped"}, result["answers"][attack]


@pytest.mark.parametrize("layer", LAYERS)
def test_what_each_layer_stops_alone(layer: str) -> None:
    answers = results()[layer]["answers"]
    refused = {answer["missing"] for answer in answers.values() if "missing" in answer}
    if refused:
        pytest.skip(f"{layer}: {refused}")
    assert {attack for attack, answer in answers.items() if "stopped" in answer} == STOPS[layer]

"""The processes that read headers: what they may do, and what follows when one goes wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from portal.formats import header_pool
from portal.formats.header_pool import HeaderPool, Work
from portal.formats.refusals import Limits, Refused
from tests.support.isolation.processes import descendants
from tests.support.paths import ROOT
from tests.support.pictures import dicom, png
from worker.isolation import confinement

LIMITS = Limits(64 * 2**20)


@pytest.fixture(scope="module")
def wrong() -> Iterator[HeaderPool]:
    """A pool of one process that does what the file says."""
    pool = HeaderPool(1, "tests.support.hostile_files.wrong_reader", seconds=20)
    yield pool
    pool.close()


def asked(what: str) -> bytes:
    """A file that makes the process of `wrong` do this."""
    return b"\x89PNG\r\n\x1a\n" + what.encode()


def code_of(pool: HeaderPool, data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        pool.read("x", data, LIMITS)
    return refused.value.code


def test_a_process_has_no_environment_no_file_and_no_way_out(wrong: HeaderPool) -> None:
    os.environ["PLEURA_TEST_SECRET"] = "CANARY"
    try:
        fresh = HeaderPool(1, "tests.support.hostile_files.wrong_reader")
    finally:
        del os.environ["PLEURA_TEST_SECRET"]
    try:
        seen = fresh.read("x", asked("environment"), LIMITS).header["environment"]
        assert "CANARY" not in str(seen)
        assert set(seen) <= {"LC_CTYPE"}  # which Python sets
        for path in ("/etc/passwd", "/proc/self/status", str(ROOT / "README.md")):
            assert fresh.read("x", asked(f"open:{path}"), LIMITS).header["opened"] is False
        assert fresh.read("x", asked("connect"), LIMITS).header["opened"] is False
        signalled = asked(f"signal:{os.getpid()}")
        assert fresh.read("x", signalled, LIMITS).header["signalled"] is False
        # The process that was started waits for the confined one.
        reader = descendants(fresh.pids()[0])[-1]
        limits = Path(f"/proc/{reader}/limits").read_text(encoding="ascii")
        hard = {line[:26].strip(): line[47:68].strip() for line in limits.splitlines()}
        assert hard["Max open files"] == "3"
        assert hard["Max processes"] == "0"
        assert hard["Max file size"] == "0"
        assert hard["Max core file size"] == "0"
        # Those limits and the filter of system calls stop the above too. These they do not:
        lines = Path(f"/proc/{reader}/status").read_text(encoding="ascii").splitlines()
        status = {name: value.split() for name, _, value in (one.partition(":") for one in lines)}
        missing = " ".join(confinement.missing_layers())
        assert status["CapEff"] == ["0" * 16]
        assert len(status["NSpid"]) == 2 or "namespaces" in missing
        assert status["Uid"][0] == str(confinement.OWN_ID) or os.geteuid() != 0
    finally:
        fresh.close()


@pytest.mark.parametrize("what", ["loop", f"memory:{header_pool.MEMORY_BYTES + 2**20}"])
def test_a_file_that_takes_too_much_is_refused_and_the_next_is_read(
    wrong: HeaderPool, what: str
) -> None:
    assert code_of(wrong, asked(what)) == "header_limit"
    assert wrong.read("x", asked(f"memory:{2**20}"), LIMITS).header["bytes"] == 2**20


def test_a_file_that_computes_on_and_on_is_not_waited_for() -> None:
    pool = HeaderPool(1, "tests.support.hostile_files.wrong_reader", seconds=240)
    began = time.monotonic()
    try:
        assert code_of(pool, asked("loop")) == "header_limit"
    finally:
        pool.close()
    assert time.monotonic() - began < 120


def test_a_large_file_has_as_much_memory_beside_itself(wrong: HeaderPool) -> None:
    most = header_pool.MEMORY_BYTES - 2**22
    padded = asked(f"memory:{most}") + b" " * (60 * 2**20)
    assert wrong.read("x", padded, LIMITS).header["bytes"] == most


def test_a_process_that_does_not_answer_is_replaced() -> None:
    pool = HeaderPool(1, "tests.support.hostile_files.wrong_reader", seconds=2)
    try:
        assert pool.read("x", asked("nothing"), LIMITS).media_type == "image/png"
        (first,) = pool.pids()
        assert code_of(pool, asked("sleep:60")) == "header_limit"
        assert pool.pids() != [first]
    finally:
        pool.close()


def test_a_crash_is_the_files_reason_and_no_ones_else(wrong: HeaderPool) -> None:
    assert code_of(wrong, asked("crash")) == "header_limit"
    assert wrong.read("x", asked("nothing"), LIMITS).media_type == "image/png"


@pytest.mark.parametrize(("what", "code"), [("raise", "unreadable"), ("forge", "header_limit")])
def test_what_a_reader_should_not_do_is_a_reason_without_its_text(
    wrong: HeaderPool, what: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert code_of(wrong, asked(what)) == code
    assert "CANARY" not in caplog.text


_USUAL: dict[str, Any] = {
    "seconds": 0.1,
    "bytes": 0,
    "digest": "0" * 64,
    "stored": [{}, {}, {"rows": 1, "columns": 1}],
    "upload": {
        "media_type": "image/png",
        "phi": {},
        "keys": {},
        "header": {"rows": 1, "columns": 1},
    },
}
_ODD = [
    *(("seconds", odd) for odd in (math.nan, math.inf, -1.0, 1e300, 10**400, True, "x", {}, None)),
    *(("bytes", odd) for odd in ("x", True, -1, 1e3, 10**30, None)),
    *(("refused", odd) for odd in (1, [], [[], ""], ["damaged"], ["damaged", "x" * 2000])),
    *(("failed", odd) for odd in ([], "CANARY^ZEBRA 4711")),
    ("more", "\ud800"),
]
_ODD_PARTS = [
    *(("digest", odd) for odd in (7, "A")),
    *(("stored", odd) for odd in ([1, 2, 3], {}, [{}, {}, {}])),
    *(("upload", odd) for odd in ([], {}, _USUAL["upload"] | {"more": 1})),
    *(
        ("upload", _USUAL["upload"] | {"header": odd})
        for odd in ([], {"rows": "1", "columns": 1}, {"rows": 1, "columns": 1.5})
    ),
    ("upload", _USUAL["upload"] | {"media_type": "text/html"}),
]


@pytest.fixture(scope="module")
def taken_over() -> Iterator[HeaderPool]:
    """One process that answers what its file holds."""
    pool = HeaderPool(1, "tests.support.hostile_files.taken_over", seconds=20)
    yield pool
    pool.close()


def _file(**parts: Any) -> bytes:
    return f"ANSWER:{json.dumps(_USUAL | parts)}:END".encode()


@pytest.mark.parametrize(("part", "odd"), _ODD)
def test_an_odd_answer_is_refused_like_a_file_by_which_the_process_ended(
    taken_over: HeaderPool, part: str, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert taken_over.read("x", _file(), LIMITS).media_type == "image/png"
    work, before = Work(), taken_over.pids()
    with pytest.raises(Refused, match=r"^header_limit"):
        taken_over.read("x", _file(**{part: odd}), LIMITS, work)
    assert work.seconds == header_pool.CPU_SECONDS
    assert taken_over.pids() != before
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize(("part", "odd"), _ODD_PARTS)
def test_so_is_an_answer_without_the_part_that_was_asked_for(
    taken_over: HeaderPool, part: str, odd: Any
) -> None:
    asks = {
        "digest": taken_over.pixels_digest,
        "stored": taken_over.read_stored,
        "upload": lambda data: taken_over.read("x", data, LIMITS),
    }
    assert asks[part](_file())
    with pytest.raises(Refused, match=r"^header_limit"):
        asks[part](_file(**{part: odd}))


def test_a_process_killed_from_outside_costs_no_file() -> None:
    pool = HeaderPool(1)
    try:
        assert pool.read("x", png(), LIMITS).header["rows"] == 8
        os.kill(pool.pids()[0], signal.SIGKILL)
        assert pool.read("x", png(), LIMITS).header["rows"] == 8
        os.kill(pool.pids()[0], signal.SIGKILL)
        assert pool.read("x", dicom(), LIMITS).header["rows"] == 8
    finally:
        pool.close()


def test_one_that_is_killed_while_it_reads_costs_no_file() -> None:
    pool = HeaderPool(1, "tests.support.hostile_files.wrong_reader", seconds=60)
    try:
        pool.read("x", asked("nothing"), LIMITS)  # it has started
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(pool.read, "x", asked("sleep:2"), LIMITS)
            time.sleep(0.5)
            os.kill(pool.pids()[0], signal.SIGKILL)
            assert reading.result().media_type == "image/png"
    finally:
        pool.close()


def test_each_of_many_threads_gets_its_own_answer() -> None:
    files = [png(rows=8 + number) for number in range(60)]

    def rows(data: bytes) -> int:
        return int(header_pool.shared().read("x", data, LIMITS).header["rows"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(rows, files)) == [8 + number for number in range(60)]


def test_what_a_file_took_is_added_up(wrong: HeaderPool) -> None:
    work = Work()
    with pytest.raises(Refused):
        wrong.read("x", asked("loop"), LIMITS, work)
    assert work.seconds == header_pool.CPU_SECONDS
    for _ in range(20):
        wrong.read("x", asked("nothing"), LIMITS, work)
    assert work.seconds < 2 * header_pool.CPU_SECONDS


_FORKS = """
import os, sys
from portal.formats import header_pool
from portal.formats.refusals import Limits
data = bytes.fromhex(sys.argv[1])
first = header_pool.shared()
read = lambda: header_pool.shared().read("x", data, Limits(2**20)).header["rows"]
assert read() == 8
child = os.fork()
if child == 0:
    ok = read() == 8 and not set(header_pool.shared().pids()) & set(first.pids())
    header_pool.shared().close()
    os._exit(0 if ok else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert read() == 8
print(*first.pids())
"""


def test_a_forked_process_has_its_own_and_all_end_with_theirs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, png().hex()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for pid in done.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


_STARTS = """
from portal.formats import header_pool
from portal.server import gunicorn_settings
assert header_pool._shared is None
gunicorn_settings.post_worker_init(None)
assert header_pool._shared is not None
"""


def test_a_web_process_has_them_before_the_first_picture() -> None:
    subprocess.run([sys.executable, "-c", _STARTS], cwd=ROOT, check=True)

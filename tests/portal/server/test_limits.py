"""The server's numbers: they fit together, and the system gives the files that they need."""

from __future__ import annotations

import subprocess
import sys

from portal.server import limits
from tests.support.paths import ROOT

RAISE = """
import resource
from portal.server import limits
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
limits.allow_enough_files()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft >= min(limits.CONNECTIONS, hard))
"""


def test_a_process_may_open_as_many_files_as_there_are_connections() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RAISE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "True\n"


def test_strangers_leave_places_to_others_and_small_requests_fit() -> None:
    shares = limits.HEALTH_CONNECTIONS, limits.WORKERS_CONNECTIONS, limits.RESERVED_CONNECTIONS
    assert (0, *shares, limits.CONNECTIONS) == tuple(sorted({0, *shares, limits.CONNECTIONS}))
    assert limits.KNOWN_PER_SENDER < limits.RESERVED_CONNECTIONS - limits.WORKERS_CONNECTIONS
    assert limits.STRANGERS_BYTES >= limits.CONNECTIONS * 8 * 1024
    assert limits.HEADER_BYTES + limits.UNCHECKED_BYTES < limits.STRANGERS_BYTES

"""gunicorn's settings: what its processes leave before they serve."""

from __future__ import annotations

from pathlib import Path

from tests.support.core import make_settings
from tests.support.isolation.processes import (
    command_and_environment,
    descendants,
    is_open_to_its_user,
)
from tests.support.portal_app import make_app
from tests.support.served.portal import serve

KEY = "m4Vq7Xz2Lw9sTb6NcR8dHf1GkP3yJeUa"  # made up  # pragma: allowlist secret


def test_no_process_of_the_portal_shows_a_secret_that_it_was_given_in_a_variable(
    tmp_path: Path,
) -> None:
    make_app(make_settings(tmp_path))
    with serve(tmp_path, PLEURA_SECRET_KEY=KEY, PLEURA_WORKER_TOKEN=KEY[::-1]) as served:
        processes = descendants(served.process.pid)
        assert len(processes) >= 2
        for pid in processes:
            assert KEY.encode() not in command_and_environment(pid)
            assert KEY[::-1].encode() not in command_and_environment(pid)
            assert not is_open_to_its_user(pid)

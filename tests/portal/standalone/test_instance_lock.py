"""portal.standalone.instance_lock: one running portal for one data folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portal.standalone import instance_lock

ADDRESS = "http://127.0.0.1:8000"


def test_a_second_start_is_refused_and_shows_where_the_first_one_is(tmp_path: Path) -> None:
    with instance_lock.lock(tmp_path) as file:
        with pytest.raises(instance_lock.AlreadyRunning) as early:
            instance_lock.lock(tmp_path)
        assert early.value.address is None
        instance_lock.write_address(file, ADDRESS)
        with pytest.raises(instance_lock.AlreadyRunning) as late:
            instance_lock.lock(tmp_path)
        assert late.value.address == ADDRESS
        assert instance_lock.running_address(tmp_path) == ADDRESS


def test_nothing_runs_on_a_folder_whose_portal_was_killed(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from portal.standalone import instance_lock
file = instance_lock.lock(Path({str(tmp_path)!r}))
instance_lock.write_address(file, {ADDRESS!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    assert ADDRESS in (tmp_path / "up.lock").read_text()
    assert instance_lock.running_address(tmp_path) is None
    instance_lock.lock(tmp_path).close()


def test_a_folder_that_was_never_used_has_no_address(tmp_path: Path) -> None:
    assert instance_lock.running_address(tmp_path) is None

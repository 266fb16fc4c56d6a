"""A cohort is frozen beside readers of sent pictures: secrets leave its environment."""

import os
import subprocess
import sys

from tests.support.paths import ROOT

_PROGRAM = """
import os, runpy, sys
os.execve = lambda *_: (print("anew without secrets"), sys.exit(0))
sys.argv = ["portal", "cohort", "list"]
runpy.run_module("portal", run_name="__main__")
"""


def test_cohort_starts_anew_without_secrets_in_its_environment() -> None:
    secret = {"PLEURA_SECRET_KEY": "m4Vq7Xz2Lw9sTb6NcR8d"}  # made up  # pragma: allowlist secret
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env=os.environ | secret,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "anew without secrets\n", done.stderr

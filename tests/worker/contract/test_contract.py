"""worker.contract: it can be imported where neither a queue nor a model is installed."""

import subprocess
import sys
from pathlib import Path

import worker.contract

MODULES = sorted(
    f"worker.contract.{path.stem}"
    for path in Path(worker.contract.__file__).parent.glob("[a-z]*.py")
)


def test_it_needs_pydantic_and_nothing_else_that_is_heavy() -> None:
    program = "import sys; " + "; ".join(f"import {name}" for name in MODULES)
    program += "; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={"PATH": ""},  # no setting of a worker either
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"worker", "pydantic"} <= loaded
    heavy = {"celery", "kombu", "httpx2", "numpy", "cv2", "torch", "ml", "portal", "flask"}
    assert not loaded & heavy

"""Upload to done, against the bare decode and model time of the same pictures in the same run.

    python benchmarks/portal/latency.py --token-file FILE [--url URL] [--count 30] PICTURES

For each picture, in turn and with nothing else running: (a) this process reads it and predicts,
with the worker's own functions and its settings of weights, device and threads (PLEURA_WEIGHTS,
PLEURA_DEVICE, PLEURA_THREADS: this process must have the worker's environment); (b) it is posted to
`/api/v1/studies`, and the time from then until the portal recorded the prediction is taken (clocks
of one machine; the case is asked for rarely, so that asking takes no processor from the work). The
ratio b / a is what the portal costs. Pictures that the portal already has are left out: a duplicate
costs nothing. The token needs the scopes `studies:write` and `studies:read`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

import httpx2

from ml.images.reader import Unreadable, read
from ml.inference.predict import predict
from ml.inference.serving import Serving
from ml.inference.serving import open as open_serving
from worker.settings import Settings

FINAL = {"done", "no_result", "failed"}
ENGINE_VARIABLES = ("PLEURA_WEIGHTS", "PLEURA_DEVICE", "PLEURA_THREADS")


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of `values` lie, by linear interpolation."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def through_portal(client: httpx2.Client, path: Path, patience: float) -> tuple[float, str, str]:
    """Seconds from the start of the upload until the case has its result; its state and id."""
    started = time.time()
    answer = client.post("/api/v1/studies", files={"file": (path.name, path.read_bytes())})
    if answer.status_code != 202 or answer.json().get("duplicate"):
        return 0.0, "left out", ""
    study = answer.json()["id"]
    while time.time() - started < patience:
        time.sleep(1.0)  # the portal records itself when the result was there
        found = client.get(f"/api/v1/studies/{study}").json()
        if found["state"] in FINAL:
            ended = (found["prediction"] or {}).get("created")
            if not ended:  # failed: there is no moment at which a result was there
                return 0.0, found["state"], study
            return datetime.fromisoformat(ended).timestamp() - started, found["state"], study
    return time.time() - started, "late", study


def worker_serving() -> Serving:
    """The model as a worker with this environment opens it."""
    # What a worker needs besides plays no part here.
    needed = {
        "REDIS_URL": "redis://127.0.0.1",
        "PLEURA_PORTAL_URL": "http://127.0.0.1",
        "PLEURA_WORKER_TOKEN": "none",
    }
    own = {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ}
    settings = Settings.from_env(needed | own)
    return open_serving(settings.weights, settings.device, settings.threads)


def readable(files: list[Path]) -> list[Path]:
    """The files that are X-rays; a line on stderr for each other one."""
    found = []
    for path in files:
        try:
            read(path.read_bytes())
        except (Unreadable, OSError) as error:
            print(f"left out: {path.name}: {error}", file=sys.stderr)
        else:
            found.append(path)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of DICOM, PNG or JPEG files")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first N pictures")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a case")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()

    files = sorted(p for p in options.pictures.rglob("*") if p.is_file())
    files = readable(files[options.skip : options.skip + options.count])
    if not files:
        print(f"no readable picture in {options.pictures}", file=sys.stderr)
        return 1
    serving = worker_serving()
    predict(read(files[0].read_bytes()), serving)  # the first run compiles: not counted
    token = options.token_file.read_text().strip()
    bare: list[float] = []
    portal: list[float] = []
    states: dict[str, int] = {}
    with httpx2.Client(
        base_url=options.url, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as client:
        for path in files:
            started = time.perf_counter()
            predict(read(path.read_bytes()), serving)
            bare_seconds = time.perf_counter() - started
            seconds, state, _ = through_portal(client, path, options.patience)
            states[state] = states.get(state, 0) + 1
            if state in {"done", "no_result"} and seconds > 0:
                bare.append(bare_seconds)
                portal.append(seconds)
    if not portal:
        print(f"no picture was measured: {states}", file=sys.stderr)
        return 1
    result = {
        "pictures": len(portal),
        "states": states,
        "portal_p50_s": round(quantile(portal, 0.5), 4),
        "portal_p95_s": round(quantile(portal, 0.95), 4),
        "bare_p50_s": round(quantile(bare, 0.5), 4),
        "bare_p95_s": round(quantile(bare, 0.95), 4),
        "ratio_of_medians": round(statistics.median(portal) / statistics.median(bare), 3),
        "ratio_of_sums": round(sum(portal) / sum(bare), 3),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

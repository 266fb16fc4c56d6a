"""Pictures per second of a running portal's segment worker against the bare model, in one run.

    python benchmarks/portal/throughput.py --token-file FILE [--url URL] [--count 40] PICTURES

First, with nothing else running, this process predicts every picture, with the worker's own
functions and settings (see latency.py). Then all pictures are sent at once; the worker's rate is
that between its first and its last result, which the portal recorded. Render worker, portal and
segment worker share the machine's cores meanwhile, as they do in service on one machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx2
from latency import FINAL, readable, worker_serving

from ml.images.reader import read
from ml.inference.predict import predict

SENDERS = 4


def sent(client: httpx2.Client, path: Path) -> str:
    """The case of a picture; empty for one that the portal had already."""
    answer = client.post("/api/v1/studies", files={"file": (path.name, path.read_bytes())})
    answer.raise_for_status()
    return "" if answer.json().get("duplicate") else str(answer.json()["id"])


def ended(client: httpx2.Client, study: str, until: float) -> float | None:
    """When the portal recorded the case's result; None where it has none."""
    while time.time() < until:
        found = client.get(f"/api/v1/studies/{study}").json()
        if found["state"] in FINAL:
            created = (found["prediction"] or {}).get("created")
            return datetime.fromisoformat(created).timestamp() if created else None
        time.sleep(2.0)  # asking takes no processor from the work
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of DICOM, PNG or JPEG files")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first N pictures")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for all")
    options = parser.parse_args()
    files = sorted(p for p in options.pictures.rglob("*") if p.is_file())
    files = readable(files[options.skip : options.skip + options.count])
    serving = worker_serving()
    pictures = [read(path.read_bytes()) for path in files]
    if len(pictures) < 2:
        print(f"fewer than two readable pictures in {options.pictures}", file=sys.stderr)
        return 1
    predict(pictures[0], serving)  # the first run compiles: not counted
    whole, model = [], []
    for picture in pictures:
        seen = serving.prepare(picture.pixels)
        middle = time.perf_counter()
        serving.run([seen])
        model.append(time.perf_counter() - middle)
        began = time.perf_counter()
        predict(picture, serving)
        whole.append(time.perf_counter() - began)
    token = options.token_file.read_text().strip()
    with httpx2.Client(
        base_url=options.url, headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        with ThreadPoolExecutor(SENDERS) as pool:
            studies = [s for s in pool.map(lambda path: sent(client, path), files) if s]
        until = time.time() + options.patience
        times = [t for study in studies if (t := ended(client, study, until)) is not None]
    if len(times) < 2:
        print("fewer than two results: are the pictures new to this portal?", file=sys.stderr)
        return 1
    rate = (len(times) - 1) / (max(times) - min(times))
    result = {
        "pictures": len(times),
        "worker_pictures_per_s": round(rate, 2),
        "bare_model_pictures_per_s": round(1 / statistics.mean(model), 2),
        "bare_prediction_pictures_per_s": round(1 / statistics.mean(whole), 2),
        "worker_against_bare_model": round(rate * statistics.mean(model), 3),
        "worker_against_bare_prediction": round(rate * statistics.mean(whole), 3),
    }
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The thumbnails of one page of the worklist: one by one against all in one read.

    python -m benchmarks.portal.worklist [--rows 50] [--rounds 20] [--delay-ms 5]

Random files of the size of thumbnails are put into a vault in a folder and into one in a bucket,
and read back in turn: with `Vault.get` for each, and with `Vault.get_many`. The bucket is a server
of S3's protocol in a process of its own on this machine (moto); `--delay-ms` is added to each of
its answers, for the way there and back. Printed are medians in milliseconds for one page.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any
from uuid import uuid4

from portal.models import BlobKind
from portal.settings import Settings
from portal.vault import Vault, WantedFile

_SIZE = 6000


def _serve(ready: Queue[int], delay: float) -> None:
    """An S3 server that answers after a delay; its port goes into the queue."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)

    def late(environ: Any, start: Any) -> Any:
        time.sleep(delay)
        return application(environ, start)

    server = make_server("127.0.0.1", 0, late, threaded=True)
    ready.put(server.port)
    server.serve_forever()


@contextmanager
def bucket(delay: float) -> Iterator[str]:
    """The address of an S3 server with an empty bucket."""
    import boto3

    context = multiprocessing.get_context("spawn")
    ready: Queue[int] = context.Queue()
    process = context.Process(target=_serve, args=(ready, delay), daemon=True)
    process.start()
    try:
        address = f"http://127.0.0.1:{ready.get(timeout=60)}"
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",  # of the server above  # pragma: allowlist secret
        ).create_bucket(Bucket="pleura-benchmark")
        yield address
    finally:
        process.terminate()
        process.join()


def measure(vault: Vault, rows: int, rounds: int) -> dict[str, float]:
    """Medians for one page, in milliseconds."""
    wanted = []
    for _ in range(rows):
        key, blob_id = secrets.token_bytes(32), uuid4()
        name = vault.put(
            key, blob_id=blob_id, kind=BlobKind.THUMB, attempt=1, data=secrets.token_bytes(_SIZE)
        )
        wanted.append(WantedFile(key, blob_id, BlobKind.THUMB, name))

    def singly() -> object:
        return [
            vault.get(file.data_key, blob_id=file.blob_id, kind=file.kind, name=file.name)
            for file in wanted
        ]

    def together() -> object:
        return vault.get_many(wanted)

    if singly() != together():
        raise SystemExit("the two ways read different files")
    took: dict[str, list[float]] = {"one_by_one_ms": [], "in_one_read_ms": []}
    for _ in range(rounds):
        for name, read in (("one_by_one_ms", singly), ("in_one_read_ms", together)):
            took[name].append(_seconds(read) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in took.items()}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--delay-ms", type=float, default=5.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, bucket(chosen.delay_ms / 1000) as address:
        common = {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(Path(folder) / "data")}
        in_bucket = common | {
            "PLEURA_BUCKET": "s3://pleura-benchmark/blobs",
            "PLEURA_BUCKET_ENDPOINT": address,
            "PLEURA_BUCKET_KEY_ID": "key",
            "PLEURA_BUCKET_SECRET": "secret",  # pragma: allowlist secret
        }
        result = {
            "rows": chosen.rows,
            "delay_ms": chosen.delay_ms,
            "folder": measure(Vault(Settings.from_env(common)), chosen.rows, chosen.rounds),
            "bucket": measure(Vault(Settings.from_env(in_bucket)), chosen.rows, chosen.rounds),
        }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

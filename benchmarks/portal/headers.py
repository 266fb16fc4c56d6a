"""How long reading the header of a sent file takes in a limited process, beside reading it here.

    python -m benchmarks.portal.headers [--rounds 50]

The files are pictures of usual sizes. The difference is what the process costs: the bytes go over a
socket, the answer comes back. `start` is the first answer of a fresh process.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from portal.formats import upload_header
from portal.formats.header_pool import HeaderPool
from portal.formats.refusals import Limits
from tests.support.pictures import dicom, picture

LIMITS = Limits(256 * 2**20)


def milliseconds(read: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and 95th percentile of a call."""
    took = list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        read()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), sorted(took)[int(rounds * 0.95)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    files = {
        "DICOM 200 × 180": dicom(rows=200, columns=180),
        "DICOM 1024 × 1024": dicom(rows=1024, columns=1024),
        "DICOM 2500 × 2048": dicom(rows=2500, columns=2048),
        "PNG 640 × 512": picture(),
    }
    began = time.perf_counter()
    pool = HeaderPool(1)
    pool.read("x", files["PNG 640 × 512"], LIMITS)
    print(f"start: {(time.perf_counter() - began) * 1000:.0f} ms")
    print("| file | MiB | here, ms | in the process, ms (p95) |\n|---|---|---|---|")
    for name, data in files.items():
        here, _ = milliseconds(lambda data=data: upload_header.read("x", data, LIMITS), rounds)  # type: ignore[misc]
        there, slow = milliseconds(lambda data=data: pool.read("x", data, LIMITS), rounds)  # type: ignore[misc]
        print(f"| {name} | {len(data) / 2**20:.1f} | {here:.2f} | {there:.2f} ({slow:.2f}) |")
    pool.close()


if __name__ == "__main__":
    main()

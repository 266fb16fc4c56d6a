"""Where the processor time of one picture goes, from upload to result, beside bare read and model.

    python -m benchmarks.portal.cost [--count 40] [--at-once] [--plain] PICTURES

It starts an installation of its own (portal, scheduler, Redis, a render and a segment worker) in a
temporary folder and sends pictures, one when the one before has its result, or with `--at-once` all
together, so that the workers are always busy. Processor time is the kernel's count for each process
(/proc), less what the same processes take while nothing is sent; so other work on the machine
changes little. The bare time is that of this process, which reads and predicts the same pictures
with the worker's own functions. The second table is noted within the processes (`stage_clock`),
whose own cost is a few milliseconds a picture: `--plain` leaves it out. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from ml.images.reader import Unreadable, read
from ml.inference import serving
from ml.inference.predict import predict
from portal.models import Prediction
from tests.support.running_portal import RunningPortal

CLOCK = Path(__file__).parent / "stage_clock"
_TICK = os.sysconf("SC_CLK_TCK")
_IDLE_SECONDS = 15.0
_WARM = 4
# Of the model, as RunningPortal starts its workers.
_THREADS = 2


def descending(root: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        tasks = Path(f"/proc/{root}/task").glob("*/children")
        children = [int(child) for task in tasks for child in task.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        children = []
    return [root, *(pid for child in children for pid in descending(child))]


def command(pid: int) -> str:
    """What a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def processor_seconds(root: int) -> dict[str, float]:
    """Seconds of a process and all that descend from it, by what each is; ended ones included."""
    found: dict[str, float] = defaultdict(float)
    for pid in descending(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            name = _name(command(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
        # utime, stime and those of children that have ended: fields 14 to 17 of proc(5).
        found[name] += sum(int(field) for field in fields[11:15]) / _TICK
    return found


def _name(line: str) -> str:
    parts = {
        "header_process": "portal: headers",
        "drawn_overlay": "portal: overlays",
        "deidentify_process": "portal: exports",
        "gunicorn": "portal: web",
        "decoder_process": "render: decoder",
        "child_process render": "render: job's process",
        "child_process segment": "segment: job's process",
        "worker render": "render: worker",
        "worker segment": "segment: worker",
        "portal sweep": "portal: scheduler",
        "redis": "Redis",
        "valkey": "Redis",
    }
    return next((name for part, name in parts.items() if part in line), "other")


class Measured:
    """What an installation's processes have taken since a moment."""

    def __init__(self, running: RunningPortal, stages: Path) -> None:
        self._running, self._stages = running, stages
        self._processes: dict[str, float] = {}
        self._noted: dict[tuple[str, str], float] = {}
        self._began = 0.0
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._processes, self._noted = self._now(), self._stage_totals()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time since `start`."""
        return time.monotonic() - self._began

    def processes(self) -> dict[str, float]:
        """Processor seconds since `start` by process."""
        return {name: now - self._processes.get(name, 0.0) for name, now in self._now().items()}

    def stages(self) -> dict[tuple[str, str], float]:
        """Processor seconds since `start` by (process, stage)."""
        return {key: now - self._noted.get(key, 0.0) for key, now in self._stage_totals().items()}

    def _now(self) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        for process in self._running.processes.values():
            for name, seconds in processor_seconds(process.pid).items():
                found[name] += seconds
        return found

    def _stage_totals(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = defaultdict(float)
        for file in self._stages.iterdir():
            try:
                name = _name(command(int(file.name)))
            except (FileNotFoundError, ProcessLookupError):
                continue
            for stage, spent in json.loads(file.read_text()).items():
                found[name, stage] += spent / 1e9
        return found


def sent(running: RunningPortal, picture: bytes, number: int) -> None:
    """Send a picture that the portal does not know yet."""
    running.submit(picture, f"{number}.dcm")


def wait_for_results(running: RunningPortal, count: int) -> None:
    """Wait until so many predictions are stored; asked of the database, not of the portal."""
    query = select(func.count()).select_from(Prediction)

    def there() -> bool:
        time.sleep(0.02)
        with running.rows() as session:
            return (session.scalar(query) or 0) >= count

    running.wait(f"{count} results are there", there, 600)


def bare(pictures: list[bytes]) -> tuple[float, float]:
    """Processor seconds for one picture of reading and of predicting it, in this process."""
    model = serving.open(None, "cpu", _THREADS)
    model.warm_up()
    predict(read(pictures[0]), model)
    reading = predicting = 0.0
    for data in pictures:
        began = time.process_time()
        picture = read(data)
        middle = time.process_time()
        predict(picture, model)
        reading += middle - began
        predicting += time.process_time() - middle
    return reading / len(pictures), predicting / len(pictures)


def measure(pictures: list[bytes], options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one run, times in milliseconds of processor time for one picture."""
    warm, counted = pictures[:_WARM], pictures[_WARM:]
    reading, predicting = bare(counted)
    with tempfile.TemporaryDirectory() as folder:
        stages = Path(folder) / "stages"
        stages.mkdir()
        running = RunningPortal(Path(folder) / "portal")
        if not options.plain:
            # One `sitecustomize` alone is loaded: nothing is hidden from these processes.
            running.for_all = {"PYTHONPATH": f"{CLOCK}:{Path.cwd()}", "STAGE_CLOCK": str(stages)}
        with running:
            running.start_worker("render")
            running.start_worker("segment")
            for number, data in enumerate(warm, 1):
                sent(running, data, number)
                wait_for_results(running, number)
            measured = Measured(running, stages)
            time.sleep(_IDLE_SECONDS)
            idle = {n: s / measured.seconds for n, s in measured.processes().items()}
            measured.start()
            for number, data in enumerate(counted, _WARM + 1):
                sent(running, data, number)
                if not options.at_once:
                    wait_for_results(running, number)
            wait_for_results(running, len(pictures))
            time.sleep(2.0)  # the scheduler links the last rows of the access log
            took = measured.seconds
            processes, noted = measured.processes(), measured.stages()
    each = 1000 / len(counted)
    own = {n: (s - idle.get(n, 0.0) * took) * each for n, s in processes.items()}
    bare_ms = (reading + predicting) * 1000
    return {
        "pictures": len(counted),
        "wall_s": round(took, 1),
        "bare_read_ms": round(reading * 1000, 1),
        "bare_predict_ms": round(predicting * 1000, 1),
        "all_ms": round(sum(own.values()), 1),
        "everything_else_ms": round(sum(own.values()) - bare_ms, 1),
        "idle_ms_per_s": {n: round(s * 1000, 1) for n, s in sorted(idle.items())},
        "processes_ms": {n: round(s, 1) for n, s in sorted(own.items())},
        "stages_ms": _table(noted, own, each),
    }


def _table(
    noted: dict[tuple[str, str], float], own: dict[str, float], each: float
) -> dict[str, dict[str, float]]:
    """By process and stage; `rest` is what the process takes beside its stages."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for (process, stage), seconds in sorted(noted.items()):
        if seconds * each >= 0.05:
            table[process][stage.strip("/")] = round(seconds * each, 2)
    for process, stages in table.items():
        stages["rest"] = round(own.get(process, 0.0) - sum(stages.values()), 1)
    return table


def readable(folder: Path, count: int) -> list[bytes]:
    """So many X-rays of a folder."""
    found: list[bytes] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        try:
            read(data)
        except Unreadable:
            continue
        found.append(data)
        if len(found) == count:
            break
    return found


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of DICOM, PNG or JPEG files")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--at-once", action="store_true", help="send all, then wait")
    parser.add_argument("--plain", action="store_true", help="no stages within the processes")
    options = parser.parse_args()
    pictures = readable(options.pictures, options.count + _WARM)
    if len(pictures) <= _WARM:
        print(f"too few readable pictures in {options.pictures}", file=sys.stderr)
        return 1
    print(json.dumps(measure(pictures, options), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How fast pictures come in by DICOM, beside Orthanc, and what an association takes of memory.

    python -m benchmarks.peers.dicom_rate --files 3 --rounds 5

Ten storescu (DCMTK) at a time send the same files, with UIDs of their own, to one and to the other
in turn, other files in each round. Here with everything that a portal does before it answers:
header read in a confined process, sealed, synced, rows, audit row and job committed (SQLite).
Orthanc stores plain files and an index, and does not sync. The ratio is that of each round, whose
two halves have met the same machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import generate_uid
from pynetdicom.ae import ApplicationEntity

from benchmarks.peers import orthanc
from portal.dicom_network import classes
from tests.support.clinic import open_clinic
from tests.support.core import make_settings, migrate, open_core
from tests.support.dicom.listening import OURS, TITLE, add_node
from tests.support.pictures import dicom

_ROWS, _COLUMNS = 2500, 2048  # of 10 MB, as of a detector


@contextmanager
def listener(folder: Path) -> Iterator[tuple[int, int]]:
    """A listener of its own process over a new portal: its port and process id."""
    environ = {"PLEURA_UPLOADS_PER_HOUR": "0", "PLEURA_UPLOAD_MB_PER_HOUR": "0"}
    settings = make_settings(folder)
    migrate(settings)
    core = open_core(folder, settings.database_url)
    add_node(open_clinic(core))
    core.engine.dispose()
    given = {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(folder),
        "PLEURA_DICOM_PORT": "0",
        "PLEURA_DICOM_MAX_ASSOCIATIONS": "200",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "portal", "dicom-listener"],
        env={**os.environ, **given, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the listener ended"
            found = re.search(r"listens at port (\d+)", line)
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.wait(60)


def made(folder: Path, senders: int, files: int) -> list[Path]:
    """A folder for each sender, with files of its own."""
    pixels = os.urandom(_ROWS * _COLUMNS * 2)
    folders = []
    for sender in range(senders):
        own = folder / f"sender-{sender}"
        own.mkdir(parents=True)
        for number in range(files):
            data = dicom(
                rows=_ROWS, columns=_COLUMNS, pixels=pixels, SeriesInstanceUID=generate_uid()
            )
            (own / f"{number}.dcm").write_bytes(data)
        folders.append(own)
    return folders


def send(folders: list[Path], port: int, called: str) -> float:
    """Seconds until all senders have got an answer for all files."""
    storescu = shutil.which("storescu")
    assert storescu is not None, "DCMTK is not installed"
    began = time.monotonic()
    running = [
        subprocess.Popen(
            [storescu, "-aet", TITLE, "-aec", called, "+sd", "127.0.0.1", str(port), str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    assert all(process.wait() == 0 for process in running), "a file was not taken"
    return time.monotonic() - began


class Peak:
    """The most MiB that a process holds for itself while a block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.most = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look ten times a second until the end of the block."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                self.most = max(self.most, memory(self._pid))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def memory(pid: int) -> float:
    """MiB that a process holds for itself."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M)) / 1024


@contextmanager
def idle_associations(port: int, count: int) -> Iterator[None]:
    """So many associations that do nothing, open until the end of the block."""
    opened = []
    for _ in range(count):
        entity = ApplicationEntity(TITLE)
        entity.add_requested_context(classes.VERIFICATION)
        entity.network_timeout = None
        opened.append(entity.associate("127.0.0.1", port, ae_title=OURS))
    assert all(one.is_established for one in opened)
    try:
        yield
    finally:
        for one in opened:
            one.release()


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=3, help="of each sender in a round")
    parser.add_argument("--senders", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=100, help="associations that do nothing")
    parser.add_argument("--busy", type=int, default=20, help="senders beside these, for memory")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dicom-rate-") as name:
        folder = Path(name)
        with (
            orthanc.orthanc(folder / "orthanc") as peer,
            listener(folder / "portal") as (port, pid),
        ):
            show_memory(folder, port, pid, chosen.idle, chosen.busy)
            ratios = []
            for number in range(chosen.rounds):
                sent = made(folder / "files", chosen.senders, chosen.files)
                theirs = send(sent, peer.dicom_port, orthanc.AE_TITLE)
                ours = send(sent, port, OURS)
                ratios.append(theirs / ours)
                show(f"round {number + 1}", sent, theirs, ours)
                shutil.rmtree(folder / "files")
            print(f"Pleura / Orthanc: median {statistics.median(ratios):.2f}")


def show(what: str, sent: list[Path], theirs: float, ours: float) -> None:
    """Print the rates of a round."""
    sizes = [path.stat().st_size for one in sent for path in one.iterdir()]
    megabytes = sum(sizes) / 1e6
    print(
        f"{what}: Orthanc {len(sizes) / theirs:.1f} files/s, {megabytes / theirs:.0f} MB/s; "
        f"Pleura {len(sizes) / ours:.1f} files/s, {megabytes / ours:.0f} MB/s; "
        f"{theirs / ours:.2f}",
        flush=True,
    )


def show_memory(folder: Path, port: int, pid: int, idle: int, busy: int) -> None:
    """Print what the listener holds with idle associations, and with busy ones beside them."""
    sent = made(folder / "files", busy, 2)
    before, peak = memory(pid), Peak(pid)
    with idle_associations(port, idle):
        time.sleep(1)
        held = memory(pid)
        with peak.watched():
            send(sent, port, OURS)
    of_idle, of_busy = (held - before) / idle, (peak.most - held) / busy
    print(f"memory: {before:.0f} MiB; with {idle} open {held:.0f}, {of_idle:.2f} each")
    print(f"with {busy} busy beside them at most {peak.most:.0f}, {of_busy:.0f} each")
    shutil.rmtree(folder / "files")


if __name__ == "__main__":
    main()

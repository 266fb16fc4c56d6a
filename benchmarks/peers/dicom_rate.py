"""How fast pictures come in by DICOM, beside Orthanc, and what an association takes of memory.

    python -m benchmarks.peers.dicom_rate --files 20 --senders 10

Ten storescu (DCMTK) at a time send the same files, with UIDs of their own, first to one, then to
the other. Here with everything that a portal does before it answers: header read in a confined
process, sealed, synced, rows, audit row and job committed (SQLite). Orthanc stores plain files and
an index, and does not sync.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
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


def memory(pid: int) -> float:
    """MiB that a process holds for itself."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M)) / 1024


def idle_associations(port: int, pid: int, count: int) -> tuple[float, float]:
    """MiB before, and with so many associations open that do nothing."""
    before = memory(pid)
    opened = []
    for _ in range(count):
        entity = ApplicationEntity(TITLE)
        entity.add_requested_context(classes.VERIFICATION)
        opened.append(entity.associate("127.0.0.1", port, ae_title=OURS))
    assert all(one.is_established for one in opened)
    time.sleep(1)
    held = memory(pid)
    for one in opened:
        one.release()
    return before, held


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=20, help="of each sender")
    parser.add_argument("--senders", type=int, default=10)
    parser.add_argument("--idle", type=int, default=100, help="associations that do nothing")
    chosen = parser.parse_args()
    count = chosen.files * chosen.senders
    with tempfile.TemporaryDirectory(prefix="dicom-rate-") as name:
        folder = Path(name)
        folders = made(folder / "files", chosen.senders, chosen.files)
        megabytes = sum(path.stat().st_size for one in folders for path in one.iterdir()) / 1e6
        with orthanc.orthanc(folder / "orthanc") as peer:
            theirs = send(folders, peer.dicom_port, orthanc.AE_TITLE)
        with listener(folder / "portal") as (port, pid):
            before, held = idle_associations(port, pid, chosen.idle)
            ours = send(folders, port, OURS)
            after = memory(pid)
    for who, seconds in (("Orthanc", theirs), ("Pleura", ours)):
        print(f"{who}: {count / seconds:.1f} files/s, {megabytes / seconds:.0f} MB/s")
    print(f"Pleura / Orthanc: {theirs / ours:.2f}")
    print(f"memory: {before:.0f} MiB, with {chosen.idle} open {held:.0f}, after all {after:.0f}")


if __name__ == "__main__":
    main()

"""Orthanc with its DICOMweb plugin, as Debian has them, on ports of its own: `make peers`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

AE_TITLE = "ORTHANC"
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: its REST API's address (DICOMweb is /dicom-web/ there), DICOM's port."""

    url: str
    dicom_port: int

    def store(self, data: bytes) -> None:
        """Store one DICOM file."""
        httpx2.post(f"{self.url}/instances", content=data, timeout=60).raise_for_status()


def _program() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def missing() -> str | None:
    """Why Orthanc can't run here; None if it can."""
    if _program() is None or not _PLUGIN.exists():
        return "Orthanc is not installed (on Debian: apt install orthanc orthanc-dicomweb)"
    return None


@contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """An empty Orthanc with everything in this folder; it is ended with the block."""
    program = _program()
    assert program is not None
    folder.mkdir(parents=True)
    http, dicom = _free_ports(2)
    settings = folder / "orthanc.json"
    settings.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "Plugins": [str(_PLUGIN)],
                "HttpPort": http,
                "DicomPort": dicom,
                "DicomAet": AE_TITLE,
                "DicomAlwaysAllowEcho": True,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            }
        )
    )
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    started = Orthanc(f"http://127.0.0.1:{http}", dicom)
    try:
        _wait(started, process, folder / "orthanc.log")
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(started: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx2.get(f"{started.url}/system", timeout=2).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"Orthanc does not answer: {log.read_text(errors='replace')[-800:]}")


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listened on a moment ago: Orthanc takes a number, no socket."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports

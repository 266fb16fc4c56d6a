"""The process of the batch engine: started by the worker, started again whenever it ends.

``python -m worker.segment.batch_process SOCKET DEVICE THREADS PICTURES_MAX PRECISION ENGINE``
listens at a Unix socket and answers until it is stopped.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.runtime import lung_finder, session
from ml.runtime.session import Device, Engine, Precision, Session
from worker import parent_process
from worker.segment.batch_engine import BatchEngine

log = logging.getLogger(__name__)


@contextmanager
def running(
    path: Path,
    device: Device,
    threads: int,
    pictures_max: int,
    precision: Precision = "f32",
    engine: Engine = "auto",
) -> Iterator[None]:
    """The engine's process while the body runs."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "worker.segment.batch_process",
        str(path),
        device,
        str(threads),
        str(pictures_max),
        precision,
        engine,
    ]
    ended = threading.Event()
    current: list[subprocess.Popen[bytes]] = []

    def restart_until_ended() -> None:
        while not ended.is_set():
            # A group of its own, so that the last jobs can end after a signal to the worker; and a
            # pipe that closes with the worker, however the worker ends.
            process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                command, stdin=subprocess.PIPE, process_group=0
            )
            current[:] = [process]
            if ended.is_set():
                process.terminate()
            status = process.wait()
            if not ended.is_set():
                log.error("the engine's process ended (%d) and is started again", status)
                ended.wait(1.0)

    thread = threading.Thread(target=restart_until_ended, name="engine", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        for process in current:
            process.terminate()
        thread.join(timeout=5.0)
        path.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """Listen and answer until stopped."""
    socket_path, device, threads, pictures_max, precision, engine_name = arguments
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s engine: %(message)s",
    )

    def open_model(folder: Path) -> Session:
        wanted = "f32" if folder.name == lung_finder.NAME else precision
        return session.open(folder, device, int(threads), wanted, engine_name)  # type: ignore[arg-type]  # checked by worker.settings

    engine = BatchEngine(open_model, int(pictures_max))
    path = Path(socket_path)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        threading.Thread(target=engine.listen, args=(listener,), daemon=True).start()
        parent_process.end_with_it()
        engine.run()


if __name__ == "__main__":
    main(sys.argv[1:])

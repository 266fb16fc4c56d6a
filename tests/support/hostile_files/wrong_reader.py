"""A header process whose reader does what no file should make it do: the file names it.

Files are PNG or JPEG by their beginning; what follows says what happens. It runs in place of
`portal.formats.header_process`, under the limits of that.
"""

import os
import socket
import sys
import time
from typing import Any

if __name__ == "__main__":  # as in the module that it stands for: it starts sooner
    sys.modules |= dict.fromkeys(("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg"), None)  # type: ignore[arg-type]

from portal.formats import header_process, upload_header
from portal.formats.refusals import Limits
from portal.formats.upload_header import Upload


def read(_filename: str, data: bytes, _limits: Limits) -> Upload:
    """Do what the file says and report how it went."""
    what, _, more = data[8:200].decode("ascii").strip().partition(":")
    done: dict[str, Any] = {"rows": 1, "columns": 1}
    match what:
        case "loop":
            while True:
                pass
        case "sleep":
            time.sleep(float(more))
        case "memory":
            done["bytes"] = len(bytes(int(more)))
        case "crash":
            os.abort()
        case "raise":
            raise RuntimeError("CANARY^ZEBRA")
        case "forge":
            return Upload("text/html", {"patient_name": 7}, {}, {})  # type: ignore[dict-item]
        case "open":
            done["opened"] = _tried(lambda: open(more, "rb"))  # noqa: SIM115
        case "connect":
            done["opened"] = _tried(socket.socket)
        case "signal":
            done["signalled"] = _tried(lambda: os.kill(int(more), 0))
        case "environment":
            done["environment"] = dict(os.environ)
    return Upload("image/png", {}, {}, done)


def _tried(what: Any) -> bool:
    try:
        what()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    upload_header.read = read
    header_process.main()

"""A process that makes pictures without their patient, for which those of SLOW^... never end."""

import sys

if __name__ == "__main__":  # as in the module that it stands for: it starts sooner
    sys.modules |= dict.fromkeys(("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg"), None)  # type: ignore[arg-type]

from typing import Any

from portal.exchange import deidentify_process
from portal.formats import header_process


def _answer(asked: dict[str, Any], data: bytes) -> header_process.Answer:
    while b"SLOW^" in data:
        pass
    return deidentify_process._answer(asked, data)


def _budget(_asked: dict[str, Any], _size: int) -> tuple[float, int]:
    return 0.1, 64 * 2**20


if __name__ == "__main__":
    header_process.serve(_answer, _budget)

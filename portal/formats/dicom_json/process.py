"""A limited process that reads stored files for DICOMweb: elements as JSON, frames, long values.

``python -m portal.formats.dicom_json.process`` serves its parent as `header_process` does, within
the same limits. Its own, so that a search which reads many headers keeps no upload waiting.
"""

import json
import sys
from typing import Any, Final

if __name__ == "__main__":  # as in `portal.formats.header_process`
    sys.modules |= dict.fromkeys(  # type: ignore[arg-type]
        ("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg", "requests", "tqdm")
    )

from portal.formats import header_process
from portal.formats.dicom_json import elements, frames
from portal.formats.header_messages import CPU_SECONDS, MEMORY_BYTES
from portal.formats.header_process import Answer
from portal.formats.refusals import refuse

# Of the JSON of one file.
MOST_JSON_BYTES: Final = 4 * 2**20
_BYTES_PER_CPU_SECONDS: Final = 32 * 2**20


def main() -> None:
    """Read one file after the other until the parent closes the socket."""
    header_process.serve(_read, _budget)


def _budget(_asked: dict[str, Any], size: int) -> tuple[float, int]:
    # What is read of a file is copied on its way out, also of one that was deflated.
    return CPU_SECONDS * (2 + size / _BYTES_PER_CPU_SECONDS), 2 * MEMORY_BYTES + size


def _read(asked: dict[str, Any], data: bytes) -> Answer:
    if asked["what"] == "elements":
        found, syntax = elements.read(data)
        body = json.dumps(found, separators=(",", ":"), allow_nan=False).encode()
        if len(body) > MOST_JSON_BYTES:
            raise refuse("header_limit")
        return {"syntax": syntax}, body
    if asked["what"] == "frames":
        made, syntax = frames.read(data, asked["numbers"])
        return {"syntax": syntax, "sizes": [len(one) for one in made]}, b"".join(made)
    return {}, bytes(elements.bulk(data, asked["way"]))


if __name__ == "__main__":
    main()

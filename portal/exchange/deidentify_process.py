"""A process that makes pictures without their patient: a stored file in, a new file out.

``python -m portal.exchange.deidentify_process`` serves the portal like
`portal.formats.header_process`, confined alike: what `deidentify` reads was sent by somebody. It
has no key. So the portal asks for the old UIDs first and sends the new ones with the second
question.
"""

import sys
from typing import Any, Final

if __name__ == "__main__":  # as in `portal.formats.header_process`
    sys.modules |= dict.fromkeys(  # type: ignore[arg-type]
        ("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg", "requests", "tqdm")
    )

from portal.exchange import deidentify
from portal.exchange.deidentify import Identity
from portal.formats import dicom, header_process, patient_tags
from portal.formats.codestream_scrub import NotCleanable
from portal.formats.refusals import refuse

SECONDS: Final = 4.0
"""Processor time for one question about a picture, and a second more for each 8 MiB of it."""
_BYTES_PER_SECOND: Final = 8 * 2**20
_MEMORY: Final = 192 * 2**20
"""A deflated file unfolds to 32 MiB, which is there a few times over."""
_OLD_UIDS: Final = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}


def main() -> None:
    """Do one picture after the other until the portal closes the socket."""
    header_process.yield_to_others()
    header_process.serve(_answer, _budget)


def _budget(_asked: dict[str, Any], size: int) -> tuple[float, int]:
    return SECONDS + size / _BYTES_PER_SECOND, _MEMORY + 4 * size


def _answer(asked: dict[str, Any], data: bytes) -> header_process.Answer:
    if asked["what"] == "uids":
        source, _, _ = dicom.picture(data)
        return {kind: patient_tags.uid(source, name) for kind, name in _OLD_UIDS.items()}, b""
    new: dict[str, str] = asked["uids"]
    identity = Identity(asked["pseudonym"], lambda kind, _old: new[kind], asked["number"])
    is_wrong = asked["spacing_is_wrong"]
    try:
        made = deidentify.deidentify(data, identity, spacing_is_wrong=is_wrong)
    except NotCleanable:
        raise refuse("unreadable") from None
    warnings = deidentify.burned_in(data, spacing_is_wrong=is_wrong)
    answer = {"warnings": warnings, "size": len(made)}
    return answer, made if asked["what"] == "export" else b""


if __name__ == "__main__":
    main()

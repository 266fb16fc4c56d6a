"""The archive of a picture's DICOM objects, as an encode job stores it: files and a list of them.

It was packed by a worker: nothing is unpacked that could be larger than the archive itself.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any, Final

from worker.contract.contents.object_content import MANIFEST, EarlierObject, MadeObject
from worker.contract.message import InvalidMessage

_FILES_MOST: Final = 21


class BadArchive(ValueError):
    """Bytes that are no archive of objects."""


def files(data: bytes) -> dict[str, bytes]:
    """The files of an archive by their names; BadArchive for any other."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            stored = all(one.compress_type == zipfile.ZIP_STORED for one in listed)
            size = sum(one.file_size for one in listed)
            if not stored or size > len(data) or len(listed) > _FILES_MOST:
                raise BadArchive("not an archive of stored files")
            return {one.filename: archive.read(one) for one in listed}
    except BadArchive:
        raise
    except Exception:  # whatever zipfile meets in a damaged archive
        raise BadArchive("not a ZIP that can be read") from None


def holds(data: bytes, objects: Sequence[MadeObject]) -> bool:
    """Whether an archive holds these objects, their list and nothing else."""
    try:
        found = files(data)
    except BadArchive:
        return False
    if found.pop(MANIFEST, None) is None or len(found) != len(objects):
        return False
    return all(
        hashlib.sha256(found.get(one.file, b"")).hexdigest() == one.sha256 for one in objects
    )


def listed(data: bytes) -> list[MadeObject]:
    """The objects that an archive lists; BadArchive where it lists none."""
    try:
        found: Any = json.loads(files(data).get(MANIFEST, b""))
        return [MadeObject.parse(one) for one in found["objects"]]
    except (InvalidMessage, ValueError, TypeError, KeyError, RecursionError):
        raise BadArchive("no list of objects") from None


def as_earlier(data: bytes) -> list[EarlierObject]:
    """How the objects of an archive are referred to by those that replace them."""
    return [
        EarlierObject(kind=o.kind, sop_class=o.sop_class, series=o.series, instance=o.instance)
        for o in listed(data)
    ]

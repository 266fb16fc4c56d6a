"""The parts of served files: read by a limited process, and checked before anything is used.

Two processes for each process of the portal, started when DICOMweb is first used. The headers that
were read last stay in this process' memory, by the names of their files: who asks has opened the
file's key before, so of what is purged none is served.
"""

import atexit
import json
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from pydantic import Field

from portal.dicomweb.records import Elements, Served
from portal.formats.dicom_json.element_values import KNOWN
from portal.formats.header_pool import HeaderPool, Shape
from portal.formats.refusals import Refused
from portal.jobs.results import object_archive
from portal.jobs.results.object_archive import BadArchive
from portal.studies import stored_files
from portal.vault import NotReadable, Vault, content_digest

MODULE: Final = "portal.formats.dicom_json.process"
PROCESSES: Final = 2
MOST_REMEMBERED: Final = 16 * 2**20
# Nearly every header lies before it.
_HEAD_BYTES: Final = 512 * 1024
_TAG: Final = re.compile(r"[0-9A-F]{8}")
WAY: Final = re.compile(r"#[0-9A-F]{8}(/\d{1,4}/[0-9A-F]{8}){0,24}")
_MEMBERS: Final = frozenset(("vr", "Value", "InlineBinary", "BulkDataURI"))
_DEEPEST: Final = 30
_SYNTAX: Final = r"^[0-9.]{0,64}$"


class _Header(Shape):
    syntax: str = Field(pattern=_SYNTAX)


class _Frames(Shape):
    syntax: str = Field(pattern=_SYNTAX)
    sizes: list[int]


class NoSuchPart(Exception):
    """The file has no such frame or value, or not in the form that it is stored in.

    `code`: why, a code of `portal.formats.refusals`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileHeader:
    """A file's elements without pixels and other long values, and its transfer syntax."""

    elements: Elements = field(repr=False)
    syntax: str


class _Remembered:
    """Headers by the names of their files, those used last at the end."""

    def __init__(self) -> None:
        self._headers: OrderedDict[tuple[str, str], tuple[FileHeader, int]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: tuple[str, str]) -> FileHeader | None:
        with self._lock:
            if key not in self._headers:
                return None
            self._headers.move_to_end(key)
            return self._headers[key][0]

    def put(self, key: tuple[str, str], header: FileHeader, size: int) -> None:
        with self._lock:
            self._size += size - self._headers.pop(key, (header, 0))[1]
            self._headers[key] = header, size
            while self._size > MOST_REMEMBERED:
                _, (_, gone) = self._headers.popitem(last=False)
                self._size -= gone


_remembered: Final = _Remembered()
_lock = Lock()
_pool: HeaderPool | None = None


def file_of(vault: Vault, one: Served) -> bytes:
    """The file as it was stored; NotReadable where it is missing, damaged or another one."""
    data = stored_files.read(vault, one.data_key, one.blob)
    if not one.member:
        return data
    try:
        found = object_archive.files(data).get(one.member, b"")
    except BadArchive:
        raise NotReadable("an archive of objects is damaged") from None
    if content_digest(found).hex() != one.sha256:
        raise NotReadable("an object is not the one that was made")
    return found


def is_known(one: Served) -> bool:
    """Whether its header is in memory."""
    return _remembered.get(one.key) is not None


def header_of(vault: Vault, one: Served) -> FileHeader:
    """The file's header; NotReadable where it can't be read."""
    known = _remembered.get(one.key)
    if known is not None:
        return known
    data = file_of(vault, one)
    try:
        answer = _asked({"what": "elements"}, data[:_HEAD_BYTES])
    except Refused:
        if len(data) <= _HEAD_BYTES:
            raise NotReadable("a header can't be read") from None
        answer = _whole(data)
    header = FileHeader(_checked(answer["body"], one), answer["syntax"])
    _remembered.put(one.key, header, 4 * len(answer["body"]))
    return header


def _whole(data: bytes) -> dict[str, Any]:
    try:
        return _asked({"what": "elements"}, data)
    except Refused:
        raise NotReadable("a header can't be read") from None


def frames_of(vault: Vault, one: Served, numbers: Sequence[int]) -> tuple[list[bytes], str]:
    """Frames as they are stored, and their transfer syntax; NoSuchPart or NotReadable."""
    asked = {"what": "frames", "numbers": list(numbers)}
    try:
        answer = _pooled().ask(asked, file_of(vault, one), shape=_Frames)
    except Refused as refused:
        raise NoSuchPart(refused.code) from None
    body, sizes = answer["body"], answer["sizes"]
    if len(sizes) != len(numbers) or sum(sizes) != len(body) or any(size < 0 for size in sizes):
        raise NotReadable("the process that reads files was taken over")
    found, at = list[bytes](), 0
    for size in sizes:
        found.append(body[at : at + size])
        at += size
    return found, answer["syntax"]


def bulk_of(vault: Vault, one: Served, way: str) -> bytes:
    """The bytes of a long value; NoSuchPart or NotReadable."""
    try:
        answer = _pooled().ask({"what": "bulk", "way": way}, file_of(vault, one))
    except Refused as refused:
        raise NoSuchPart(refused.code) from None
    found: bytes = answer["body"]
    return found


def _asked(asked: dict[str, Any], data: bytes) -> dict[str, Any]:
    return _pooled().ask(asked, data, shape=_Header)


def _checked(body: bytes, one: Served) -> Elements:
    """What the process answered, where it is of the DICOM JSON model and of this very instance."""
    try:
        found = json.loads(body)
        is_model = isinstance(found, dict) and _is_data_set(found, 0)
    except (ValueError, RecursionError):
        is_model = False
    if not is_model:
        raise NotReadable("the process that reads files was taken over")
    for tag, uid in (
        ("0020000D", one.study_uid),
        ("0020000E", one.series_uid),
        ("00080018", one.sop_uid),
    ):
        if (found.get(tag, {}).get("Value") or [None])[0] != uid:
            raise NotReadable("a header is not the one that was stored")
    elements: Elements = found
    return elements


def _is_data_set(found: Any, depth: int) -> bool:
    return (
        isinstance(found, dict)
        and depth <= _DEEPEST
        and all(_TAG.fullmatch(tag) and _is_element(one, depth) for tag, one in found.items())
    )


def _is_element(one: Any, depth: int) -> bool:
    if not (isinstance(one, dict) and one.keys() <= _MEMBERS):
        return False
    if not all(isinstance(one.get(name, ""), str) for name in _MEMBERS - {"Value"}):
        return False
    if one.get("vr") not in KNOWN or not WAY.fullmatch(one.get("BulkDataURI", "#00000000")):
        return False
    values = one.get("Value", [])
    if not isinstance(values, list):
        return False
    if one["vr"] == "SQ":
        return all(_is_data_set(item, depth + 1) for item in values)
    return all(_is_value(item) for item in values)


def _is_value(item: Any) -> bool:
    if isinstance(item, dict):
        return all(isinstance(text, str) for text in item.values())
    return item is None or isinstance(item, str | int | float)


def _pooled() -> HeaderPool:
    global _pool
    with _lock:
        if _pool is None:
            _pool = HeaderPool(PROCESSES, MODULE)
            atexit.register(_close, os.getpid())
        return _pool


def _close(owner: int) -> None:
    """End the processes with the one that started them, not with one that was forked from it."""
    if _pool is not None and os.getpid() == owner:
        _pool.close()


def _forget() -> None:
    """A forked process starts its own."""
    global _lock, _pool
    _lock, _pool = Lock(), None


os.register_at_fork(after_in_child=_forget)

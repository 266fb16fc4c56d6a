"""ZIP files: their members one after the other, never more unpacked than is allowed.

The directory is measured before anything is unpacked. A member's name is a text to show: nothing
is ever written under it, and a link or another archive inside is refused, not followed.
"""

import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from portal.formats.display_text import clean
from portal.formats.refusals import MAX_HEADER_BYTES, Limits, Refused, refuse

_BEGINNINGS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENTRY: Final = b"PK\x01\x02"
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NAME_LENGTH: Final = 200
_ENCRYPTED: Final = 0x1
# Of processor time, for what was sent at all and for each 2 MiB of it. Pictures take a few
# milliseconds each.
SECONDS: Final = 0.25
# What systems and CD writers add to pictures. Hidden files begin with a dot.
_NOT_PICTURES: Final = frozenset({"dicomdir", "thumbs.db", "desktop.ini", "__macosx"})


def most_seconds(size: int, seconds: float = SECONDS) -> float:
    """Processor time that several files of `size` bytes together may take, sent at once: `seconds`,
    and as much again for each 2 MiB.
    """
    return seconds * (1 + size / (2 * 2**20))


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What is unpacked at most: bytes of the ZIP and of all its members, members, ratio of each.

    `seconds`: processor time that unpacking and reading headers may take together, see
    `most_seconds`.
    """

    max_bytes: int
    max_file_bytes: int
    max_files: int = 2000
    unfolds: int = 4  # all members together, in times of max_bytes
    ratio: int = 100  # of each member; those of X-rays are below 20
    max_header_bytes: int = MAX_HEADER_BYTES
    seconds: float = SECONDS

    def of_file(self) -> Limits:
        """What one member is checked by."""
        return Limits(self.max_file_bytes, max_header_bytes=self.max_header_bytes)

    def most_seconds(self, size: int) -> float:
        """Processor time for a ZIP of `size` bytes."""
        return most_seconds(size, self.seconds)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a ZIP: its bytes, or why they were refused, or neither: it was left out."""

    name: str = field(repr=False)  # "file 3" where the third has none
    data: bytes | None = field(default=None, repr=False)
    refused: Refused | None = None


def looks_like(data: bytes) -> bool:
    """Whether the bytes are a ZIP. One that is also DICOM is none: the intake refuses it."""
    return data.startswith(_BEGINNINGS) and data[128:132] != b"DICM"


def members(data: bytes, limits: ArchiveLimits) -> Iterator[Member]:
    """Each file of the ZIP in its order; Refused, before the first, for the whole."""
    if len(data) > limits.max_bytes:
        raise refuse("archive_too_large", megabytes=limits.max_bytes // 2**20)
    # An entry of the directory can't be without its mark, so no more are read than are counted.
    if data.count(_ENTRY) > limits.max_files:
        raise refuse("archive_too_many_files", files=limits.max_files)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception:  # whatever zipfile meets in a damaged directory
        raise refuse("archive_damaged") from None
    entries = archive.infolist()
    # Of a ZIP whose end is missing, zipfile would find the end of one that lies in it unpacked.
    if entries and min(entry.header_offset for entry in entries) != 0:
        raise refuse("archive_damaged")
    infos = [entry for entry in entries if not _is_folder(entry)]
    if not infos:
        raise refuse("archive_empty")
    if sum(info.file_size for info in infos) > limits.unfolds * limits.max_bytes:
        raise refuse("archive_bomb")
    if sum(info.compress_size for info in infos) > len(data):
        raise refuse("archive_bomb")  # members that lie on each other
    return (_member(archive, info, limits, number) for number, info in enumerate(infos, 1))


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    """Whether it is a folder and nothing else; ZipInfo's own test fails without a name."""
    return entry.filename.endswith("/") and entry.file_size == 0


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ArchiveLimits, number: int
) -> Member:
    """One member; whatever its entry leads to is a reason."""
    name = clean(info.filename, _NAME_LENGTH) or f"file {number}"
    parts = info.filename.replace("\\", "/").lower().split("/")
    # "." and ".." are ways, not names of hidden files.
    if any(part in _NOT_PICTURES or (part.startswith(".") and part.strip(".")) for part in parts):
        return Member(name)
    try:
        _check(info, limits)
        return Member(name, _unpacked(archive, info, limits))
    except Refused as refused:
        return Member(name, refused=refused)
    except Exception:  # whatever zipfile meets in a damaged entry
        return Member(name, refused=refuse("damaged"))


def _check(info: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise refuse("member_no_file")
    if info.flag_bits & _ENCRYPTED:
        raise refuse("member_locked")
    if info.compress_type not in _METHODS:
        raise refuse("member_unsupported")
    if info.file_size > limits.max_file_bytes:
        raise refuse("too_large", megabytes=limits.max_file_bytes // 2**20)
    if info.file_size > limits.ratio * info.compress_size:
        raise refuse("member_bomb")


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ArchiveLimits) -> bytes:
    """The member's bytes: as many as the directory gives, with its checksum."""
    try:
        with archive.open(info) as stream:
            data = stream.read(limits.max_file_bytes + 1)
    except Exception:  # a wrong checksum or length, or a header unlike the directory
        raise refuse("damaged") from None
    if len(data) != info.file_size:
        raise refuse("damaged")
    if looks_like(data):
        raise refuse("member_archive")
    return data

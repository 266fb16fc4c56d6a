"""Files that are a picture here and something else to another program: how they are detected.

A DICOM file may begin with 128 bytes of anything, and readers of ZIP look for its end and those
of PDF somewhere in the first kilobyte: one file can be an X-ray here and a program, a page or an
archive on the machine that it is exported to. The pictures themselves never begin or end so.
"""

from typing import Final

# What programs, archives, pages and pictures of other kinds begin with.
_BEGINNINGS: Final = (
    *(b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!"),
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ"),
    *(b"<", b"\xef\xbb\xbf<", b"{\\rtf", b"GIF8", b"RIFF", b"\xff\xd8\xff", b"\x89PNG"),
)
_PDF: Final = b"%PDF-"
_PDF_WITHIN: Final = 1024
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ZIP_COMMENT: Final = 65535
_DICOM_PREAMBLE: Final = 128


def is_disguised(data: bytes) -> bool:
    """Whether a picture is a document, a program or an archive as well."""
    if data[_DICOM_PREAMBLE:132] == b"DICM" and data.startswith(_BEGINNINGS):
        return True
    return _PDF in data[:_PDF_WITHIN] or _ends_as_zip(data)


def _ends_as_zip(data: bytes) -> bool:
    """Whether the file ends with the directory of a ZIP, whose comment reaches to the last byte."""
    at = len(data)
    earliest = len(data) - _ZIP_END_BYTES - _ZIP_COMMENT
    while (at := data.rfind(_ZIP_END, max(0, earliest), at)) >= 0:
        comment = int.from_bytes(data[at + 20 : at + 22], "little")
        if at + _ZIP_END_BYTES + comment == len(data):
            return True
    return False

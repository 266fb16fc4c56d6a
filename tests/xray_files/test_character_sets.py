"""Texts in each character set and with each escape of the standard's tables.

Names of PS3.5 H, I, J and K, and each set's own encoder in Python.
"""

import pytest

from xray_files.character_sets import decode

YAMADA = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"


@pytest.mark.parametrize(
    ("names", "raw", "text"),
    [
        # PS3.5 H.3.1: the escapes return to ASCII before each delimiter
        (("", "ISO 2022 IR 87"), YAMADA, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        # PS3.5 H.3.2: half-width katakana and romaji of JIS X 0201 come first
        (
            ("ISO 2022 IR 13", "ISO 2022 IR 87"),
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        # PS3.5 I.2: KS X 1001 stands in the upper half after its escape
        (
            ("", "ISO 2022 IR 149"),
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        # PS3.5 K.2: GB 2312
        (
            ("", "ISO 2022 IR 58"),
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
        ),
        # the set named first and alone, as some writers do
        (
            ("ISO 2022 IR 58",),
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
            "Zhang^XiaoDong=张^小东",
        ),
        (("ISO 2022 IR 149",), b"\xc8\xab^\xb1\xe6\xb5\xbf", "홍^길동"),
        # supplementary kanji of JIS X 0212
        (("", "ISO 2022 IR 159"), b"\x1b$(D\x30\x21\x1b(B^A", "丂^A"),
        # an escape that the header does not name
        (("",), b"\x1b-F\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        (("ISO_IR 100", "ISO 2022 IR 144"), b"Andr\xe9=\x1b-L\xbb\xee\xda", "André=Люк"),
        # a delimiter leads back to the first set
        (("ISO_IR 100",), b"\x1b-L\xbb\xee\xda^Andr\xe9", "Люк^André"),
        (("ISO_IR 192",), "Wang^小東".encode(), "Wang^小東"),
        (("GB18030",), "王^小东".encode("gb18030"), "王^小东"),
        (("GBK",), "王^小东".encode("gbk"), "王^小东"),
        # cut within a character, an escape that is none, a byte that is none
        (("ISO 2022 IR 149",), b"\xc8\xab^\xb1", "홍^\ufffd"),
        (("ISO_IR 192",), "Zoë".encode()[:-1], "Zo\ufffd"),
        (("",), b"A\x1b[31mB", "A[31mB"),
        (("",), b"\x1b", ""),
        (("NONSENSE",), b"Andr\xe9", "André"),
    ],
)
def test_texts_of_the_standard_and_of_its_breakers(
    names: tuple[str, ...], raw: bytes, text: str
) -> None:
    assert decode(raw, names) == text


@pytest.mark.parametrize(
    ("number", "escape", "encoding", "text"),
    [
        ("100", b"-A", "iso8859-1", "Müller"),
        ("101", b"-B", "iso8859-2", "Świętosław"),
        ("109", b"-C", "iso8859-3", "ĈĝĥĴŜŬ"),
        ("110", b"-D", "iso8859-4", "Āķņ"),
        ("144", b"-L", "iso8859-5", "Люксембург"),
        ("127", b"-G", "iso8859-6", "قباني"),
        ("126", b"-F", "iso8859-7", "Διονυσιος"),
        ("138", b"-H", "iso8859-8", "שרון"),
        ("148", b"-M", "iso8859-9", "Çavuşoğlu"),
        ("203", b"-b", "iso8859-15", "Œuvre€"),
        ("166", b"-T", "tis-620", "นามสกุล"),
        ("13", b")I", "shift_jis", "ﾔﾏﾀﾞ"),
    ],
)
def test_every_single_byte_set_is_read_by_its_name_and_by_its_escape(
    number: str, escape: bytes, encoding: str, text: str
) -> None:
    raw = text.encode(encoding)
    assert decode(raw, (f"ISO_IR {number}",)) == text
    assert decode(raw, (f"ISO 2022 IR {number}", "ISO 2022 IR 87")) == text
    assert decode(b"A^\x1b" + escape + raw, ("", f"ISO 2022 IR {number}")) == "A^" + text

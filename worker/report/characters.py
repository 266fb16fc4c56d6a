"""Which characters the fonts of reports have, so that a report can name what it could not print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fontTools.ttLib import TTFont
from weasyprint.text.ffi import ffi, fontconfig

# White space and marks of direction are not printed.
_NOT_PRINTED = frozenset(
    map(ord, "\t\n\r \u00a0\u200b\u200c\u200d\u200e\u200f\u2066\u2067\u2068\u2069")
)


class Characters:
    """The characters of all fonts that fontconfig offers here."""

    def __init__(self) -> None:
        self._known = set[int]()
        for path in _files():
            try:
                with TTFont(path, fontNumber=0, lazy=True) as font:
                    self._known.update(font.getBestCmap() or ())
            except Exception:  # a font that can't be read prints nothing  # noqa: S112  # nosec B112
                continue

    def lacks_one(self, texts: Iterable[str]) -> bool:
        """Whether a text has a character that no font has."""
        return any(not self._known.issuperset(set(map(ord, t)) - _NOT_PRINTED) for t in texts)


def _files() -> list[Path]:
    config = ffi.gc(fontconfig.FcInitLoadConfigAndFonts(), fontconfig.FcConfigDestroy)
    fonts = fontconfig.FcConfigGetFonts(config, fontconfig.FcSetSystem)
    found, text = list[Path](), ffi.new("FcChar8 **")
    for number in range(fonts.nfont):
        if fontconfig.FcPatternGetString(fonts.fonts[number], b"file", 0, text) == 0:
            found.append(Path(ffi.string(text[0]).decode()))
    return sorted(set(found))

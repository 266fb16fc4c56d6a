"""What reports need of this machine beside Python packages: Pango and its libraries, and fonts."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import Final

FONT_SETTINGS: Final = Path(__file__).with_name("fonts.conf")
# As WeasyPrint looks for them; any of the names.
_LIBRARIES: Final = {
    "Pango": ("libpango-1.0.so.0", "libpango-1.0.dylib"),
    "PangoFT2": ("libpangoft2-1.0.so.0", "libpangoft2-1.0.dylib"),
    "HarfBuzz": ("libharfbuzz.so.0", "libharfbuzz.0.dylib"),
    "Fontconfig": ("libfontconfig.so.1", "libfontconfig.1.dylib"),
}
FONT_FOLDERS: Final = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "/opt/homebrew/share/fonts"),
    "/usr/share/fonts-droid-fallback",
)
_FONTS: Final = {
    "Latin, Greek, Cyrillic, Hebrew, Arabic": "DejaVuSans.ttf",
    "Chinese, Japanese": "DroidSansFallback*.ttf",
    "Korean": "NanumGothic.ttf",
}
HOW: Final = (
    "on Debian: apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 "
    "fonts-dejavu-core fonts-droid-fallback fonts-nanum"
)


def missing() -> str:
    """Why no report can be made here, in one sentence; "" where all is there."""
    lacking = [name for name, files in _LIBRARIES.items() if not any(map(_loads, files))]
    if importlib.util.find_spec("weasyprint") is None:
        lacking.append("WeasyPrint")
    if not lacking:
        return ""
    return f"This worker makes no reports: {', '.join(lacking)} is missing ({HOW})."


def fonts_lacking() -> list[str]:
    """Scripts that the fonts here do not have; they print as boxes."""
    folders = [Path(folder) for folder in FONT_FOLDERS]
    return [
        script
        for script, name in _FONTS.items()
        if not any(True for folder in folders for _ in folder.rglob(name))
    ]


def _loads(name: str) -> bool:
    if sys.platform == "linux" and name.endswith(".dylib"):
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    problems = [*filter(None, [missing()]), *fonts_lacking()]
    sys.stdout.write("".join(f"{one}\n" for one in problems))
    raise SystemExit(bool(problems))

"""Rules of the templates: no line over 160 characters, and every address made by url_for.

`make lint` runs it; it prints what breaks a rule and ends with code 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

TEMPLATES = ROOT / "templates"
LONGEST = 160
# An address of the portal written out: as an attribute, or as a text that a macro gets.
ADDRESS = re.compile(
    r"""(?:href|src|action|formaction|poster|cite|data-[\w-]+)=["']?/\w|['"]/[a-z]"""
)


def problems(folder: Path) -> Iterator[str]:
    """A sentence for each line of the templates in `folder` that breaks a rule."""
    for path in sorted(folder.rglob("*.html")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            where = f"{path.relative_to(folder.parent)}:{number}"
            if len(line) > LONGEST:
                yield f"{where}: {len(line)} characters; {LONGEST} are allowed"
            if found := ADDRESS.search(line):
                yield f"{where}: an address that url_for must make: {found[0]}"


if __name__ == "__main__":
    found = list(problems(TEMPLATES))
    print("\n".join(found))
    sys.exit(bool(found))

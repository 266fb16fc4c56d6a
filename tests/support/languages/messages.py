"""Finds the texts of the code and writes them into the `.po` files: `make messages`.

Each language has a file for each part of the code; a text that several parts have is in several
files, filled in from another where one is translated already. English texts that are gone leave
their translation behind: it is printed, to be put beside the new text.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po

from portal.languages import NAMES
from portal.languages.catalogues import FOLDER, PARTS, read_part
from portal.languages.current import DEFAULT
from tests.support.paths import ROOT

# The first that a file's path begins with says which part it belongs to.
WHERE = (
    ("static/js/", "scripts"),
    ("portal/web/clinic/emergency_access.py", "admin"),
    ("portal/web/present/performance.py", "admin"),
    ("portal/web/present/boards/", "admin"),
    ("portal/web/present/plots.py", "admin"),
    *((f"{name}", "report") for name in (
        "portal/reports/", "portal/web/present/reports/", "portal/sentences/", "portal/exchange/",
    )),
    *((f"{name}", "lists") for name in (
        "templates/worklist/", "templates/upload/", "templates/history/", "templates/second_reads/",
        "portal/web/clinic/upload", "portal/web/clinic/second_reads", "portal/web/clinic/emergency",
        "portal/web/present/list_", "portal/studies/", "portal/intake/", "portal/formats/",
        "portal/quotas",
    )),
    *((f"{name}", "clinic") for name in (
        "templates/case/", "templates/model_card.html", "templates/screen.html",
        "portal/web/clinic/", "portal/web/present/", "portal/reading/", "portal/outlines/",
    )),
    ("", "admin"),
)  # fmt: skip
KEYWORDS: dict[str, Any] = {
    "_": None,
    "lazy": None,
    "ngettext": (1, 2),
    "form_for": (1, 2),
    "pgettext": ((1, "c"), 2),
}
TWO = ("ngettext", "form_for", "pgettext")  # with two texts
HEAD = """\
# {name}: made by `make messages`, which keeps what is translated. CONTRIBUTING.md, Languages.
msgid ""
msgstr ""
"Language: {code}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plural}\\n"

"""


def sources() -> Iterator[Path]:
    """Every file that may have texts."""
    for folder, ending in (("portal", "py"), ("templates", "html"), ("static/js", "js")):
        yield from sorted((ROOT / folder).rglob(f"*.{ending}"))


def part_of(path: str) -> str:
    """The part of the code a file belongs to."""
    return next(part for beginning, part in WHERE if path.startswith(beginning))


def texts(path: Path) -> Iterator[tuple[Any, str | None]]:
    """The texts of one file, each with its context; (singular, plural) where a number decides."""
    if path.suffix == ".py":
        yield from _python_texts(path)
        return
    kind = {".html": "jinja2", ".js": "javascript"}[path.suffix]
    options = {"silent": "false"} if kind == "jinja2" else {}
    for _line, message, _comments, context in extract_from_file(
        kind, path, keywords=KEYWORDS, options=options
    ):
        yield message, context


def _python_texts(path: Path) -> Iterator[tuple[Any, str | None]]:
    """As Babel would find them, and also inside f-strings and with a `context` of `lazy`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name, places = node.func.id, 2 if node.func.id in TWO else 1
        if name not in KEYWORDS or len(node.args) < places:
            continue
        given = [one.value for one in node.args[:places] if isinstance(one, ast.Constant)]
        if len(given) < places:
            if path.parent.name != "languages":  # which defines them
                raise SystemExit(f"{path}:{node.lineno}: {name} needs a text, no expression")
            continue
        contexts = [one.value for one in node.keywords if one.arg == "context"]
        if name == "pgettext":
            yield given[1], given[0]
        elif name == "lazy" and contexts and isinstance(contexts[0], ast.Constant):
            yield given[0], contexts[0].value
        else:
            yield (tuple(given) if places == 2 else given[0]), None


def found(code: str) -> dict[str, Catalog]:
    """The texts of the whole code by part, without translations."""
    parts = {part: Catalog(locale=code, charset="utf-8") for part in PARTS}
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for message, context in texts(path):
            parts[part_of(name)].add(message, locations=[(name, None)], context=context)
    return parts


def known(code: str) -> dict[str, Catalog]:
    """What is translated, by part; empty for a part that has no file yet."""
    return {
        part: read_part(code, part)
        if (FOLDER / code / f"{part}.po").exists()
        else Catalog(locale=code)
        for part in PARTS
    }


def update(code: str) -> int:
    """Write the files of a language; how many texts have no translation. Prints what is gone."""
    before, missing = known(code), 0
    for part, catalog in found(code).items():
        known_parts = (before[part], *before.values())
        for message in list(catalog):
            if not message.id:
                continue
            olds = [other.get(message.id, message.context) for other in known_parts]
            ready = [
                old.string
                for old in olds
                if old and not old.fuzzy and old.id == message.id and is_full(old.string)
            ]
            message.string = ready[0] if ready else message.string
            missing += not ready
        for old in before[part]:
            if old.id and is_full(old.string) and not catalog.get(old.id, old.context):
                print(f"{code}/{part}: gone: {old.id!r} was {old.string!r}")
        write(code, part, catalog)
    return missing


def is_full(string: Any) -> bool:
    """Whether a translation has all its forms."""
    return all(string) if isinstance(string, tuple | list) else bool(string)


def write(code: str, part: str, catalog: Catalog) -> None:
    """Write one `.po` file, in the order of its texts, so that two changes seldom meet."""
    path = FOLDER / code / f"{part}.po"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        head = HEAD.format(name=f"{NAMES[code]}, {part}", code=code, plural=catalog.plural_forms)
        file.write(head.encode())
        write_po(
            file,
            catalog,
            width=100,
            omit_header=True,
            sort_output=True,
            ignore_obsolete=True,
            include_lineno=False,
        )


if __name__ == "__main__":
    left = 0
    for language in NAMES:
        if language != DEFAULT:
            untranslated = update(language)
            print(f"{NAMES[language]}: {untranslated} texts without a translation")
            left += untranslated
    sys.exit(bool(left))

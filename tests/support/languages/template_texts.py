"""Finds what a template shows that does not go through gettext.

The template's tree is laid out as flat HTML with a mark for each expression; every text in it and
every attribute that people read must have no words of its own, nor may a string of an expression
that looks like words, unless it is the message of `_`, `ngettext` or `pgettext`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from jinja2 import Environment, nodes

_MARK = "\ufffc"
_SHOWN = ("aria-label", "title", "placeholder", "alt", "data-tip", "aria-roledescription")
_UNREAD = ("script", "style", "kbd", "code")
_WORD = re.compile(r"[^\W\d_]{2,}")
_GETTEXT = ("_", "ngettext", "pgettext")
# Names, units and formats: the same in every language.
SAME = frozenset(
    [
        "Pleura",
        "UTC",
        "DICOM",
        "OBR",
        "ASCII",
        "UNICODE",
        "UTF",
        "PNG",
        "JPEG",
        "JSON",
        "CSV",
        "COCO",
        "SIIM",
        "PDF",
        "RLE",
        "API",
        "mm",
        "mm²",
        "cm²",
        "px",
        "ml",
        "cm",
        "kB",
        "MB",
        "GB",
        "AI",
        "PA",
        "AP",
        "Dice",
        "PACS",
        "GitHub",
        "Esc",
        "Ctrl",
        "Enter",
        "Shift",
        "Tab",
        "Space",
        "AUROC",
        "ECE",
        "Brier",
        "PSI",
        "KS",
        "RGB",
        "Firefox",
        "OpenAPI",
        "SHA",
        "https",
        "com",
        "org",
    ]
)
# Keywords of macros that are no text: classes, names and the like.
_NO_TEXT = frozenset(
    [
        "class",
        "kind",
        "type",
        "name",
        "id",
        "key",
        "icon_name",
        "autocomplete",
        "value",
        "autocapitalize",
        "inputmode",
        "role",
        "pattern",
        "filename",
        "tone",
        "shape",
        "href",
        "target",
        "method",
        "rel",
    ]
)
_ATTRIBUTE = re.compile(r'[\w-]+="[^"]*"')  # a macro that writes attributes alone
_CLASSES = re.compile(r"[a-z-]+( [a-z-]+)*")
_CODE = re.compile(r"\S*[._:/#=%-]\S*")  # a place, a pattern, a name of two parts
_SENTENCE = re.compile(r"(^|\s)([A-Z][a-zà-ÿ]+|[a-zà-ÿ]{2,})")


class _Page(HTMLParser):
    """The words of a page that people read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNREAD:
            self._inside.append(tag)
        self.found += [value for name, value in attrs if name in _SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.found.append(data)


def own_words(path: Path) -> list[str]:
    """The texts of a template that are not marked for translation."""
    tree = Environment(autoescape=True, extensions=["jinja2.ext.do"]).parse(path.read_text("utf-8"))
    page = _Page()
    page.feed("".join(_flat(tree)))
    page.close()
    shown = [text for text in page.found if has_words(_ATTRIBUTE.sub("", text))]
    return [" ".join(text.replace(_MARK, "…").split()) for text in shown] + list(_strings(tree))


def has_words(text: str) -> bool:
    """Whether there is a word in it that another language would have another one for."""
    return any(word not in SAME for word in _WORD.findall(text))


def _flat(node: nodes.Node) -> Iterator[str]:
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.TemplateData):
            yield child.data
        elif isinstance(child, nodes.Output | nodes.Stmt | nodes.Template):
            yield from _flat(child)
        elif isinstance(node, nodes.Output):
            yield _MARK


def _strings(node: nodes.Node, *, is_text: bool = True) -> Iterator[str]:
    """Strings of expressions that look like words: an uppercase beginning, or several words."""
    if isinstance(node, nodes.Const):
        if is_text and isinstance(node.value, str) and _looks_like_text(node.value):
            yield node.value
        return
    if isinstance(node, nodes.Compare | nodes.Getitem | nodes.Test | nodes.Import | nodes.Extends):
        return
    if isinstance(node, nodes.FromImport | nodes.Include):
        return
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        if node.node.name in _GETTEXT:
            yield from _marked(node)
            return
        if node.node.name in ("url_for", "stylesheet", "script", "icon"):
            return
    if isinstance(node, nodes.Keyword):
        is_text = is_text and node.key not in _NO_TEXT
    for child in node.iter_child_nodes():
        yield from _strings(child, is_text=is_text)


def _marked(call: nodes.Call) -> Iterator[str]:
    """What is wrong with a call of gettext: its message must be a string, not an expression."""
    name = call.node.name if isinstance(call.node, nodes.Name) else ""
    for given in call.args[: 1 if name == "_" else 2]:
        if not isinstance(given, nodes.Const):
            yield f"{name}() with an expression, line {call.lineno}"
    for keyword in call.kwargs:
        yield from _strings(keyword.value)


def _looks_like_text(value: str) -> bool:
    if not has_words(value) or _CLASSES.fullmatch(value):
        return False
    return bool(_SENTENCE.search(value)) and not _CODE.fullmatch(value)

"""A language in which every text stands between marks, and what a page has beside them."""

import re
from html.parser import HTMLParser

from tests.support.languages.template_texts import has_words

# Names that people gave or that languages have, and ids.
NAME = re.compile(
    r"\b(?:English|Deutsch|Radiology|Test (?:reader|technologist)|[0-9A-F]{6}"
    r"|[0-9a-f]{8}(?:-[0-9a-f-]{27})?)\b"
    r"|\b(?:pleura-lite2|Collins|Rhea|Light)\b"
    r"|\{\w+\}|\b[a-z]+(?:_[a-z]+)+\b"  # placeholders and codes
)


class Pseudo:
    """A language in which every text is itself between marks."""

    def text(self, message: str, context: str | None = None) -> str:
        return f"⟦{message}⟧"

    def counted(self, singular: str, plural: str, number: int) -> str:
        return f"⟦{singular if number == 1 else plural}⟧"


class _Texts(HTMLParser):
    """What a page shows outside of ⟦ and ⟧, without <bdi>, <kbd>, <code>, scripts, class="mono",
    what people typed in a <textarea>, and what is in a language of its own.
    """

    VOID = frozenset(
        ["area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "use", "wbr"]
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        shown = ("aria-label", "title", "placeholder", "alt", "data-tip")
        self.found += [self._outside(given[name] or "") for name in shown if name in given]
        if tag not in self.VOID:
            unread = (
                tag in ("bdi", "kbd", "code", "textarea", "script", "style")
                or "mono" in (given.get("class") or "")
                or ("lang" in given and tag != "html")
            )
            self._open.append((tag, unread))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        outside = self._outside(data)
        if not any(unread for _, unread in self._open):
            self.found.append(outside)

    def _outside(self, text: str) -> str:
        """The text without what is between the marks, which may begin and end in other texts."""
        left = ""
        for sign in text:
            self._depth += (sign == "⟦") - (sign == "⟧")
            left += sign if self._depth == 0 and sign != "⟧" else ""
        return left


def english_of(html: str) -> list[str]:
    """The texts of a page in the pseudo-language that nobody has translated."""
    page = _Texts()
    page.feed(html)
    page.close()
    return [text.strip() for text in page.found if has_words(NAME.sub("", text))]

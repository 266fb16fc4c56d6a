"""The keys of the case page: each of them on the "?" sheet."""

import re

from tests.support.paths import ROOT

SCRIPTS = ROOT / "static" / "js"
# As the sheet writes keys that have no letter, or that it names together with others.
SHEET = {
    "ArrowLeft": "←",
    "ArrowRight": "→",
    "ArrowUp": "↑",
    "ArrowDown": "↓",
    "Delete": "Del",
    "Backspace": "Del",
    "=": "+",
    "-": "−",
    "\\\\": "\\\\",
    **{str(number): "7" for number in range(2, 7)},
}


def keys() -> list[tuple[str, str]]:
    """All keys of the page with their actions, as the scripts have them."""
    found = []
    for path, name in (("viewer/actions.js", "VIEWER_KEYS"), ("case.js", "KEYS")):
        text = (SCRIPTS / path).read_text("utf-8")
        table = re.search(rf"const {name} = {{(.*?)\n}};", text, re.DOTALL)
        assert table is not None
        found += re.findall(r'"((?:[^"\\]|\\.)+)": "([a-z0-9-]+)"', table[1])
    return found


def test_no_key_is_one_that_every_page_has() -> None:
    """The sheet's own key, and the peek that wireKeys handles before the table."""
    assert {"?", "o", "Escape", " "} & {key for key, _ in keys()} == set()


def test_every_key_is_on_the_sheet() -> None:
    sheet = (ROOT / "templates" / "case" / "keys.html").read_text("utf-8")
    missing = []
    for key, action in keys():
        shown = key.removeprefix("Shift+")
        wanted = SHEET.get(shown, shown.upper() if shown.isalpha() else shown)
        if f"'{wanted}'" not in sheet:
            missing.append((key, action))
    assert missing == []

"""One table of keys: none of them has two actions, in the viewer and on the case page together."""

import re
from collections import Counter

from tests.support.paths import ROOT

_TABLES = {"static/js/viewer/actions.js": "VIEWER_KEYS = {", "static/js/case.js": "const KEYS = {"}
_KEY = re.compile(r'"((?:[^"\\]|\\.)+)":\s*"')


def keys() -> list[str]:
    found = []
    for path, begin in _TABLES.items():
        table = (ROOT / path).read_text("utf-8").split(begin, 1)[1].split("};", 1)[0]
        found += _KEY.findall(table)
    return found


def test_no_key_has_two_actions() -> None:
    named = keys()
    assert len(named) > 60
    assert [key for key, times in Counter(named).items() if times > 1] == []


def test_findings_and_signing_have_their_keys() -> None:
    assert {"a", "0", "r", "l", "b", "u", "Shift+s", "Shift+n", "Shift+y"} <= set(keys())

"""Every text of the code has its translation, with the same values in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog

from portal.languages import NAMES
from portal.languages.catalogues import PARTS, read_part
from portal.languages.current import DEFAULT
from tests.support.languages.messages import found, is_full, texts

OTHERS = [code for code in NAMES if code != DEFAULT]
EACH = [(code, part) for code in OTHERS for part in PARTS]
VALUE = re.compile(r"%(?:\((\w+)\)s|.)")


def keys(catalog: Catalog) -> set[Any]:
    return {(message.context, message.id) for message in catalog if message.id}


@pytest.mark.parametrize("code", OTHERS)
def test_the_files_hold_the_texts_of_the_code_and_no_others(code: str) -> None:
    for part, catalog in found(code).items():
        stored = read_part(code, part)
        assert keys(stored) == keys(catalog), f"{code}/{part}.po: run `make messages`"
        assert not stored.obsolete, f"{code}/{part}.po"


@pytest.mark.parametrize(("code", "part"), EACH)
def test_every_text_is_translated(code: str, part: str) -> None:
    wanting = [message.id for message in read_part(code, part) if not is_full(message.string)]
    assert [text for text in wanting if text] == []


@pytest.mark.parametrize(("code", "part"), EACH)
def test_no_translation_is_a_guess(code: str, part: str) -> None:
    assert [message.id for message in read_part(code, part) if message.id and message.fuzzy] == []


@pytest.mark.parametrize(("code", "part"), EACH)
def test_a_translation_has_the_values_of_its_text(code: str, part: str) -> None:
    for message in read_part(code, part):
        if not message.id:
            continue
        texts = [message.id] if isinstance(message.id, str) else list(message.id)
        forms = [message.string] if isinstance(message.string, str) else list(message.string)
        wanted = {value for text in texts for value in names(text)}
        for form in forms:
            assert names(form) <= wanted, f"{message.id}: {form}"
        assert names(forms[-1]) == names(texts[-1]), f"{message.id}: {forms[-1]}"


def names(text: str) -> set[str]:
    return {found for found in VALUE.findall(text) if found}


@pytest.mark.parametrize("code", OTHERS)
def test_a_text_has_one_translation_in_all_files(code: str) -> None:
    seen: dict[Any, Any] = {}
    for part in PARTS:
        for message in read_part(code, part):
            if message.id:
                key = (message.context, message.id)
                assert seen.setdefault(key, message.string) == message.string, (
                    f"{message.id}: say it the same way, or tell them apart by pgettext"
                )


def test_texts_are_found_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        'a = f"{_(\'Inside\')} b"\nb = lazy("Right", context="side")\nc = pgettext("x", "Left")\n'
        'd = ngettext("One", "%(num)s", 2)\ne = _("Two " "parts")\n'
    )
    found_there = set(texts(path))
    assert found_there == {
        ("Inside", None),
        ("Right", "side"),
        ("Left", "x"),
        (("One", "%(num)s"), None),
        ("Two parts", None),
    }


def test_a_text_that_is_an_expression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('a = _(f"Case {number}")\n')
    with pytest.raises(SystemExit, match="needs a text"):
        list(texts(path))

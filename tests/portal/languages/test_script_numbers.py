"""Numbers that scripts write, in the language of the page."""

import pytest

from tests.test_editor import node

_AREAS = """
const language = process.argv[1];
globalThis.document = { documentElement: { lang: language }, getElementById: () => null };
const { areaText } = await import("./static/js/case/threshold.js");
const spacing = { row_mm: 0.2, column_mm: 0.2 };
console.log(JSON.stringify([areaText(12345, null), areaText(10500, spacing)]));
"""


@pytest.mark.parametrize(
    ("language", "texts"),
    [("en", ["12,345 px", "4.2 cm²"]), ("de", ["12.345 px", "4,2 cm²"])],
)
def test_an_area_is_written_as_the_language_does(language: str, texts: list[str]) -> None:
    assert node("--input-type=module", "-e", _AREAS, language) == texts

"""Markdown: lists, paragraphs and tables."""

from __future__ import annotations

from ml.evaluation import markdown


def test_long_texts_are_wrapped_at_spaces_and_items_are_indented() -> None:
    text = " ".join(["word-of-ten"] * 12)
    paragraph, item = markdown.paragraph(text), markdown.item(text)
    assert paragraph.replace("\n", " ") == text
    assert all(len(line) <= 100 for line in [*paragraph.split("\n"), *item.split("\n")])
    assert [line[:2] for line in item.split("\n")] == ["- ", "  "]


def test_facts_are_a_list_with_names_in_bold() -> None:
    assert markdown.facts({"Input": "384 px", "Licence": "Apache-2.0"}) == (
        "- **Input**: 384 px\n- **Licence**: Apache-2.0"
    )


def test_a_table_has_a_line_of_headings_and_one_for_each_row() -> None:
    assert markdown.table(["measure", "value"], [["AUC", "0.884"], ["ECE", "0.064"]]) == (
        "| measure | value |\n| --- | --- |\n| AUC | 0.884 |\n| ECE | 0.064 |"
    )

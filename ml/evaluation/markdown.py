"""Markdown: lists, paragraphs and tables, wrapped at 100 columns."""

from __future__ import annotations

import textwrap


def facts(values: dict[str, str]) -> str:
    """A list of names and values."""
    return "\n".join(item(f"**{name}**: {value}") for name, value in values.items())


def item(text: str) -> str:
    """An item of a list, wrapped."""
    return textwrap.fill(
        text, 100, initial_indent="- ", subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def paragraph(text: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table with one line of headings."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""Campaigns: an interrupted one goes on, its table replaces the earlier one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.__main__ import campaigns, main, summary
from tests.campaigns.campaign import Row, Unfinished, rows_of, table, write

NAMES = sorted(campaigns())


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_summary_columns_and_a_run(name: str) -> None:
    module = campaigns()[name]
    assert summary(module).endswith(".")
    assert len(module.COLUMNS) > 1
    assert callable(module.run)


def test_help_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert NAMES
    assert all(name in shown for name in NAMES)


def test_an_interrupted_run_makes_no_row_twice(tmp_path: Path) -> None:
    made: list[str] = []

    def make(key: str) -> Row:
        made.append(key)
        return Row((key, "1 | 2"), passed=key != "b")

    path = tmp_path / "state" / "faults.json"
    first = Unfinished(path, "seed 1")
    rows = [first.row(key, lambda key=key: make(key)) for key in "ab"]
    second = Unfinished(path, "seed 1")
    assert [second.row(key, lambda key=key: make(key)) for key in "abc"][:2] == rows
    assert made == ["a", "b", "c"]
    Unfinished(path, "seed 2").row("a", lambda: make("a"))
    assert made == ["a", "b", "c", "a"], "another seed, other rows"
    second.remove()
    assert not path.exists()


def test_a_table_replaces_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "measured.md"
    document.write_text("# Measured\n\ntext\n\n## Other\nmore\n")
    for name, text in (("one", "old"), ("two", "kept"), ("one", "new")):
        write(name, text, document)
    assert document.read_text() == (
        "# Measured\n\ntext\n\n## Other\nmore\n\n## Campaign: one\nnew\n\n## Campaign: two\nkept\n"
    )


def test_a_row_that_failed_is_marked_and_cells_stay_in_their_columns() -> None:
    rows = [Row(("a|b", "1")), Row(("c", "2\n3"), passed=False)]
    assert table(("what", "n"), rows).splitlines()[2:] == [
        "| a\\|b | 1 |",
        "| **failed** c | 2 3 |",
    ]


def test_a_table_that_was_written_is_read(tmp_path: Path) -> None:
    document = tmp_path / "measured.md"
    document.write_text("# Measured\n\n| what | n |\n|---|---|\n| other | 1 |\n")
    rows = [Row(("a|b", "1", "")), Row(("c", "`2`", "3"), passed=False)]
    for name in ("one", "two"):
        lines = table(("what", "n", "m"), rows if name == "one" else rows[:1])
        write(name, f"Text.\n\n{lines}\n\nMore.", document)
    assert rows_of("one", document) == rows
    assert rows_of("two", document) == rows[:1]
    assert rows_of("three", document) == []

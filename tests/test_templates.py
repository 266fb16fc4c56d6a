"""The rules of the templates, and that the check finds what breaks them."""

from pathlib import Path

import pytest

from tests.support.template_rules import TEMPLATES, problems


def test_the_templates_keep_the_rules() -> None:
    assert list(problems(TEMPLATES)) == []


@pytest.mark.parametrize(
    "line",
    [
        '<a href="/worklist">',
        "<form action='/sign-out'>",
        '<img src="/static/img/x.svg">',
        '<div data-state-url="/worklist/state">',
        "{{ tab('/upload', 'Upload') }}",
        '<a href="/studies/{{ row.id }}">',
        "x" * 161,
    ],
)
def test_what_breaks_a_rule_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.html").write_text(f"<p>fine</p>\n{line}\n")
    (problem,) = problems(tmp_path)
    assert ":2: " in problem


@pytest.mark.parametrize(
    "line", ["<a href=\"{{ url_for('worklist.page') }}\">", 'aria-keyshortcuts="/"', "x" * 160]
)
def test_what_follows_the_rules_is_not(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.html").write_text(line)
    assert list(problems(tmp_path)) == []

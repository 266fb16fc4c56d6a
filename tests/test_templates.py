"""The rules of the templates, and that the check finds what breaks them."""

from pathlib import Path

import pytest

from tests.support.languages.template_texts import own_words
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


@pytest.mark.parametrize(
    "name", sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))
)
def test_a_template_has_no_text_that_is_not_marked_for_translation(name: str) -> None:
    found = own_words(TEMPLATES / name)
    assert found == [], "mark it: {{ _('…') }}"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("<p>Plain words</p>", "Plain words"),
        ("<p>{{ count }} cases</p>", "… cases"),
        ("<p>{% if a %}One{% else %}Other{% endif %}</p>", "OneOther"),
        ('<button aria-label="Close">×</button>', "Close"),
        ('<input placeholder="For {{ name }}">', "For …"),
        ("{{ button('Save now', 'primary') }}", "Save now"),
        ("{{ 'Yes' if a else '' }}", "Yes"),
        ("{% set title = 'The title' %}", "The title"),
        ("{{ _(text) }}", "_() with an expression, line 1"),
        ("{{ _('All of %(name)s', name='Somebody here') }}", "Somebody here"),
    ],
)
def test_a_text_of_its_own_is_found(tmp_path: Path, template: str, text: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(template)
    assert own_words(path) == [text]


@pytest.mark.parametrize(
    "template",
    [
        "<p>{{ _('Marked words') }}</p>",
        "{{ button(_('Save'), 'ghost small', name='action', value='save') }}",
        "<p>{{ ngettext('%(num)s case', '%(num)s cases', count) }}</p>",
        "<p>Pleura · {{ when|moment }} UTC <kbd>Enter</kbd></p>",
        "<a href=\"{{ url_for('worklist.worklist') }}\">{{ pgettext('side', 'Right') }}</a>",
        "{% if 'STUDY_LIST' in may and state == 'Not This' %}{% endif %}",
    ],
)
def test_marked_texts_names_and_codes_are_none(tmp_path: Path, template: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(template)
    assert own_words(path) == []

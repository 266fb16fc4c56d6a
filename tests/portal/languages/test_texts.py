"""Texts, constants, dates and numbers in the language that is spoken, English where none is."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime
from threading import Thread

from portal import languages
from portal.languages import _, lazy, ngettext, speaking
from portal.models import Language

TEXT = lazy("Sign in")


def test_the_languages_are_those_that_can_be_stored() -> None:
    assert list(languages.NAMES) == [language.value for language in Language]


def test_english_needs_nothing() -> None:
    assert languages.current() == "en"
    assert _("Sign in") == "Sign in"
    assert _("100 % of it") == "100 % of it"
    assert _("until %(time)s.", time="12:00") == "until 12:00."
    assert ngettext("in %(num)s second", "in %(num)s seconds", 1) == "in 1 second"
    assert ngettext("in %(num)s second", "in %(num)s seconds", 1200) == "in 1,200 seconds"


def test_german_is_spoken_where_it_is_chosen_and_only_there() -> None:
    with speaking("de"):
        assert _("Sign in") == "Anmelden"
        assert _("until %(time)s.", time="12:00") == "bis 12:00."
        assert ngettext("in %(num)s second", "in %(num)s seconds", 1) == "in 1 Sekunde"
        assert ngettext("in %(num)s second", "in %(num)s seconds", 1200) == "in 1.200 Sekunden"
        with speaking("en"):
            assert _("Sign in") == "Sign in"
        elsewhere: list[str] = []
        thread = Thread(target=lambda: elsewhere.append(_("Sign in")))
        thread.start()
        thread.join()
        assert elsewhere == ["Sign in"]
    assert _("Sign in") == "Sign in"


def test_an_unknown_language_is_english_and_an_unknown_text_itself() -> None:
    with speaking("xx"):
        assert _("Sign in") == "Sign in"
    with speaking("de"):
        assert _("Nobody has marked this.") == "Nobody has marked this."
        assert ngettext("%(num)s unheard", "%(num)s unheards", 2) == "2 unheards"


def test_a_constant_is_translated_where_it_is_shown() -> None:
    assert TEXT == "Sign in"
    with speaking("de"):
        assert str(TEXT) == f"{TEXT}" == "{}".format(TEXT) == "%s" % TEXT == "Anmelden"  # noqa: UP031, UP032
        assert json.dumps(str(TEXT)) == '"Anmelden"'
        assert str(pickle.loads(pickle.dumps(TEXT))) == "Anmelden"
    assert str(TEXT) == "Sign in"


def test_dates_and_numbers_are_written_as_the_language_does() -> None:
    when = datetime(2026, 3, 9, 7, 5, tzinfo=UTC)
    assert languages.moment_text(when) == "2026-03-09 07:05 UTC"
    assert languages.day_text(date(2026, 3, 9)) == "2026-03-09"
    assert languages.moment_text(when, exact=True) == "2026-03-09 07:05:00 UTC"
    assert languages.number_text(12345.678, 1) == "12,345.7"
    assert languages.number_text(12345) == "12,345"
    assert languages.percent_text(0.1234, 1) == "12.3 %"
    with speaking("de"):
        assert languages.moment_text(when) == "09.03.2026 07:05 UTC"
        assert languages.day_text(date(2026, 3, 9)) == "09.03.2026"
        assert languages.number_text(12345.678, 1) == "12.345,7"
        assert languages.percent_text(0.1234, 1) == "12,3 %"
        assert languages.direction() == "ltr"


def test_months_and_small_numbers_are_written_as_the_language_does() -> None:
    assert languages.month_text("2026-03") == "2026-03"
    assert languages.short_day_text(date(2026, 3, 5)) == "03-05"
    assert [languages.short_number_text(one) for one in (0.00123, 1.2e-5, 0.5, 1.0)] == [
        *("0.0012", "1.2e-05", "0.5", "1"),
    ]
    with speaking("de"):
        assert languages.month_text("2026-03") == "03/2026"
        assert languages.short_day_text(date(2026, 3, 5)) == "05.03."
        assert [languages.short_number_text(one) for one in (0.00123, 1.2e-5)] == [
            *("0,0012", "1,2e-05"),
        ]

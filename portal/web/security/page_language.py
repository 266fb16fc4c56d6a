"""Which language a page is in, and how templates show texts, dates and numbers in it.

A person's own choice, else that of their team; before anybody has signed in, the first language of
the browser that there is; else English. Programs and workers get English.
"""

from typing import Any, Final

import flask_babel
from flask import Flask, Response, request
from markupsafe import Markup, escape

from portal import languages
from portal.accounts import sessions
from portal.languages import catalogues
from portal.models import User

_MACHINES: Final = ("/api/", "/worker/", "/health/", "/dicomweb/")


class _Domain(flask_babel.Domain):  # type: ignore[misc]  # Flask-Babel has no types
    """What Flask-Babel and extensions that speak through it translate by: the same catalogues."""

    def get_translations(self) -> "_Translations":
        """Those of the language spoken now."""
        return _Translations()


class _Translations:
    def ugettext(self, message: str) -> str:
        return languages._(message)

    def ungettext(self, singular: str, plural: str, number: int) -> str:
        return languages.ngettext(singular, plural, number)

    def upgettext(self, context: str, message: str) -> str:
        return languages.pgettext(context, message)


def install(app: Flask) -> None:
    """Choose the language before each request; before the guard, which then knows the person."""
    # Its way of setting up templates takes what a translator wrote for HTML; ours does not.
    babel = flask_babel.Babel(app, configure_jinja=False, locale_selector=languages.current)
    babel.domain_instance = _Domain()
    app.before_request(_from_browser)
    app.after_request(_name_it)
    app.teardown_request(lambda _error: languages.choose(None))
    app.jinja_env.globals.update(
        {
            "_": _template_text,
            "ngettext": _template_counted,
            "pgettext": _template_in_context,
            "language": languages.current,
            "direction": languages.direction,
            "texts_for_scripts": lambda: catalogues.texts_for_scripts(languages.current()),
        }
    )
    app.jinja_env.filters.update(
        {
            "moment": languages.moment_text,
            "day": languages.day_text,
            "header_day": languages.header_day_text,
            "hour": languages.hour_text,
            "number": languages.number_text,
            "percent": languages.percent_text,
        }
    )


def of_person(user: User) -> None:
    """Speak the language of this person for the rest of the request, except to programs."""
    if not request.path.startswith(_MACHINES):
        languages.choose(sessions.language_of(user))
        flask_babel.refresh()


def _from_browser() -> None:
    if request.path.startswith(_MACHINES):
        languages.choose(None)
    else:
        offered = request.accept_languages.best_match(list(languages.NAMES))
        languages.choose(offered)


def _name_it(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.headers["Content-Language"] = languages.current()
        response.vary.update(("Accept-Language", "Cookie"))
    return response


def _template_text(message: str, /, **values: Any) -> Markup:
    return _filled(languages._(message), values)


def _template_counted(singular: str, plural: str, number: int, /, **values: Any) -> Markup:
    shown = languages.number_text(number)
    return _filled(languages.form_for(singular, plural, number), {"num": shown, **values})


def _template_in_context(context: str, message: str, /, **values: Any) -> Markup:
    return _filled(languages.pgettext(context, message), values)


def _filled(text: str, values: dict[str, Any]) -> Markup:
    """A translation is text, never HTML; a value that is Markup (a link, a key) stays HTML."""
    safe = escape(text)
    return safe % values if values else safe

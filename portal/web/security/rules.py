"""The rules of views: who may call each, declared beside it and checked when the portal starts.

A view declares one rule with `permission`, `public`, `signing_in`, `scope` or `worker`. `check`
walks the URL map and raises `Unguarded` for a view that declares none. `guard` applies them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from flask import Flask

from portal.access import Permission

SMALL_BODY = 1024 * 1024

View = TypeVar("View", bound=Callable[..., Any])
Who = Literal["public", "person", "signing_in", "program", "worker"]


class Unguarded(RuntimeError):
    """A view declares no rule: the portal does not start."""


@dataclass(frozen=True)
class Rule:
    """Who may call a view, and how much care it takes."""

    who: Who
    permission: Permission | None = None
    scope: str | None = None
    step_up: str | None = None
    background: bool = False
    upload: bool = False
    break_glass: bool = False
    most: int = SMALL_BODY
    admit: Callable[..., object] | None = None


def permission(
    needed: Permission,
    *,
    step_up: str | None = None,
    background: bool = False,
    upload: bool = False,
    break_glass: bool = False,
) -> Callable[[View], View]:
    """The view needs a signed-in person who holds the permission.

    `step_up`: unsafe methods need password and code given within the last ten minutes; otherwise
    the person confirms first and comes back to the page with this endpoint.
    `background`: the page asks by itself, which does not count as activity of the person.
    `upload`: the body may be as large as the largest accepted file.
    `break_glass`: the view shows the case `study_id` also to a person with a grant for it.
    """
    return _declare(
        Rule(
            "person",
            needed,
            step_up=step_up,
            background=background,
            upload=upload,
            break_glass=break_glass,
        )
    )


def scope(name: str | None, *, upload: bool = False) -> Callable[[View], View]:
    """The view is for programs and needs an API token with the scope (None: any token)."""
    return _declare(Rule("program", scope=name, upload=upload))


def public(view: View) -> View:
    """Anybody may call the view. Forms still need their token."""
    return _declare(Rule("public"))(view)


def signing_in(view: View) -> View:
    """The view needs a login whose second factor may still be missing."""
    return _declare(Rule("signing_in"))(view)


def worker(
    *, most: int = SMALL_BODY, admit: Callable[..., object] | None = None
) -> Callable[[View], View]:
    """The view is for workers and checks worker token or ticket itself; bodies up to `most`.

    `admit`: called with the view's arguments before a large body is read; raises for a worker that
    may not send it. Without it a large body is refused.
    """
    return _declare(Rule("worker", most=most, admit=admit))


def _declare(rule: Rule) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.pleura_rule = rule  # type: ignore[attr-defined]
        return view

    return mark


def rule_of(app: Flask, endpoint: str | None) -> Rule | None:
    """What the view behind an endpoint declares."""
    view = app.view_functions.get(endpoint or "")
    rule = getattr(view, "pleura_rule", None)
    return rule if isinstance(rule, Rule) else None


def check(app: Flask) -> None:
    """Raise `Unguarded` when a route leads to a view that declares no rule."""
    bare = {r.endpoint for r in app.url_map.iter_rules() if rule_of(app, r.endpoint) is None}
    if bare:
        raise Unguarded(f"views without a rule: {', '.join(sorted(bare))}")

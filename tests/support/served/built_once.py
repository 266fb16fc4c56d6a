"""What all apps of a process build alike is built once, and not anew for each test's app.

More than half of the time that an app took went into two functions that werkzeug compiles for each
of some two hundred addresses, and into leaving the comments out of the scripts.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from werkzeug.routing import Rule

from portal.web import static_files


def share() -> None:
    """From now on all apps of this process use what one of them has built.

    What werkzeug compiles follows from an address' parts and defaults alone: converters are given
    to it when it is called. A script is the same as long as its text is.
    """
    compile_builder = Rule._compile_builder
    compiled: dict[Any, Callable[..., tuple[str, str]]] = {}

    def of(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    Rule._compile_builder = of  # type: ignore[method-assign]
    static_files.without_comments = cache(static_files.without_comments)

"""Hides packages from a Python process, as an image without them does; loaded at its start.

For processes that tests start with this folder on PYTHONPATH. The file that PLEURA_TEST_HIDDEN
names lists the modules, one a line; without the variable nothing is hidden.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder


def hide(modules: frozenset[str]) -> None:
    """Let these top-level modules not be found."""

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, fullname, path=None, target=None) -> ModuleSpec | None:  # type: ignore[no-untyped-def, override]
            if fullname.partition(".")[0] in modules:
                return None
            return super().find_spec(fullname, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder


if "PLEURA_TEST_HIDDEN" in os.environ:
    with open(os.environ["PLEURA_TEST_HIDDEN"], encoding="utf-8") as file:
        hide(frozenset(file.read().split()))

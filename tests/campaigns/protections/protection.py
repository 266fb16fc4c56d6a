"""A protection of the code: where it is, how it is switched off, which tests must fail then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """A piece of a file that occurs in it once, and what takes its place."""

    path: str
    found: str
    put: str


@dataclass(frozen=True)
class Protection:
    """`without`: what the code lacks after the edits. `tests`: as in docs/security.md, all of which
    must fail; of a parametrised one at least one case. `postgres`: on PostgreSQL, not SQLite.
    `quick`: the suite may draw it for its sample.
    """

    subject: str
    without: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    postgres: bool = False
    quick: bool = False


def edit(path: str, found: str, put: str = "") -> Edit:
    """An edit of the file."""
    return Edit(path, found, put)


def off(
    subject: str,
    without: str,
    edits: Edit | tuple[Edit, ...],
    *tests: str,
    postgres: bool = False,
    quick: bool = False,
) -> Protection:
    """A protection that is switched off by these edits."""
    several = (edits,) if isinstance(edits, Edit) else edits
    return Protection(subject, without, several, tests, postgres, quick)

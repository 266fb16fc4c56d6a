"""The environments of processes that the portal starts."""

import os
from collections.abc import Collection, Mapping

from portal.settings import Settings
from worker.isolation import environment


def worker_variable(name: str) -> str:
    """A variable for this machine's own workers, which the portal itself does not read."""
    return os.environ.get(name, "")


def leave_environment() -> None:
    """Start this program anew where its environment holds secrets, with files in their place."""
    secrets = [variable.name for variable in Settings.describe() if variable.secret]
    environment.leave(secrets, os.environ)


def child_environment(
    extra: Mapping[str, str],
    *,
    without: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a process that this one starts: its own, less `without`, with `extra`.

    A variable in either is also taken away in its other spelling (NAME and NAME_FILE).
    """
    names = {name.removesuffix("_FILE") for name in (*without, *extra)}
    gone = {name + end for name in names for end in ("", "_FILE")}
    source = os.environ if environ is None else environ
    return {**{name: value for name, value in source.items() if name not in gone}, **extra}

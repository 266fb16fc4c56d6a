"""Secrets out of environments: as files in memory, which only inheritors of a descriptor can read.

What a process was started with stays readable in /proc for its life. So a secret is passed on as
`NAME_FILE=/proc/self/fd/N`, the path of a file that is on no disk.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping

from worker.isolation import kernel

_PATH = "/proc/self/fd/{}"


def in_memory(secrets: Mapping[str, str]) -> dict[str, str]:
    """Variables that name each secret's file in memory; the files stay open in this process.

    Elsewhere than on Linux the variables hold the secrets themselves.
    """
    if not kernel.LINUX:
        return dict(secrets)
    variables = {}
    for name, value in secrets.items():
        descriptor = os.memfd_create(name)
        os.write(descriptor, value.encode())
        variables[f"{name}_FILE"] = _PATH.format(descriptor)
    return variables


def descriptors(environment: Mapping[str, str]) -> list[int]:
    """The descriptors that a process with this environment has to inherit."""
    pattern = re.compile(_PATH.format(r"(\d+)"))
    found = (pattern.fullmatch(value) for name, value in environment.items() if "_FILE" in name)
    return [int(match[1]) for match in found if match]


def leave(secret_names: Collection[str], environ: Mapping[str, str]) -> None:
    """Start this program anew where a secret is in its environment, with files in their place.

    For the start of a program: it does not return then. A secret that is given twice, as a file
    too, is left for the settings to refuse.
    """
    secrets = {
        name: environ[name]
        for name in secret_names
        if environ.get(name) and f"{name}_FILE" not in environ
    }
    if not secrets or not kernel.LINUX:
        return
    variables = {name: text for name, text in environ.items() if name not in secrets}
    variables |= in_memory(secrets)
    for descriptor in descriptors(variables):
        os.set_inheritable(descriptor, True)
    program = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, program, variables)  # itself  # noqa: S606  # nosec B606

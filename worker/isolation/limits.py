"""Limits of a process on memory, time, files and processes (setrlimit), on any system."""

from __future__ import annotations

import resource


def address_space_bytes() -> int:
    """What this process takes of its address space now."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def limit(memory_bytes: int, cpu_seconds: int, *, descriptors: int = 0, threads: int = 0) -> None:
    """Limit the address space and processor time; allow no new descriptor, process or file, but so
    many descriptors and threads.
    """
    lower(resource.RLIMIT_AS, memory_bytes)
    lower(resource.RLIMIT_CPU, cpu_seconds)
    lower(resource.RLIMIT_NOFILE, descriptors)
    lower(resource.RLIMIT_NPROC, threads)
    for which in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        lower(which, 0)


def lower(which: int, value: int) -> None:
    """Lower a limit for good."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))

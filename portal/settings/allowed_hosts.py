"""The list of hosts that the portal may call (PLEURA_OUTGOING_HOSTS)."""

from dataclasses import dataclass
from typing import Final

_MARKS: Final = frozenset({"http", "private"})


@dataclass(frozen=True, slots=True)
class Host:
    """A host that may be called, and what else is allowed for it."""

    name: str
    port: int | None = None
    http: bool = False
    private: bool = False


def parse(text: str) -> tuple[Host, ...]:
    """The list of the settings: `[http:][private:]name[:port]`, separated by commas or spaces.

    Raises ValueError for anything else.
    """
    return tuple(_host(entry) for entry in text.replace(",", " ").split())


def is_host_name(name: str) -> bool:
    """Whether a text can be the name of a host."""
    labels = name.split(".")
    return len(name) < 254 and all(
        label and len(label) < 64 and label.isascii() and label.replace("-", "a").isalnum()
        for label in labels
    )


def _host(entry: str) -> Host:
    *marks, rest = entry.split(":")
    port: int | None = None
    if rest.isascii() and rest.isdecimal() and marks:
        port, rest = int(rest), marks.pop()
    unknown = set(marks) - _MARKS
    name = rest.lower().rstrip(".")
    if unknown or not is_host_name(name) or (port is not None and not 0 < port < 65536):
        raise ValueError(f"must list [http:][private:]name[:port], which {entry} is not")
    return Host(name, port, "http" in marks, "private" in marks)

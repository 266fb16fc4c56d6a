"""Values out of an environment, checked one by one; what is wrong with them is collected."""

from collections.abc import Mapping
from pathlib import Path


class Environment:
    """Named texts. `problems` has a sentence for each that can't be meant."""

    def __init__(self, source: Mapping[str, str]) -> None:
        self.source = dict(source)
        self.problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """A value without the space around it."""
        return self.source.get(name, "").strip() or default

    def secret(self, name: str) -> str:
        """A value that may be in the file which NAME_FILE names; empty where there is none."""
        value, path = self.source.get(name, ""), self.source.get(f"{name}_FILE", "")
        if value and path:
            self.problems.append(f"Give {name} or {name}_FILE, not both.")
            return ""
        if not path:
            return value.strip()
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            self.problems.append(f"{name}_FILE can't be read: {reason}.")
            return ""

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """One of the choices, of which the first is the default; else a problem and the default."""
        value = self.source.get(name) or choices[0]
        if value not in choices:
            self.problems.append(f"{name} must be {_either(choices)}.")
            return choices[0]
        return value

    def yes(self, name: str) -> bool:
        """yes or no; yes without a word."""
        value = (self.source.get(name) or "yes").lower()
        if value not in ("yes", "no"):
            self.problems.append(f"{name} must be yes or no.")
        return value == "yes"

    def words(self, name: str) -> tuple[str, ...]:
        """Small words, parted by spaces or commas."""
        return tuple((self.source.get(name) or "").lower().replace(",", " ").split())

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from low to high; else a problem and the default."""
        text = self.source.get(name) or str(default)
        value = int(text) if text.isascii() and text.isdecimal() else -1
        if not low <= value <= high:
            self.problems.append(f"{name} must be a whole number from {low} to {high}.")
            return default
        return value

    def path(self, name: str) -> Path | None:
        """An absolute path; None where there is none."""
        text = self.text(name)
        return Path(text).absolute() if text else None


def _either(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"

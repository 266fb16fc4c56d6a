"""What an open list knows of arrivals, as it stands in addresses: since when, and how many.

An exam whose upload goes on while the list is made has arrived before it and comes after it. So
arrivals are counted from a while before, less those that were there when the list was made.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

# An upload may take so long.
UNCERTAIN: Final = timedelta(minutes=2)
# A page that is older does not count what has come since.
_OLDEST: Final = timedelta(days=2)


def stated(since: datetime, known: int) -> str:
    """The text for an address."""
    return f"{since.timestamp():.6f}.{known}"


def parse(text: str, now: datetime) -> tuple[datetime, int]:
    """Since when and how many; for any other text from now on, of which nothing is known."""
    seconds, _, known = text.rpartition(".")
    try:
        since, number = datetime.fromtimestamp(float(seconds), UTC), int(known)
    except (ValueError, OverflowError, OSError):
        return now, 0
    return (since, number) if now - _OLDEST < since <= now else (now, 0)

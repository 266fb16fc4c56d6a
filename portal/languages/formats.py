"""Times, dates and numbers as the language spoken now writes them.

English ones are as the portal has always written them: `2026-11-30 18:28`, `1,234.5`.
"""

from datetime import date, datetime

from babel.dates import format_date
from babel.numbers import format_decimal

from portal.languages.current import DEFAULT, current


def moment_text(when: datetime, exact: bool = False) -> str:
    """A moment with its day, in UTC: "2026-11-30 18:28 UTC", "30.11.2026 18:28 UTC". `exact`: with
    its seconds.
    """
    return f"{day_text(when)} {when:{'%H:%M:%S' if exact else '%H:%M'}} UTC"


def day_text(day: date) -> str:
    """A day: "2026-11-30", "30.11.2026"."""
    if current() == DEFAULT:
        return f"{day:%Y-%m-%d}"
    return format_date(day, format="medium", locale=current())


def header_day_text(text: str) -> str:
    """A day as a file's header is kept, "1961-03-05"; what is no day is shown as it is."""
    try:
        return day_text(date.fromisoformat(text))
    except ValueError:
        return text


def short_day_text(day: date) -> str:
    """A day without its year: "11-30", "30.11."."""
    if current() == DEFAULT:
        return f"{day:%m-%d}"
    return str(format_date(day, format="dd.MM.", locale=current()))


def month_text(month: str) -> str:
    """A month by its name: "2026-11", "11/2026"."""
    if current() == DEFAULT:
        return month
    day = date.fromisoformat(f"{month}-01")
    return str(format_date(day, format="MM/yyyy", locale=current()))


def short_number_text(number: float) -> str:
    """A number with two digits that mean something: "0.0012", "1.2e-05"."""
    mantissa, mark, exponent = f"{number:.2g}".partition("e")
    places = len(mantissa.partition(".")[2])
    return f"{number_text(float(mantissa), places)}{mark}{exponent}"


def hour_text(when: datetime) -> str:
    """The time of a day in UTC: "18:28 UTC"."""
    return f"{when:%H:%M} UTC"


def number_text(number: float, decimals: int | None = None) -> str:
    """A number with marks of thousands; `decimals`: exactly so many places behind the point."""
    places = "" if decimals is None or decimals == 0 else "." + "0" * decimals
    pattern = "#,##0.###" if decimals is None else f"#,##0{places}"
    return format_decimal(number, format=pattern, locale=current())


def percent_text(share: float, decimals: int = 0) -> str:
    """A share as percent: 0.123 is "12 %"."""
    return f"{number_text(100 * share, decimals)} %"

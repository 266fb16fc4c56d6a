"""A team's off-peak hours, by the clock of the installation."""

from datetime import UTC, datetime, timedelta

from portal.teams.settings import TeamSettings


def not_before(now: datetime, settings: TeamSettings) -> datetime:
    """From when on a job of the off-peak hours may begin: `now` within them, else when they begin
    next.
    """
    here = now.astimezone()
    start, end = settings.off_peak_from, settings.off_peak_until
    after, before = here.hour >= start, here.hour < end
    is_now = start == end or (after and before if start < end else after or before)
    if is_now:
        return now
    begin = here.replace(hour=start, minute=0, second=0, microsecond=0, tzinfo=None)
    if here.hour >= start:
        begin += timedelta(days=1)
    return begin.astimezone(UTC)  # a time without a zone is one of here

"""The time limits of a job: all follow from JOB_SECONDS, which portal and worker share.

A task is asked to stop before it is killed, it is killed before its lease ends, and the lease ends
before Redis gives the message to another worker.
"""

from typing import Final

JOB_SECONDS: Final = 120
JOB_SECONDS_MIN: Final = 5
JOB_SECONDS_MAX: Final = 3600


class JobClock:
    """The limits, for settings that have `job_seconds`: soft < hard < lease < visibility."""

    __slots__ = ()
    job_seconds: int

    @property
    def soft_seconds(self) -> float:
        """When a task is asked to stop; it then reports the failure to the portal."""
        return 1.0 * self.job_seconds

    @property
    def hard_seconds(self) -> float:
        """When the process of a task that does not stop is killed."""
        return 1.25 * self.job_seconds

    @property
    def lease_seconds(self) -> float:
        """How long an attempt belongs to its worker without a heartbeat."""
        return 1.5 * self.job_seconds

    @property
    def visibility_seconds(self) -> float:
        """When Redis gives a message that was not acknowledged to another worker."""
        return 3.0 * self.job_seconds

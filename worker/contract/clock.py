"""A job's time limits follow from JOB_SECONDS, which portal and worker share; its lease does not.

A job is asked to stop before it is killed, and killed before Redis gives the message to another
worker. The lease is short, and renewed while the worker lives: when a worker or its machine is
gone, another takes over within seconds, however long jobs may take.
"""

from typing import Final

JOB_SECONDS: Final = 120
JOB_SECONDS_MIN: Final = 5
JOB_SECONDS_MAX: Final = 3600
# How long an attempt belongs to its worker without a heartbeat, and how often one is sent.
LEASE_SECONDS: Final = 20.0
HEARTBEAT_SECONDS: Final = 5.0
# How often an idle worker asks the portal for a job.
POLL_SECONDS: Final = 3.0


class JobClock:
    """The limits, for settings that have `job_seconds`: soft < hard < visibility."""

    __slots__ = ()
    job_seconds: int

    @property
    def soft_seconds(self) -> float:
        """When a job is asked to stop; the failure is then reported to the portal."""
        return 1.0 * self.job_seconds

    @property
    def hard_seconds(self) -> float:
        """When the process of a job that does not stop is killed."""
        return 1.25 * self.job_seconds

    @property
    def visibility_seconds(self) -> float:
        """When Redis gives a message that was not acknowledged to another worker."""
        return 3.0 * self.job_seconds

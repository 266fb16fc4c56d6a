"""Why a worker's request is refused."""

from portal.errors import Refusal


class WorkerRefused(Refusal):
    """A request of a worker that is not accepted."""


class BadTicket(WorkerRefused):
    """The ticket is forged, expired or for another job."""

    def __init__(self) -> None:
        super().__init__("ticket", "")


class Lost(WorkerRefused):
    """The attempt is no longer the job's: another has begun, or the job has ended."""

    def __init__(self) -> None:
        super().__init__("lost", "The attempt is no longer the job's.")


class BadResult(WorkerRefused):
    """A result that can't be true. `message` explains what is wrong, for the worker's log."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_result", message)


class OutputMissing(BadResult):
    """A result without an output that this portal requires: its worker is of a version before."""

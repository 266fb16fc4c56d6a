"""What a form's file becomes, for the browser and for programs alike: a case, or a ZIP's cases."""

from collections.abc import Iterator

from werkzeug.datastructures import FileStorage

from portal.formats import zip_archive
from portal.intake import submission, zip_submission
from portal.intake.check import Limits
from portal.jobs import sweeper
from portal.services import rows
from portal.web.security import guard


def receive(file: FileStorage) -> submission.Submitted | list[zip_submission.Arrival]:
    """Submit a file, or each file of a ZIP, and ring for what is new; Refused, Conflict."""
    parts, name, data = guard.parts(), file.filename or "", file.read()
    settings = parts.settings
    if zip_archive.looks_like(data):
        limits = zip_archive.ArchiveLimits(settings.max_archive_bytes, settings.max_upload_bytes)
        arrivals = zip_submission.submit_archive(
            rows(), parts.vault, guard.actor(), data, guard.now(), limits=limits
        )
        return list(_rung(arrivals))
    submitted = submission.submit(
        rows(),
        parts.vault,
        guard.actor(),
        name,
        data,
        guard.now(),
        limits=Limits(settings.max_upload_bytes),
    )
    _ring(submitted)
    return submitted


def _rung(arrivals: Iterator[zip_submission.Arrival]) -> Iterator[zip_submission.Arrival]:
    """The same arrivals, the worker told of each before the next is unpacked."""
    for arrival in arrivals:
        if arrival.submitted is not None:
            _ring(arrival.submitted)
        yield arrival


def _ring(submitted: submission.Submitted) -> None:
    if submitted.job_id is not None:
        sweeper.ring(rows(), guard.parts().bell, submitted.job_id, guard.now())

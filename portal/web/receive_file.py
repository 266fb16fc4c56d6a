"""An uploaded file becomes a case, or a ZIP's cases: for the browser and the API alike."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from werkzeug.datastructures import FileStorage

from portal.errors import Invalid
from portal.formats import zip_archive
from portal.formats.refusals import refuse
from portal.intake import stated, submission, zip_submission
from portal.intake.check import Limits
from portal.jobs import sweeper
from portal.quotas import QuotaReached
from portal.services import db_session
from portal.teams import settings as team_settings
from portal.web.security import guard
from portal.web.security.errors import Problem, waiting


def receive(
    file: FileStorage, sent: Mapping[str, str]
) -> submission.Submitted | list[zip_submission.Arrival]:
    """Submit a file, or each file of a ZIP, and notify workers; raises Refused, Conflict, or
    Problem for a statement that can't be.

    `sent`: what the form or the program states beside it, see `intake.stated`.
    """
    services, name, data = guard.services(), file.filename or "", file.read()
    settings = services.settings
    try:
        about = stated.read(sent, guard.now(), timedelta(hours=old_exam_hours()))
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    if zip_archive.looks_like(data):
        limits = zip_archive.ArchiveLimits(
            settings.max_archive_bytes,
            settings.max_upload_bytes,
            max_header_bytes=settings.max_header_bytes,
        )
        arrivals = zip_submission.submit_archive(
            db_session(),
            services.vault,
            guard.actor(),
            data,
            guard.now(),
            limits=limits,
            admit=_count_member,
            stated=about.of_archive(),
        )
        return list(_notified(arrivals))
    submitted = submission.submit(
        db_session(),
        services.vault,
        guard.actor(),
        name,
        data,
        guard.now(),
        limits=Limits(settings.max_upload_bytes, max_header_bytes=settings.max_header_bytes),
        stated=about,
    )
    _notify(submitted)
    return submitted


def old_exam_hours() -> int:
    """After how many hours an exam is an old one for the sender's team."""
    chosen = team_settings.settings_of(db_session(), guard.actor().team_id).old_exam_hours
    db_session().commit()  # nothing is locked while a file is looked at
    return chosen or guard.services().settings.old_exam_hours


def _count_member() -> None:
    """Count a file of a ZIP; Refused where the quota is reached in the middle of it."""
    try:
        guard.count_upload(0)
    except QuotaReached as reached:
        raise refuse("quota", when=waiting(reached)) from None


def _notified(arrivals: Iterator[zip_submission.Arrival]) -> Iterator[zip_submission.Arrival]:
    """The same arrivals; the worker is notified of each before the next is unpacked."""
    for arrival in arrivals:
        if arrival.submitted is not None:
            _notify(arrival.submitted)
        yield arrival


def _notify(submitted: submission.Submitted) -> None:
    if submitted.job_id is not None:
        sweeper.notify(db_session(), guard.services().broker, submitted.job_id)

"""What is wrong with an installation, and the way back: one line for each thing that is looked at.

Owns the checks and their advice. Nothing that is broken stops the others. The texts hold ids,
counts and names of settings: no secrets, nothing about patients.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.audit import first_seals
from portal.governance import clock, integrity_state, scheduler_signs
from portal.jobs import overview
from portal.jobs.broker import Broker
from portal.models import AuditEvent, JobKind
from portal.operations import background_check, integrity, key_rotation, notification_checks
from portal.operations.check import Check, State
from portal.settings import Settings, SettingsError
from portal.studies import exams, presence
from portal.vault import Vault, VaultError
from worker.contract.job import QUEUES

_FREE_WARNING: Final = 5 * 1024**3
_FREE_FAILED: Final = 1024**3
_BACKUP_OLD: Final = timedelta(days=2)
_SAMPLE: Final = 20
_MOST: Final = 20
_RESTORE: Final = (
    "Stop the portal and copy the data folder as it is. If only an index is named, run REINDEX "
    "with the sqlite3 program. Else restore the newest backup into an empty folder "
    "(`python -m portal restore`), and send the cases again that came after it."
)
_CHECKSUMS: Final = (
    "Stop PostgreSQL, run `pg_checksums --enable --pgdata=FOLDER` with its data folder, and start "
    "it again. A new one keeps them after `initdb --data-checksums`."
)


def examine(read_settings: Callable[[], Settings], now: datetime) -> Iterator[Check]:
    """Everything in turn; what needs a thing that has failed is left out."""
    try:
        settings = read_settings()
    except SettingsError as error:
        text = " ".join(error.problems)
        yield Check("settings", "failed", text, "`python -m portal settings` lists all of them.")
        return
    yield Check("settings", "ok", f"for {settings.env}")
    vault: Vault | None = None
    try:
        vault = Vault(settings)
        vault.audit_key()
        yield Check("keys", "ok", f"the key ring holds {len(vault.key_ids)}")
    except (VaultError, SettingsError, OSError, ValueError) as error:
        text = f"the key ring can't be read ({type(error).__name__})"
        yield Check("keys", "failed", text, "Put the key ring back from where it is kept apart.")
    yield _redis(settings)
    yield _disk(settings)
    yield from notification_checks.of(settings)
    engine = database.open_engine(settings)
    try:
        yield from _with_database(engine, vault, now)
    finally:
        engine.dispose()


def _with_database(engine: Engine, vault: Vault | None, now: datetime) -> Iterator[Check]:
    found, needed = None, database.head()
    try:
        found, needed = database.revisions(engine)
    except SettingsError as error:
        yield Check("database", "failed", " ".join(error.problems), "Then run `migrate`.")
        return
    except DBAPIError as error:
        if not database.is_damage(error):
            text = f"it can't be opened ({type(error.orig).__name__})"
            yield Check("database", "failed", text, "Start it, and check DATABASE_URL.")
            return
        yield Check("database", "failed", "it is no readable database", _RESTORE)
        return
    yield Check("database", "ok", engine.dialect.name)
    if found != needed:
        advice = "Run `python -m portal migrate`, then `python -m portal upgrade`."
        if found is not None and not database.is_before(found):
            advice = "A newer version has used it: start that version."
        yield Check("schema", "failed", f"it is {found or 'missing'}, not {needed}", advice)
        yield structure(engine)
        return
    if vault is not None:
        audit.bind(engine, vault.audit_key())
    with database.sessions(engine)() as session:
        yield _guarded("schema", session, partial(_schema, session))
        if vault is not None:
            yield _guarded("key ids", session, partial(_keys_in_use, session, vault))
        yield structure(engine)
        yield _guarded("background check", session, partial(_last_check, session, now))
        if vault is not None:
            yield _guarded("files", session, partial(_sample, session, vault))
        yield _guarded("scheduler", session, partial(_scheduler, session))
        yield _guarded("dicom", session, partial(_dicom, session))
        yield _guarded("hl7", session, partial(_hl7, session))
        yield _guarded("workers", session, partial(_workers, session))
        yield _guarded("clock", session, partial(_clock, session, now))
        yield _guarded("backup", session, partial(_backup, session, now))


def _guarded(name: str, session: Session, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (*database.UNREADABLE, VaultError, OSError) as error:
        session.rollback()
        orig = getattr(error, "orig", None)
        advice = _RESTORE if database.is_damage(error) else "Run it again when this is mended."
        text = f"it can't be looked at ({type(orig or error).__name__})"
        return Check(name, "failed", text, advice)


def _redis(settings: Settings) -> Check:
    if not settings.redis_url:
        return Check("redis", "ok", "not used: workers ask for jobs every few seconds")
    broker = Broker(settings.redis_url, settings.visibility_seconds, settings.redis_tls)
    try:
        if broker.waiting(JobKind.RENDER) is None:
            advice = "Start it and check REDIS_URL. Jobs go on meanwhile, a little later."
            return Check("redis", "warning", "it does not answer", advice)
    finally:
        broker.close()
    return Check("redis", "ok", "it answers")


def _disk(settings: Settings) -> Check:
    try:
        usage = shutil.disk_usage(settings.data_dir)
    except OSError as error:
        text = f"the data folder can't be reached ({type(error).__name__})"
        return Check("disk", "failed", text, "Mount it, and check PLEURA_DATA_DIR.")
    text = (
        f"{usage.free / 1024**3:,.1f} GiB free of {usage.total / 1024**3:,.1f} in the data folder"
    )
    if usage.free >= _FREE_WARNING:
        return Check("disk", "ok", text)
    state: State = "warning" if usage.free >= _FREE_FAILED else "failed"
    return Check(
        "disk", state, text, "Free space or enlarge the disk: uploads are refused when full."
    )


def _schema(session: Session) -> Check:
    waits = exams.await_upgrade(session) or first_seals.are_missing(session)
    session.commit()
    if waits:
        text = "rows of a version before wait"
        return Check("schema", "failed", text, "Run `python -m portal upgrade`.")
    return Check("schema", "ok", f"revision {database.head()}")


def _keys_in_use(session: Session, vault: Vault) -> Check:
    ids = key_rotation.keys_in_use(session, vault)
    missing = ids - vault.key_ids
    if missing:
        text = f"{len(missing)} keys that stored data need are not in the key ring"
        return Check("key ids", "failed", text, "Put back the key ring that still held them.")
    return Check("key ids", "ok", f"all {len(ids)} that stored data need are there")


def structure(engine: Engine) -> Check:
    """What the database finds damaged in itself, and whether it can find anything."""
    try:
        problems = background_check.structure(engine)
        checks_pages = database.checks_its_pages(engine)
    except DBAPIError as error:
        text = f"it can't be checked ({type(error.orig).__name__})"
        return Check("integrity", "failed", text, "Run it again when the database answers.")
    if problems:
        return Check("integrity", "failed", _listed(problems), _RESTORE)
    if not checks_pages:
        text = "pages are not checked: this PostgreSQL keeps no checksums"
        return Check("integrity", "warning", text, _CHECKSUMS)
    return Check("integrity", "ok", "the database finds no damaged page")


def _last_check(session: Session, now: datetime) -> Check:
    checked, name = integrity_state.last(session), "background check"
    advice = "Start the scheduler: `python -m portal sweep --loop`."
    if checked is None:
        return Check(name, "warning", "never made", advice)
    state, when = checked.state(now), f"{checked.checked_at:%Y-%m-%d %H:%M} UTC"
    if state == "damaged":
        advice = "`python -m portal vault verify` and `audit verify` list all that is damaged."
        return Check(name, "failed", f"{when}: {_listed(checked.problems)}", advice)
    return Check(name, "ok" if state == "ok" else "warning", when, "" if state == "ok" else advice)


def _sample(session: Session, vault: Vault) -> Check:
    report = integrity.sample(session, vault, _SAMPLE)
    if report.findings:
        advice = (
            "`python -m portal vault verify` lists everything. Copy missing files back into the "
            "vault from a backup. Purge cases whose files are lost: their pictures can be sent "
            "again afterwards, not before."
        )
        return Check("files", "failed", _listed([str(one) for one in report.findings]), advice)
    text = f"{report.files} files and {report.values} sealed values of {report.studies} cases open"
    return Check("files", "ok", text)


def _scheduler(session: Session) -> Check:
    silent = scheduler_signs.silent(session)
    if silent:
        text = f"for a minute, or ever, nothing was done by: {', '.join(silent)}"
        advice = "Start `python -m portal sweep --loop`; if it runs, read its log and restart it."
        return Check("scheduler", "warning", text, advice)
    return Check("scheduler", "ok", "it sweeps and links the log")


def _dicom(session: Session) -> Check:
    if scheduler_signs.dicom_is_silent(session):
        text = "DICOM nodes may send, but no listener has reported for a minute, or ever"
        advice = (
            "Start `python -m portal dicom-listener` with PLEURA_DICOM_PORT, or switch the nodes "
            "off. Modalities keep what they can't send, and send it later."
        )
        return Check("dicom", "warning", text, advice)
    if scheduler_signs.sender_is_silent(session):
        text = "DICOM nodes are to get results, and no sender has reported for a minute, or ever"
        advice = "Start `python -m portal dicom-sender`. What is to be sent waits meanwhile."
        return Check("dicom", "warning", text, advice)
    works = scheduler_signs.dicom_works(session)
    return Check("dicom", "ok", "the listener works" if works else "no node may send")


def _hl7(session: Session) -> Check:
    if scheduler_signs.hl7_is_silent(session):
        text = "HL7 nodes may send, but no listener has reported for a minute, or ever"
        advice = (
            "Start `python -m portal hl7-listener` with PLEURA_HL7_PORT, or switch the nodes off. "
            "Their systems keep what they can't send, and send it later."
        )
        return Check("hl7", "warning", text, advice)
    if scheduler_signs.report_sender_is_silent(session):
        text = "targets are to get reports, and no sender has reported for a minute, or ever"
        advice = "Start `python -m portal report-sender`. What is to be sent waits meanwhile."
        return Check("hl7", "warning", text, advice)
    works = scheduler_signs.hl7_works(session)
    return Check("hl7", "ok", "the listener works" if works else "no node may send")


def _workers(session: Session) -> Check:
    present = presence.present(session).queues
    trouble = overview.trouble(session)
    session.commit()
    missing = [queue.value for queue in QUEUES if queue not in present]
    if missing:
        text = f"no {' and no '.join(missing)} worker has reported lately"
        advice = "Start `python -m worker QUEUE`, or read its log. Read cases unaided meanwhile."
        return Check("workers", "failed", text, advice)
    if trouble == "waiting_for_model":
        text = "jobs wait for a worker that has the model"
        advice = "Update the workers, or copy the model to one of their model folders. "
        return Check("workers", "failed", text, advice + "Read cases unaided meanwhile.")
    if trouble:
        text = "jobs wait although a worker is idle"
        return Check("workers", "warning", text, "Read the worker's log and start it again.")
    return Check("workers", "ok", "one of each kind at least has reported")


def _clock(session: Session, now: datetime) -> Check:
    found = clock.look(session, now)
    text = f"{now:%Y-%m-%d %H:%M} UTC"
    if found.state == "unreadable":
        text += " can't be compared: the newest rows of the access log can't be read"
        return Check("clock", "failed", text, _RESTORE)
    if found.state != "ok":
        text += f" is {found.state}: the portal has seen {found.reference:%Y-%m-%d %H:%M} UTC"
        advice = (
            "Set the clock of this machine by a time server. If it is right, an administrator "
            "confirms it under Data; purges and clean-up wait until then."
        )
        return Check("clock", "failed", text, advice)
    return Check("clock", "ok", text)


def _backup(session: Session, now: datetime) -> Check:
    made = session.scalar(select(func.max(AuditEvent.at)).where(AuditEvent.event == "backup_made"))
    session.commit()
    advice = "Run `python -m portal backup FILE` every night, and copy the file elsewhere."
    if made is None:
        return Check("backup", "warning", "none was ever made", advice)
    text = f"the newest is of {made:%Y-%m-%d %H:%M} UTC"
    if now - made > _BACKUP_OLD:
        return Check("backup", "warning", text, advice)
    return Check("backup", "ok", text)


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    return "; ".join(problems[:_MOST]) + more

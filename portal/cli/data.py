"""The commands about the life of data: purge, retention, backup, restore, vault."""

import argparse
import json
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from portal import audit, database
from portal.audit import anchor_file, anchored_check, anchors
from portal.errors import Conflict
from portal.governance import legal_holds, retention
from portal.governance import purges as purging
from portal.models import PurgeReason
from portal.operations import background_check, backup, integrity
from portal.operations import restore as restoring
from portal.operations.context import Failed, now, open_portal, print_line
from portal.operations.encrypted_stream import UnusableBackup
from portal.settings import Settings
from portal.settings.secret_files import new_backup_key
from portal.vault import Vault, VaultError

_SHOWN: Final = 50
_TELL_EVERY: Final = 5.0


def purge_options(parser: argparse.ArgumentParser) -> None:
    """Describe `purge`."""
    parser.add_argument("case", help="the case's number or id")
    parser.add_argument(
        "--reason", required=True, choices=[reason.value for reason in PurgeReason], help="why"
    )
    parser.add_argument(
        "--reference", default="", help="the number of a letter or file, such as DS-2026/14"
    )


def purge(chosen: argparse.Namespace) -> int:
    """Destroy one case and print the proof."""
    with open_portal(Settings.from_env()) as (session, vault, _engine):
        found = legal_holds.find_cases(session, None, chosen.case)
        if not found:
            raise Failed("There is no such case. Give its number (six signs) or its id.")
        if len(found) > 1:
            lines = [f"{case.study_id}  {case.team}  {case.created:%Y-%m-%d}" for case in found]
            raise Failed(
                "\n".join(["Several cases have this number. Give one of the ids:", *lines])
            )
        try:
            done = purging.purge(
                session,
                vault,
                None,
                found[0].study_id,
                now(),
                reason=PurgeReason(chosen.reason),
                reference=chosen.reference,
            )
        except Conflict as conflict:
            raise Failed(conflict.message) from None
        left = purging.residual_data(session, vault, found[0].study_id)
    if done is None:
        print_line(f"{purging.PROOF_FOLLOWS} The sweep does it; administrators find it on “Data”.")
        return 0
    print_line(json.dumps(json.loads(done.proof), indent=2))
    print_line(f"Digest of this proof, in the access log too: {done.digest}")
    if not left.is_empty:
        raise Failed(f"Not all of it is gone: {left.files} files are left; the sweep takes them.")
    print_line("Looked again: no key, no sealed value, no lookup and no file of it is left.")
    return 0


def retention_options(parser: argparse.ArgumentParser) -> None:
    """Describe `retention`."""
    parser.add_argument(
        "--purge",
        action="store_true",
        help="purge what was announced seven days ago; without it nothing is changed",
    )


def retain(chosen: argparse.Namespace) -> int:
    """List the cases whose time has ended, or purge them."""
    settings = Settings.from_env()
    with open_portal(settings) as (session, vault, _engine):
        for kind, days in retention.days_of(settings).items():
            print_line(f"{kind}: kept {f'{days} days' if days else 'for good'}.")
        held = retention.held_back(session, settings, now())
        if held:
            print_line(f"Kept by a legal hold although their time has ended: {held}.")
        if chosen.purge:
            done = retention.run(session, vault, settings, now())
            if done.clock_state == "unreadable":
                raise Failed(
                    "The clock can't be compared with the access log, whose newest rows can't be "
                    "read: nothing was purged. `python -m portal doctor` names the way back."
                )
            if done.clock_state != "ok":
                raise Failed(
                    f"The clock is {done.clock_state} of what the portal has seen: nothing was "
                    "purged. Set it, or confirm it as an administrator under Data."
                )
            print_line(f"Purged: {len(done.purged)}.")
            if done.left:
                raise Failed(f"Not purged: {', '.join(one.case_number for one in done.left)}.")
            return 0
        due = retention.due(session, settings, now())
    for one in due[:_SHOWN]:
        print_line(f"{one.study_id}  case {one.case_number}  {one.kind} since {one.since:%Y-%m-%d}")
    if len(due) > _SHOWN:
        print_line(f"… and {len(due) - _SHOWN} more.")
    if due:
        print_line(f"{len(due)} are due. The sweep lists each for seven days, then purges it.")
    else:
        print_line("Nothing is due.")
    return 0


class Progress:
    """Prints how far it is, every few seconds."""

    def __init__(self, what: str) -> None:
        self._what, self._said = what, time.monotonic()

    def __call__(self, done: int, everything: int) -> None:
        """Called for each thing that is done."""
        if time.monotonic() - self._said >= _TELL_EVERY:
            self._said = time.monotonic()
            print_line(f"{done:,} of {everything:,} {self._what} …")


def backup_options(parser: argparse.ArgumentParser) -> None:
    """Describe `backup`."""
    parser.add_argument("file", type=Path, help="the file to write; it must not be there yet")


def make_backup(chosen: argparse.Namespace) -> int:
    """Write a sealed backup while the portal runs."""
    settings = Settings.from_env()
    key = _backup_key(settings)
    with open_portal(settings) as (_s, vault, engine):
        try:
            made = backup.make(engine, vault, key, chosen.file, now(), progress=Progress("files"))
        except FileExistsError:
            raise Failed(f"{chosen.file} is there already and was left alone.") from None
        except OSError as error:
            raise Failed(f"{chosen.file} can't be written ({error.strerror}).") from None
    size = made.size / 1048576
    print_line(f"Backed up {made.rows:,} rows and {made.blobs:,} files ({size:,.1f} MiB).")
    print_line("Keep the backup key and the key ring apart from it: both are needed to restore.")
    if made.missing:
        raise Failed("\n".join([f"{len(made.missing)} files are missing:", *made.missing]))
    return 0


def restore_options(parser: argparse.ArgumentParser) -> None:
    """Describe `restore`."""
    parser.add_argument("file", type=Path, help="a backup")
    parser.add_argument(
        "--check", action="store_true", help="only read it to its end and list its contents"
    )


def restore(chosen: argparse.Namespace) -> int:
    """Put a backup into an empty host, or only check it."""
    settings = Settings.from_env()
    key = _backup_key(settings)
    try:
        if chosen.check:
            _print_contents(restoring.check(chosen.file, key))
            print_line("The backup is whole. Nothing was changed.")
            return 0
        vault = Vault(settings)
        engine = database.open_engine(settings)
        audit.bind(engine, vault.audit_key())
        try:
            done = restoring.restore(
                engine, vault, key, chosen.file, now(), progress=Progress("files")
            )
            anchored = _anchor_anew(settings, engine)
        finally:
            engine.dispose()
    except UnusableBackup as bad:
        raise Failed(f"{bad}\nNothing was restored.") from None
    except DBAPIError as error:
        name = type(error.orig).__name__
        raise Failed(f"The database can't be used: {name}. Nothing was restored.") from None
    except VaultError as error:
        raise Failed(f"The vault can't be used: {error}. Nothing was restored.") from None
    _print_contents(done.contents)
    print_line("Restored: counts, files and the end of the access log are those of the backup.")
    if not done.log.is_whole:
        raise Failed(
            "\n".join(["The access log was broken before the backup:", *done.log.findings[:_SHOWN]])
        )
    print_line(anchored)
    return 0


def _anchor_anew(settings: Settings, engine: Engine) -> str:
    """Compare the restored log with the anchors that are here, and add one; what came of it."""
    with database.sessions(engine)() as session:
        checked = anchored_check.check(session, settings, now())
        try:
            anchor_file.keep(session, settings, now())
        except anchors.AnchorFailed as failed:
            return f"The restored access log is not anchored yet: {failed}."
    if checked.contradiction:
        return f"It is not the access log that was anchored here, {checked.contradiction}."
    return checked.refused or checked.reach


def print_backup_key(_chosen: argparse.Namespace) -> int:
    """Print a new key for backups."""
    print_line(new_backup_key())
    return 0


def vault_options(parser: argparse.ArgumentParser) -> None:
    """Describe `vault`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="read and open every file and sealed value")
    verify.set_defaults(act=_vault_verify)


def _vault_verify(_chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, vault, engine):
        damage, checks_pages = background_check.structure(engine), database.checks_its_pages(engine)
        report = integrity.inspect(session, vault, now(), progress=Progress("studies"))
    print_line(
        f"Opened {report.files:,} files ({report.size / 1048576:,.1f} MiB) and {report.values:,} "
        f"sealed values of {report.studies:,} studies and of the people."
    )
    if report.orphans:
        print_line(f"{len(report.orphans)} files that no row names; the sweep removes them:")
        for name in report.orphans:
            print_line(f"  {name}")
    if not checks_pages:
        print_line("Pages of the database are not checked: this PostgreSQL keeps no checksums.")
    found = damage + [str(one) for one in report.findings]
    if found:
        raise Failed("\n".join([f"{len(found)} are not as they were written:", *found]))
    print_line("Everything is intact.")
    return 0


def _print_contents(contents: restoring.Contents) -> None:
    print_line(f"Made at {contents.made_at:%Y-%m-%d %H:%M} UTC, schema {contents.revision}.")
    print_line(f"{contents.rows:,} rows, {contents.blobs['files']:,} files.")
    print_line(f"The access log has {contents.log['rows']:,} rows.")
    if contents.missing:
        print_line(f"{len(contents.missing)} files were missing when it was made.")


def _backup_key(settings: Settings) -> str:
    if not settings.backup_key:
        raise Failed(
            "Backups need a key: write one with `python -m portal new-backup-key`, keep it in a "
            "file of its own and name that file in PLEURA_BACKUP_KEY_FILE."
        )
    return settings.backup_key

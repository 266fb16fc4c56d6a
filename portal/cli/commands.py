"""The commands: each opens what it needs, calls one function of the core and prints the result."""

import argparse
import contextlib
import json
from importlib import import_module
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from portal import audit, database
from portal.audit import first_seals
from portal.cli import data, doctor
from portal.cli.ai_models import model_options
from portal.cli.api_tokens import token_options
from portal.cli.audit import audit_options
from portal.cli.cohorts import cohort_options
from portal.cli.dicom import dicom_options, listen, send
from portal.cli.hl7 import hl7_options, listen_to_hl7
from portal.cli.report_targets import send_reports, target_options
from portal.cli.worker_tokens import worker_token_options
from portal.governance import scheduler_signs
from portal.operations import first_start, key_rotation
from portal.operations.context import Command, Failed, now, open_portal, print_line
from portal.operations.scheduler import STATEMENT_SECONDS, run_sweep
from portal.settings import Settings, SettingsError, production_problems
from portal.settings.secret_files import new_key_ring
from portal.standalone.options import add_arguments, options_of
from portal.studies import exams
from portal.vault import Vault, VaultError


def _migrate(_chosen: argparse.Namespace) -> int:
    print_line(f"The database is at revision {first_start.migrate(Settings.from_env())}.")
    return 0


def _upgrade(_chosen: argparse.Namespace) -> int:
    done = first_start.upgrade_rows(Settings.from_env(), progress=data.Progress("studies"))
    print_line(f"{done.studies} studies of a version before were brought to this one.")
    if done.joined:
        print_line(f"{done.joined} of them were joined into another of the same StudyInstanceUID.")
    if done.unreadable:
        print_line(f"{len(done.unreadable)} do not open and were left as they are:")
        for study_id in done.unreadable:
            print_line(f"  study {study_id}")
    return 0


def _admin_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="Administrator", help="the person's name")
    parser.add_argument("--email", default="admin@localhost", help="what they sign in with")
    parser.add_argument("--team", default=None, help="the team's name; made if it is not there")
    parser.add_argument("--hours", type=int, default=24, help="how long the link works")
    parser.add_argument(
        "--if-none", action="store_true", help="do nothing if there is an administrator already"
    )


def _create_admin(chosen: argparse.Namespace) -> int:
    if not 1 <= chosen.hours <= 24 * 30:
        raise Failed("--hours must be from 1 to 720.")
    link = first_start.admin_link(
        Settings.from_env(),
        name=chosen.name,
        email=chosen.email,
        team=chosen.team,
        hours=chosen.hours,
        if_none=chosen.if_none,
    )
    if link is not None:
        print_line(f"An administrator is made by this link, once, within {chosen.hours} hours:")
        print_line(f"  {link}")
    return 0


def _sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loop", action="store_true", help="go on until it is stopped")
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="SECONDS", help="pause of the loop (5)"
    )
    parser.add_argument(
        "--alive", action="store_true", help="only tell whether a loop elsewhere does its work"
    )


def _sweep(chosen: argparse.Namespace) -> int:
    if not 0.1 <= chosen.every <= 3600:
        raise Failed("--every must be from 0.1 to 3600 seconds.")
    settings = Settings.from_env()
    if chosen.alive:
        with open_portal(settings, linking=False, statement_seconds=5) as (session, _v, _e):
            silent = scheduler_signs.silent(session)
        if silent:
            raise Failed(f"For a minute nothing was done by: {', '.join(silent)}.")
        print_line("The scheduler works.")
        return 0
    with open_portal(settings, statement_seconds=STATEMENT_SECONDS) as (_s, vault, engine):
        run_sweep(settings, vault, engine, every=chosen.every if chosen.loop else None)
    return 0


def _rotate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume", action="store_true", help="add no key, only go on where it was stopped"
    )
    parser.add_argument(
        "--drop-old",
        action="store_true",
        help="remove keys that nothing needs any more: backups that need them become unreadable",
    )


def _rotate_keys(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, vault, engine):
        if not chosen.resume:
            key_rotation.add_key(engine, vault, now())
        done = key_rotation.rewrap(session, vault, now())
        print_line(
            f"Key {done.key_id} now wraps {done.studies} studies, {done.pictures} pictures, "
            f"{done.hospital} orders and reports and {done.people} secrets more."
        )
        if chosen.drop_old:
            dropped = key_rotation.drop_keys(engine, session, vault, now())
            print_line(f"Removed from the key ring: {', '.join(dropped.gone) or 'nothing'}.")
            if dropped.waiting:
                print_line(f"Retired within the last hour and kept: {', '.join(dropped.waiting)}.")
                print_line("Run `rotate-keys --resume --drop-old` when the hour is over.")
    left = [f"study {i}" for i in done.unreadable_studies]
    left += [f"picture {i}" for i in done.unreadable_pictures]
    left += [f"order or report {i}" for i in done.unreadable_hospital]
    left += [f"second factor of person {i}" for i in done.unreadable_people]
    if left:
        lines = [f"{len(left)} do not open and were left as they are:", *left]
        raise Failed("\n".join(lines))
    return 0


def _settings_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def _settings(chosen: argparse.Namespace) -> int:
    described = Settings.describe()
    if chosen.json:
        rows = [{"name": v.name, "default": v.default, "meaning": v.meaning} for v in described]
        print_line(json.dumps(rows, indent=2))
        return 0
    for variable in described:
        print_line(f"{variable.name}  (default: {variable.default})")
        print_line(f"    {variable.meaning}")
    return 0


def _check(_chosen: argparse.Namespace) -> int:
    problems = production_problems()
    with contextlib.suppress(SettingsError):
        settings = Settings.from_env()
        problems += settings.certificate_problems()
        engine = database.open_engine(settings)
        try:
            if not database.schema_is_current(engine):
                problems.append("The database's schema is not current: run `migrate`.")
            elif _awaits_upgrade(engine):
                problems.append("The database was not filled by this version yet: run `upgrade`.")
        except DBAPIError as error:
            problems.append(f"The database can't be used: {type(error.orig).__name__}.")
        except VaultError as error:
            problems.append(f"The vault can't be used: {error}.")
        except SettingsError as error:  # the database's encoding
            problems += error.problems
        finally:
            engine.dispose()
    if problems:
        raise Failed("\n".join(["Production would refuse to start:", *problems]))
    print_line("Production would start with these settings.")
    return 0


def _awaits_upgrade(engine: Engine) -> bool:
    audit.bind(engine, Vault(Settings.from_env()).audit_key())
    with database.sessions(engine)() as session:
        return exams.await_upgrade(session) or first_seals.are_missing(session)


def _new_key_ring(_chosen: argparse.Namespace) -> int:
    print_line(new_key_ring())
    return 0


def _up_options(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)


def _up(chosen: argparse.Namespace) -> int:
    tree: Any = import_module("portal.standalone.up")
    code: int = tree.up(Settings.from_env(), options_of(chosen))
    return code


def _demo(chosen: argparse.Namespace) -> int:
    tree: Any = import_module("portal.standalone.up")
    code: int = tree.up_with_examples(Settings.from_env(), options_of(chosen))
    return code


def _action(chosen: argparse.Namespace) -> int:
    code: int = chosen.act(chosen)
    return code


COMMANDS: Final = (
    Command("up", "run everything on this machine until Ctrl-C", _up, _up_options),
    Command("demo", "the same, filled with example X-rays", _demo, _up_options),
    Command("migrate", "bring the database to the schema of this version", _migrate),
    Command(
        "upgrade",
        "bring the rows of a version before to this one, after `migrate`; can be stopped",
        _upgrade,
    ),
    Command(
        "create-admin", "print a one-time link for an administrator", _create_admin, _admin_options
    ),
    Command("token", "API tokens: create, list, revoke", _action, token_options),
    Command(
        "worker-token", "workers' own tokens: create, list, revoke", _action, worker_token_options
    ),
    Command(
        "model", "the registry of models: add, list, promote, statistics", _action, model_options
    ),
    Command("dicom", "DICOM nodes: list, add, change, echo", _action, dicom_options),
    Command("dicom-listener", "take what DICOM nodes send, until it is stopped", listen),
    Command("dicom-sender", "send results to DICOM nodes, until it is stopped", send),
    Command("hl7", "HL7 nodes: list, add, change", _action, hl7_options),
    Command("hl7-listener", "take what HL7 nodes send, until it is stopped", listen_to_hl7),
    Command(
        "report-targets", "systems that get reports: list, add, test, end", _action, target_options
    ),
    Command("report-sender", "send reports to their targets, until it is stopped", send_reports),
    Command("audit", "the access log: verify, anchor, export", _action, audit_options),
    Command(
        "sweep",
        "give lost jobs another try and notify workers of waiting ones",
        _sweep,
        _sweep_options,
    ),
    Command(
        "rotate-keys", "move everything to a new key of the key ring", _rotate_keys, _rotate_options
    ),
    Command("cohort", "data sets: freeze, list, check, purge", _action, cohort_options),
    Command("purge", "destroy a case and print the proof", data.purge, data.purge_options),
    Command(
        "retention",
        "list the cases whose time has ended, or purge them",
        data.retain,
        data.retention_options,
    ),
    Command(
        "backup",
        "write a sealed backup of everything",
        data.make_backup,
        data.backup_options,
    ),
    Command("restore", "put a backup into an empty host", data.restore, data.restore_options),
    Command(
        "vault",
        "the encrypted files: verify reads and opens everything",
        _action,
        data.vault_options,
    ),
    Command("new-backup-key", "print a new key for PLEURA_BACKUP_KEY_FILE", data.print_backup_key),
    Command("new-key-ring", "print a new key ring for PLEURA_KEY_RING_FILE", _new_key_ring),
    Command("settings", "list every setting with its default", _settings, _settings_options),
    Command("check", "list what production would refuse in these settings", _check),
    Command(
        "doctor",
        "look at keys, database, files, Redis, workers, disk, clock and backups, with the way back",
        doctor.examine,
        doctor.doctor_options,
    ),
)

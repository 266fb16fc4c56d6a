"""Every setting of the portal, read and checked, in one immutable object.

The only package of the portal that reads the process's environment. `variables` declares all
settings. In development missing secrets are made once and stored in the data folder; in production
they must be given.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from portal.settings import declaration, production, secret_files, tls
from portal.settings.declaration import Variable
from portal.settings.development_secrets import DevelopmentSecrets
from portal.settings.key_ring_command import KeyRingCommand
from portal.settings.source import (
    SettingsError,
    VariableSource,
    problems_by_variable,
    refuse_unreadable,
)
from portal.settings.variables import Variables
from worker.contract.tls import redis_options

__all__ = ["Settings", "SettingsError", "production_problems"]


class Settings(Variables):
    """What the portal runs on. Secrets do not show in `repr`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the environment; pydantic's ValidationError where a variable is wrong by itself.

        `from_env` is for all callers: it also checks combinations.
        """
        BaseSettings.__init__(self, environ=environ)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment that the constructor was given, then the secrets of development."""
        variables = VariableSource(settings_cls, init_settings()["environ"])
        return variables, DevelopmentSecrets(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_unreadable(cls, value: Any) -> Any:
        return refuse_unreadable(value)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read and check the environment; raises SettingsError with every problem at once."""
        given = dict(os.environ if environ is None else environ)
        wrong: dict[str, str] = {}
        try:
            settings = cls(given)
        except ValidationError as error:
            wrong = problems_by_variable(error, cls)
            settings = cls._without(given, wrong)
        problems = [*wrong.values(), *settings._problems()]
        if settings.production:
            problems += tls.libpq_problems(settings, given)
        if problems:
            raise SettingsError(problems)
        return settings

    @classmethod
    def _without(cls, given: Mapping[str, str], wrong: Mapping[str, str]) -> "Settings":
        """The settings but for the variables that are wrong, so that the rest is checked, too."""
        right = {name: v for name, v in given.items() if name.removesuffix("_FILE") not in wrong}
        if "PLEURA_ENV" in wrong:
            right["PLEURA_ENV"] = "production"  # the strictest
        try:
            return cls(right)
        except ValidationError:
            raise SettingsError(list(wrong.values())) from None

    @staticmethod
    def describe() -> tuple[Variable, ...]:
        """Every variable with default and meaning, in the order of the documentation."""
        return declaration.describe(Settings)

    @property
    def production(self) -> bool:
        """Whether it is a production portal, with real patients."""
        return self.env == "production"

    @property
    def only_local_flagged(self) -> bool:
        """Whether only flagged accounts may sign in by password."""
        return self.local_sign_in == "flagged"

    @property
    def max_upload_bytes(self) -> int:
        """Largest accepted file in bytes."""
        return self.max_upload_mb * 1024 * 1024

    @property
    def max_archive_bytes(self) -> int:
        """Largest accepted ZIP in bytes."""
        return self.max_archive_mb * 1024 * 1024

    @property
    def max_header_bytes(self) -> int:
        """Largest accepted DICOM header in bytes."""
        return self.max_header_mb * 1024 * 1024

    @property
    def session_idle(self) -> timedelta:
        """Time without a request after which a session ends."""
        return timedelta(minutes=self.session_idle_minutes)

    @property
    def session_absolute(self) -> timedelta:
        """Age at which a session ends."""
        return timedelta(hours=self.session_absolute_hours)

    @property
    def break_glass(self) -> timedelta:
        """How long emergency access to a case lasts."""
        return timedelta(minutes=self.break_glass_minutes)

    @property
    def anchor_folder(self) -> Path:
        """Where the anchors of the access log lie if no file is set: beside the data folder, so
        that an older copy of that brings no older anchors with it.
        """
        return self.data_dir.with_name(f"{self.data_dir.name}-anchors")

    @property
    def passkey_site(self) -> tuple[str, str] | None:
        """The host name that passkeys belong to and the origin that asks for them.

        None where browsers make none: without https (except on localhost) and for bare addresses.
        """
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        named = bool(host) and ":" not in host and not host.replace(".", "").isdecimal()
        if not named or (parts.scheme != "https" and host != "localhost"):
            return None
        return host, f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def redis_tls(self) -> dict[str, Any]:
        """What redis-py and Celery need to reach REDIS_URL by TLS; empty without."""
        return redis_options(self.redis_url, self.tls_ca_file)

    @property
    def database_tls(self) -> dict[str, Any]:
        """What libpq needs beside DATABASE_URL to check the certificate; empty without TLS."""
        return tls.database_options(self)

    def check_certificates(self) -> None:
        """Raise SettingsError where PostgreSQL or Redis answers with a certificate not accepted."""
        if problems := self.certificate_problems():
            raise SettingsError(problems)

    def certificate_problems(self) -> list[str]:
        """A sentence for each of these servers; one that is down is no problem here."""
        return list(tls.certificate_problems(self))

    @cached_property
    def _command(self) -> KeyRingCommand | None:
        if not self.key_ring_command:
            return None
        return KeyRingCommand(self.key_ring_command, self.key_ring_store_command)

    def read_key_ring(self, *, fresh: bool = True) -> str:
        """The key ring as it is now: rotate-keys may have added a key since the start.

        fresh False: a command's output of the last minute may be used. OSError where the file or
        the command can't be read.
        """
        if self._command:
            return self._command.read(fresh=fresh)
        return self.key_ring_file.read_text("utf-8") if self.key_ring_file else self.key_ring

    def change_key_ring(self, change: Callable[[str], str]) -> None:
        """Replace the key ring by `change` of it, one process after the other.

        Raises SettingsError where the ring is not in a file or command, or can't be written. A
        command's key ring is locked on this machine alone; `rotate-keys` locks the other hosts out.
        """
        path = self.key_ring_file
        try:
            if self._command:
                with secret_files.locked(self.data_dir):
                    self._command.store(change(self._command.read()))
            elif path:
                with secret_files.locked(path.parent):
                    secret_files.write_private(path, change(path.read_text("utf-8")))
            else:
                raise SettingsError(
                    ["The key ring is not in a file: set PLEURA_KEY_RING_FILE to rotate keys."]
                )
        except OSError as error:
            raise SettingsError(
                [f"The key ring {path or ''} can't be written ({error.strerror or error})."]
            ) from None

    @property
    def _of_sqlite(self) -> Path | None:
        """The folder of the database's file, where it is one."""
        name = self.database_url.partition("sqlite:///")[2]
        return Path(name).absolute().parent if name else None

    def _problems(self) -> Iterator[str]:
        """A sentence for each thing that does not go together."""
        if self.key_ring_store_command and not self.key_ring_command:
            yield "PLEURA_KEY_RING_STORE_COMMAND needs PLEURA_KEY_RING_COMMAND."
        if self.key_ring_command and (self.key_ring or self.key_ring_file):
            yield "Give PLEURA_KEY_RING_COMMAND or PLEURA_KEY_RING(_FILE), not both."
        anchors = self.audit_anchor_file
        if anchors and (anchors.is_relative_to(self.data_dir) or anchors.parent == self._of_sqlite):
            yield (
                "PLEURA_AUDIT_ANCHOR_FILE must lie outside of the data folder and of the "
                "database's: who puts an older copy of these back would put it back too."
            )
        if self.sso and self.sso.provision == "mapped" and not self.sso.groups:
            yield "PLEURA_OIDC_ROLES must name a group, or nobody could sign in."
        if self.only_local_flagged and self.sso is None:
            yield "PLEURA_LOCAL_SIGN_IN=flagged needs PLEURA_OIDC_ISSUER."
        for listener in (self.dicom, self.hl7):
            if listener and (problem := listener.problem()):
                yield problem
        key_ring = self.key_ring
        if self._command:
            try:
                key_ring = self._command.read()
            except OSError as error:
                yield f"PLEURA_KEY_RING_COMMAND: {error}."
        yield from tls.problems(self)
        if self.production:
            yield from production.problems(self, key_ring)


def production_problems() -> list[str]:
    """What production would refuse in this process's environment, a sentence each."""
    try:
        Settings.from_env({**os.environ, "PLEURA_ENV": "production"})
    except SettingsError as error:
        return error.problems
    return []

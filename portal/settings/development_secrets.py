"""Secrets that are made once in development and stored in the data folder, where none are given."""

import contextlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from portal.settings import secret_files
from portal.settings.source import SettingsError, Unreadable

FOLDER: Final = "keys"
_KEY_RING: Final = "PLEURA_KEY_RING"
_MADE: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "PLEURA_SECRET_KEY": ("secret_key", secrets.token_urlsafe),
    "PLEURA_WORKER_TOKEN": ("worker_token", secrets.token_urlsafe),
    _KEY_RING: ("key_ring.json", secret_files.new_key_ring),
}


class DevelopmentSecrets(PydanticBaseSettingsSource):
    """Adds the secrets that are missing to what the source before it found.

    Nothing is made in production, nor where the environment's name or a file is wrong.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret of a field, made if there is none, or None; its name; that it is no JSON."""
        name = str(field.validation_alias or field_name)
        return (self._secret(name) if name in self._missing() else None), name, False

    def __call__(self) -> dict[str, Any]:
        """The secrets, and the file that the key ring is written to when it is rotated."""
        given = self.current_state
        if given.get("PLEURA_ENV", "development") not in ("development", "test") or any(
            isinstance(value, Unreadable) for value in given.values()
        ):
            return {}
        try:
            for folder in (self._keys.parent, self._keys):
                secret_files.make_private_folder(folder)
            made = {name: self._secret(name) for name in self._missing()}
        except OSError as error:
            raise SettingsError(
                [f"The folder {self._keys.parent} can't be made or used ({error.strerror})."]
            ) from None
        if _KEY_RING in made:
            made[f"{_KEY_RING}_FILE"] = str(self._keys / _MADE[_KEY_RING][0])
        return made

    @property
    def _keys(self) -> Path:
        return Path(self.current_state.get("PLEURA_DATA_DIR", "var")).absolute() / FOLDER

    def _missing(self) -> list[str]:
        given = self.current_state
        commands = {f"{_KEY_RING}_COMMAND", f"{_KEY_RING}_STORE_COMMAND"} & set(given)
        return [
            name for name in _MADE if name not in given and not (name == _KEY_RING and commands)
        ]

    def _secret(self, name: str) -> str:
        file_name, make = _MADE[name]
        path = self._keys / file_name
        if not path.exists():
            with contextlib.suppress(FileExistsError):  # another process was first
                secret_files.write_private(path, make(), new=True)
        return path.read_text("utf-8").strip()

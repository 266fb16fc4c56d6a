"""Where the settings come from: variables, files that variables name, and sentences for errors.

pydantic-settings' own source of secrets reads a folder with one file per field; container
platforms name each file in a variable (NAME_FILE), so that is read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from portal.settings.declaration import fields, group, is_secret


class SettingsError(Exception):
    """The environment does not make a runnable portal. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that could not be read; `refuse_unreadable` makes an error of it."""

    problem: str


def refuse_unreadable(value: Any) -> Any:
    """A validator for all fields."""
    if isinstance(value, Unreadable):
        raise PydanticCustomError("unreadable", "{problem}", {"problem": value.problem})
    return value


class VariableSource(PydanticBaseSettingsSource):
    """The values of a model's variables in an environment; an empty one counts as not given.

    A model inside the model is given where its first variable is.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of a variable or its file, or None; its name; and that it is not JSON."""
        name = str(field.validation_alias or field_name)
        value = self.environ.get(name, "")
        path = self.environ.get(f"{name}_FILE", "") if is_secret(field) else ""
        if value and path:
            return Unreadable(f"Give {name} or {name}_FILE, not both."), name, False
        return (_content(name, path) if path else value.strip() or value) or None, name, False

    def __call__(self) -> dict[str, Any]:
        """The values of the variables that are given."""
        return self._values(self.settings_cls)

    def _values(self, model: type[BaseModel]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field_name, field in model.model_fields.items():
            inner = group(field)
            if inner is None:
                value, name, _ = self.get_field_value(field, field_name)
            else:
                value, name = self._values(inner), field_name
                if next(fields(inner))[0] not in value:
                    continue
            if value is not None:
                found[name] = value
        return found


def _content(name: str, path: str) -> str | Unreadable:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        return Unreadable(f"{name}_FILE can't be read: {reason}.")


def problems_by_variable(error: ValidationError, model: type[BaseModel]) -> dict[str, str]:
    """A sentence for each variable that is wrong."""
    by_name = dict(fields(model))
    found = {}
    for one in error.errors():
        if one["type"] == "default_factory_not_called":
            continue  # a default that waits for the variable that is wrong
        name = next(str(part) for part in reversed(one["loc"]) if part in by_name)
        found[name] = _sentence(name, by_name[name], one)
    return found


def _sentence(name: str, field: FieldInfo, error: Any) -> str:
    if error["type"] == "unreadable":
        return str(error["msg"])
    least = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    most = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
    if least is not None and most is not None:
        return f"{name} must be a whole number from {least} to {most}."
    if get_origin(field.annotation) is Literal:
        *choices, last = get_args(field.annotation)
        return f"{name} must be {', '.join(choices)} or {last}."
    if error["type"] == "missing":
        return f"{name} must be set."
    return f"{name} {error.get('ctx', {}).get('error', 'is wrong')}."

"""How a setting is declared: its variable, default, bounds and meaning, in one place beside it.

`variable` makes a pydantic field of them; the types here read the forms that the variables use.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import SettingsConfigDict

# Values are shown and compared as they were given, without the space around them; a value that is
# wrong is not repeated in an error, because it may be a secret in the wrong place.
MODEL: Final = SettingsConfigDict(
    frozen=True,
    extra="ignore",
    str_strip_whitespace=True,
    hide_input_in_errors=True,
    validate_default=True,
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of the settings reference."""

    name: str
    default: str
    meaning: str
    secret: bool


def variable(
    name: str,
    default: Any,
    meaning: str,
    *,
    default_text: str | None = None,
    secret: bool = False,
    ge: int | None = None,
    le: int | None = None,
) -> Any:
    """A field that is read from the environment variable `name`.

    default: a value, ... for a variable that must be given, or a function of the fields before it.
    default_text: what the reference names as the default, where the value does not explain itself.
    secret: may also be given as a file that NAME_FILE names, and does not show in `repr`.
    ge, le: the least and the most that a whole number may be.
    """
    kind = "default_factory" if callable(default) else "default"
    return Field(
        **{kind: default},
        validation_alias=name,
        description=meaning,
        repr=not secret,
        ge=ge,
        le=le,
        json_schema_extra={"secret": secret, "default_text": default_text},
    )


def is_secret(field: FieldInfo) -> bool:
    """Whether a field of `variable` is a secret."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("secret") is True


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The variables of a model, those of the models inside it at their place: name and field."""
    for field in model.model_fields.values():
        inner = group(field)
        if inner is not None:
            yield from fields(inner)
        elif isinstance(field.validation_alias, str):
            yield field.validation_alias, field


def group(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, if it holds one."""
    inner = [kind for kind in getattr(field.annotation, "__args__", ()) if isinstance(kind, type)]
    return next((kind for kind in inner if issubclass(kind, BaseModel)), None)


def describe(model: type[BaseModel]) -> tuple[Variable, ...]:
    """The reference of a model's variables, in the order of their declaration."""
    return tuple(
        Variable(name, _default_text(field), _meaning(name, field), is_secret(field))
        for name, field in fields(model)
        if field.description
    )


def _default_text(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("default_text"):
        return str(extra["default_text"])
    default = field.get_default()
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default in (None, "", (), PydanticUndefined) else str(default)


def _meaning(name: str, field: FieldInfo) -> str:
    meaning = field.description or ""
    return f"{meaning} Or as a file: {name}_FILE." if is_secret(field) else meaning


def _whole_number(value: object) -> object:
    """Digits alone: pydantic would take 1_000 and 5.0 as well."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number")
    return value


def _yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("yes", "no"):
        raise ValueError("must be yes or no")
    return str(value).lower() == "yes"


def _names(value: object) -> object:
    return tuple(value.lower().replace(",", " ").split()) if isinstance(value, str) else value


def _path_or_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
"""`yes` or `no`."""
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""Names in small letters, separated by commas or spaces."""
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none), AfterValidator(_absolute)]
"""An absolute path; relative ones begin at the working directory."""

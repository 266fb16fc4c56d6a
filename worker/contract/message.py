"""The base of every message: strict JSON with finite numbers and no unknown field."""

import json
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class InvalidMessage(ValueError):
    """JSON that breaks the contract. `message` names the field and the rule, not the value."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Message(BaseModel):
    """A JSON object of the contract."""

    bytes_max: ClassVar[int] = 256 * 1024

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The message in a decoded JSON value; InvalidMessage where it breaks the contract."""
        # By way of the text: strict validation of Python values takes no list for a tuple and no
        # string for an enum, and only plain JSON with finite numbers can be written.
        try:
            text = json.dumps(value, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            raise InvalidMessage("not plain JSON with finite numbers") from None
        return cls.parse_text(text)

    @classmethod
    def parse_text(cls, text: str | bytes) -> Self:
        """The message in a JSON text; InvalidMessage where it breaks the contract."""
        if len(text) > cls.bytes_max:
            raise InvalidMessage(f"larger than {cls.bytes_max} bytes")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidMessage(_first(error)) from None

    def as_json(self) -> dict[str, Any]:
        """As it is sent and stored: the fields that were set, lists for tuples."""
        return self.model_dump(mode="json", exclude_unset=True)


class PortalMessage(Message):
    """What the portal sends. A newer portal may send more: workers pass over unknown fields."""

    model_config = ConfigDict(extra="ignore")


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])[:200]
    return f"{place}: {found['msg']}" if place else found["msg"]


# NUL is refused: no database stores it. Halves of surrogate pairs are no valid JSON text.
_NO_NUL: Final = r"^[^\x00]*$"


def text(longest: int, shortest: int = 1) -> Any:
    """The constraints of a text of shortest..longest characters that every database stores."""
    return Field(min_length=shortest, max_length=longest, pattern=_NO_NUL)


Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]

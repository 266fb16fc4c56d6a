"""Pictures of a cohort without their patients, by the rules of `deidentified_export`."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import Field

from portal.exchange.deidentified_export import LOOK, MODULE
from portal.exchange.deidentify_process import SECONDS
from portal.formats.header_pool import Shape
from portal.formats.limited_work import Ask, LimitedWork
from portal.formats.refusals import Refused

DICOM: Final = "application/dicom"
# Of its own: whoever exports a case meanwhile does not wait for a whole cohort.
_work: Final = LimitedWork(MODULE, SECONDS)

Why = Literal["no_dicom", "damaged", "look_first", "not_cleanable", "too_much_work"]


class _Uids(Shape):
    study: str
    series: str
    instance: str


class _Made(Shape):
    warnings: list[str]
    size: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A picture as DICOM under its new identity; without `data` the reason why there is none."""

    data: bytes = field(repr=False)
    warnings: list[str]
    why_not: Why | None = None


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """Who the picture is now: a pseudonym, and its three UIDs."""

    pseudonym: str
    uids: dict[str, str]


def clean(source: bytes, identity: NewIdentity, *, spacing_is_wrong: bool, looked: bool) -> Cleaned:
    """One picture without its patient. `looked`: a person has seen that no text is burned into it.

    Busy where the machine has too much to do.
    """
    with _work.turn() as ask:
        return _asked(ask, source, identity, spacing_is_wrong=spacing_is_wrong, looked=looked)


def _asked(
    ask: Ask, source: bytes, identity: NewIdentity, *, spacing_is_wrong: bool, looked: bool
) -> Cleaned:
    asked: dict[str, Any] = {
        "what": "export",
        "uids": identity.uids,
        "pseudonym": identity.pseudonym,
        "number": 1,
        "spacing_is_wrong": spacing_is_wrong,
    }
    try:
        ask({"what": "uids"}, source, shape=_Uids)
        made = ask(asked, source, shape=_Made)
    except Refused as refused:
        is_costly = refused.code == "header_limit"
        return Cleaned(b"", [], "too_much_work" if is_costly else "not_cleanable")
    if LOOK & set(made["warnings"]) and not looked:
        return Cleaned(b"", made["warnings"], "look_first")
    return Cleaned(made["body"], made["warnings"])

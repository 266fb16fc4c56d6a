"""What a program accepts, and whether that can be given (PS3.18 8.7).

The query's `accept` stands in place of the header, for programs that can set none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flask import request

from portal.web.security.errors import Problem

DICOM: Final = "application/dicom"
JSON: Final = "application/dicom+json"
OCTETS: Final = "application/octet-stream"
_RELATED: Final = "multipart/related"
_MOST: Final = 50
# Of a compressed frame, by its transfer syntax (PS3.18 table 8.7.3-5).
OF_FRAMES: Final = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **dict.fromkeys(
        (f"1.2.840.10008.1.2.4.{one}" for one in ("50", "51", "57", "70")), "image/jpeg"
    ),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{one}" for one in ("80", "81")), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{one}" for one in ("90", "91")), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{one}" for one in ("201", "202", "203")), "image/jphc"),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """One media type of those accepted; of a multipart one that of its parts."""

    media_type: str
    is_multipart: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def syntax(self) -> str:
        """The transfer syntax that is asked for; "*" for any, which is the same as none."""
        return self.parameters.get("transfer-syntax", "*") or "*"

    def is_for(self, media_type: str) -> bool:
        """Whether it takes this one."""
        kind = media_type.partition("/")[0]
        return self.media_type in (media_type, f"{kind}/*", "*/*")


def accepted() -> list[Accepted]:
    """What the request accepts; everything where it names nothing."""
    text = request.args.get("accept") or request.headers.get("Accept", "")
    found = list[Accepted]()
    for part in _split(text)[:_MOST]:
        name, parameters = _parsed(part)
        if not name or _is_refused(parameters):
            continue
        if name == _RELATED:
            inner = parameters.get("type", "*/*").lower()
            found.append(Accepted(inner, True, parameters))
        else:
            found.append(Accepted(name, False, parameters))
    if not found and not text.strip():
        found = [Accepted("*/*")]
    return found


def require_json() -> str:
    """The media type of a JSON answer; 406 where the request accepts none such."""
    for one in accepted():
        if one.is_multipart:
            continue
        if one.media_type == "application/json":
            return "application/json"
        if one.is_for(JSON):
            return JSON
    raise not_acceptable(f"Ask for {JSON}.")


def for_parts(*kinds: str) -> list[Accepted]:
    """Those of the accepted that take parts of one of these media types; 406 where none does."""
    found = [
        one
        for one in accepted()
        if any(one.is_for(kind) for kind in kinds) and (one.is_multipart or "*" in one.media_type)
    ]
    if not found:
        raise not_acceptable(f'Ask for {_RELATED}; type="{kinds[0]}".')
    return found


def takes(accepted: list[Accepted], media_type: str, syntax: str) -> bool:
    """Whether one of the accepted takes parts of this type in this transfer syntax."""
    return any(one.is_for(media_type) and one.syntax in ("*", syntax) for one in accepted)


def takes_any_syntax(accepted: list[Accepted]) -> bool:
    """Whether bytes are asked for in whatever transfer syntax, in so many words.

    Viewers ask for frames so and go by the media type of the part.
    """
    return any(
        one.is_for(OCTETS) and one.parameters.get("transfer-syntax") == "*" for one in accepted
    )


def of_body() -> tuple[str, str, str]:
    """The media type of the request's body, that of its parts, and their boundary; empty texts for
    what it does not name. The type of the parts stands there with or without quotes.
    """
    name, parameters = _parsed(request.headers.get("Content-Type", ""))
    return name, parameters.get("type", "").lower(), request.mimetype_params.get("boundary", "")


def not_acceptable(detail: str) -> Problem:
    """The answer to a request that accepts nothing of what there is."""
    return Problem(406, "not_acceptable", detail)


def _is_refused(parameters: Mapping[str, str]) -> bool:
    try:
        return float(parameters.get("q", "1")) <= 0
    except ValueError:
        return False


def _parsed(part: str) -> tuple[str, dict[str, str]]:
    """A media type and its parameters; a type within them stands there with or without quotes."""
    name, *rest = part.split(";")
    pairs = (one.partition("=") for one in rest)
    return name.strip().lower(), {
        key.strip().lower(): value.strip().strip('"').strip() for key, _, value in pairs
    }


def _split(text: str) -> list[str]:
    """The parts between commas, those within quotes left alone."""
    parts, begin, quoted = list[str](), 0, False
    for at, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            parts.append(text[begin:at])
            begin = at + 1
    return [part for part in (*parts, text[begin:]) if part.strip()]

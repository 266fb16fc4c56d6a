"""The settings of single sign-on: which issuer is asked, and which of its groups is which role."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from portal.settings.declaration import MODEL, OptionalPath, variable

ROLES: Final = ("technologist", "reader", "admin", "auditor")


@dataclass(frozen=True, slots=True)
class Mapped:
    """Who is in the group gets the role, in the team (without one: the first there is)."""

    group: str
    role: str
    team: str


def _issuer(text: str) -> str:
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("https", "http") and bool(parts.hostname) and not parts.query
    except ValueError:
        named = False
    if not named:
        raise ValueError("must be an address such as https://login.example/realm")
    if parts.username is not None or parts.fragment:
        raise ValueError("must hold neither a user name nor a fragment")
    return text.rstrip("/")


def _groups(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        group, _, rest = part.partition("=")
        role, _, team = rest.partition("@")
        if not group.strip() or role.strip() not in ROLES:
            raise ValueError("must look like `group=reader@Team; other=admin`")
        found.append(Mapped(group.strip(), role.strip(), team.strip()))
    return tuple(found)


class SingleSignOn(BaseModel):
    """An OpenID Connect issuer and the accounts that it opens."""

    model_config: ClassVar[ConfigDict] = MODEL

    issuer: Annotated[str, AfterValidator(_issuer)] = variable(
        "PLEURA_OIDC_ISSUER",
        ...,
        "Single sign-on: the OpenID Connect issuer, the only host that the portal calls. "
        "https and no internal address in production.",
    )
    client_id: str = variable("PLEURA_OIDC_CLIENT_ID", ..., "What the issuer calls this portal.")
    client_secret: str = variable(
        "PLEURA_OIDC_CLIENT_SECRET", ..., "The secret shared with the issuer.", secret=True
    )
    claim: str = variable(
        "PLEURA_OIDC_CLAIM", "groups", "The claim of the ID token that names the groups."
    )
    groups: Annotated[tuple[Mapped, ...], BeforeValidator(_groups)] = variable(
        "PLEURA_OIDC_ROLES",
        (),
        "Which group is which role, the first that fits: `xray-readers=reader@Radiology; "
        "xray-admins=admin`. Who is in none gets no account.",
    )
    provision: Literal["mapped", "invited"] = variable(
        "PLEURA_OIDC_PROVISION",
        "mapped",
        "mapped: accounts are made by group; invited: only for a verified address that was "
        "invited, with the invitation's role and team.",
    )

    ca_file: OptionalPath = variable("PLEURA_CA_FILE", None, "")

    def unfit_for_production(self) -> str | None:
        """Why production may not call this issuer, if it may not."""
        parts = urlsplit(self.issuer)
        if parts.scheme != "https":
            return "must start with https:// in production"
        host = parts.hostname or ""
        try:
            internal = not ipaddress.ip_address(host).is_global
        except ValueError:
            internal = host == "localhost" or host.endswith(".localhost")
        return "must not be this machine or an internal address in production" if internal else None

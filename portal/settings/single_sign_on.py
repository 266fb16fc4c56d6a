"""The settings of single sign-on: which issuer is asked, and which of its groups is which role.

`settings` reads the environment and hands it in; nothing here does.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

Provision = Literal["mapped", "invited"]

ROLES: Final = ("technologist", "reader", "admin", "auditor")


@dataclass(frozen=True, slots=True)
class Mapped:
    """Who is in the group gets the role, in the team (without one: the first there is)."""

    group: str
    role: str
    team: str


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """An OpenID Connect issuer and what its word is worth here."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    claim: str
    groups: tuple[Mapped, ...]
    provision: Provision


def read(
    source: Mapping[str, str], secret: str, *, production: bool, problems: list[str]
) -> SingleSignOn | None:
    """The settings out of the environment; None where no issuer is named."""
    issuer = (source.get("PLEURA_OIDC_ISSUER") or "").rstrip("/")
    if not issuer:
        return None
    problem = _unfit(issuer, production=production)
    if problem:
        problems.append(f"PLEURA_OIDC_ISSUER {problem}.")
    client_id = source.get("PLEURA_OIDC_CLIENT_ID") or ""
    if not client_id or not secret:
        problems.append("PLEURA_OIDC_CLIENT_ID and PLEURA_OIDC_CLIENT_SECRET must be set.")
    provision: Provision = "mapped"
    if source.get("PLEURA_OIDC_PROVISION", "") == "invited":
        provision = "invited"
    elif source.get("PLEURA_OIDC_PROVISION") not in (None, "", "mapped"):
        problems.append("PLEURA_OIDC_PROVISION must be mapped or invited.")
    groups = _groups(source.get("PLEURA_OIDC_ROLES") or "", problems)
    if provision == "mapped" and not groups:
        problems.append("PLEURA_OIDC_ROLES must name a group, or nobody could sign in.")
    return SingleSignOn(
        issuer=issuer,
        client_id=client_id,
        client_secret=secret,
        claim=source.get("PLEURA_OIDC_CLAIM") or "groups",
        groups=groups,
        provision=provision,
    )


def _groups(text: str, problems: list[str]) -> tuple[Mapped, ...]:
    found = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        group, _, rest = part.partition("=")
        role, _, team = rest.partition("@")
        if not group.strip() or role.strip() not in ROLES:
            problems.append("PLEURA_OIDC_ROLES must look like `group=reader@Team; other=admin`.")
            return ()
        found.append(Mapped(group.strip(), role.strip(), team.strip()))
    return tuple(found)


def _unfit(issuer: str, *, production: bool) -> str | None:
    """Why this address may not be called, if it may not."""
    parts = urlsplit(issuer)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query:
        return "must be an address such as https://login.example/realm"
    if parts.username is not None or parts.fragment:
        return "must hold neither a name nor a fragment"
    if not production:
        return None
    if parts.scheme != "https":
        return "must start with https:// in production"
    host = parts.hostname
    try:
        inside = not ipaddress.ip_address(host).is_global
    except ValueError:
        inside = host == "localhost" or host.endswith(".localhost")
    return "must not be this machine or a bare inner address in production" if inside else None

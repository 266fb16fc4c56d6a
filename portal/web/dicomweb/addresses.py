"""The addresses of instances, series and studies, as answers name them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import url_for

from portal.dicomweb.attributes import Level
from portal.dicomweb.queries import UID
from portal.dicomweb.records import Served
from portal.web.security import guard
from portal.web.security.errors import Problem


def of(one: Served, level: Level) -> str:
    """Where an instance is fetched, or the series or study that it is in."""
    if level is Level.STUDIES:
        return named(one.study_uid)
    if level is Level.SERIES:
        return named(one.study_uid, one.series_uid)
    return named(one.study_uid, one.series_uid, one.sop_uid)


def named(study_uid: str, series_uid: str = "", sop_uid: str = "") -> str:
    """Where what has these UIDs is fetched."""
    uids = {"study_uid": study_uid}
    if not series_uid:
        return _whole("dicomweb_retrieval.study", uids)
    uids["series_uid"] = series_uid
    if not sop_uid:
        return _whole("dicomweb_retrieval.series", uids)
    return _whole("dicomweb_retrieval.instance", uids | {"sop_uid": sop_uid})


def with_bulk(elements: Mapping[str, Any], one: Served) -> dict[str, Any]:
    """The elements with the ways to long values as addresses."""
    return _with_bulk(elements, f"{of(one, Level.INSTANCES)}/bulkdata/")


def checked(**uids: str) -> None:
    """400 where a part of the address is no UID."""
    for uid in uids.values():
        if not UID.fullmatch(uid):
            raise Problem(400, "not_a_uid", "The address names something that is no UID.")


def _with_bulk(elements: Mapping[str, Any], at: str) -> dict[str, Any]:
    made = {}
    for tag, element in elements.items():
        if "BulkDataURI" in element:
            made[tag] = {**element, "BulkDataURI": at + element["BulkDataURI"].removeprefix("#")}
        elif element["vr"] == "SQ" and "Value" in element:
            made[tag] = {**element, "Value": [_with_bulk(item, at) for item in element["Value"]]}
        else:
            made[tag] = element
    return made


def _whole(endpoint: str, uids: Mapping[str, str]) -> str:
    """Of the portal's own address, not of the Host that was sent."""
    base = urlsplit(guard.services().settings.base_url)
    values: dict[str, Any] = dict(uids)
    return f"{base.scheme}://{base.netloc}{url_for(endpoint, **values)}"

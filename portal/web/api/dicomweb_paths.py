"""The part of the description for programs that is DICOMweb: searches, files, storing.

`docs/dicom.md` has the keys, attributes and media types in full; PS3.18 has the meaning of each.
"""

from typing import Final

from portal.web.api.bodies import Json

_JSON: Final = "application/dicom+json"
_TEXT: Final = {"type": "string"}
_RELATED: Final = "multipart/related"
_PROBLEMS: Final = {
    "400": "A key, value, address or body that can't be understood, with the reason.",
    "401": "The token is missing, unknown, expired or revoked.",
    "403": "The token lacks the scope, or its owner's role the right.",
    "404": "There is nothing of these UIDs, or it is not the token owner's to see.",
    "406": "It can't be given in a media type or transfer syntax that is accepted.",
    "413": "The body, or each instance in it, is too large. Nothing was stored.",
    "415": 'The body is not `multipart/related; type="application/dicom"`.',
    "429": "Too many requests. `Retry-After` is the time to wait.",
    "503": "The database is busy or not available, or what was asked for is damaged.",
}
_UID: Final = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)*$", "maxLength": 64}
_IN_PATH: Final = {
    "study_uid": ("StudyInstanceUID.", _UID),
    "series_uid": ("SeriesInstanceUID.", _UID),
    "sop_uid": ("SOPInstanceUID.", _UID),
    "numbers": (
        "Frames, counted from 1, with commas between.",
        {"type": "string", "pattern": r"^[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,9}$"},
    ),
    "way": (
        "The tag of a long value, as `BulkDataURI` names it.",
        {"type": "string", "pattern": "^[0-9A-F]{8}$"},
    ),
}
_SERIES: Final = "/studies/{study_uid}/series/{series_uid}"
_INSTANCE: Final = _SERIES + "/instances/{sop_uid}"
_LEVELS: Final = {"studies": "Studies", "series": "Series", "instances": "Instances"}
_OF_LEVEL: Final = {
    "studies": (),
    "series": ("SeriesInstanceUID",),
    "instances": ("SeriesInstanceUID", "SOPInstanceUID"),
}


def paths() -> Json:
    """The paths below `/dicomweb`, each with its parameters."""
    found: Json = {f"/dicomweb{path}": item for path, item in _searches().items()}
    for path, item in _files().items():
        found[f"/dicomweb{path}"] = item
    for end, name in (("", "storeInstances"), ("/{study_uid}", "storeInstancesOfStudy")):
        found.setdefault(f"/dicomweb/studies{end}", {})["post"] = _storing(name)
    for path, item in found.items():
        if named := [one for one in _IN_PATH if "{" + one + "}" in path]:
            item["parameters"] = [_in_path(one) for one in named]
    return found


def schemas() -> Json:
    """The schemas that these paths name."""
    elements = {"$ref": "#/components/schemas/DicomElements"}
    return {
        "DicomElements": {
            "type": "object",
            "description": "A data set in the DICOM JSON model (PS3.18 F): elements by their tag.",
            "propertyNames": {"pattern": "^[0-9A-F]{8}$"},
            "additionalProperties": {
                "type": "object",
                "required": ["vr"],
                "properties": {
                    "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
                    "Value": {"type": "array"},
                    "BulkDataURI": {"type": "string"},
                    "InlineBinary": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
        "DicomDataSets": {"type": "array", "items": elements},
    }


def _searches() -> Json:
    found = {
        "/studies": ("studies", "searchStudies"),
        "/series": ("series", "searchSeries"),
        "/instances": ("instances", "searchInstances"),
        "/studies/{study_uid}/series": ("series", "searchSeriesOfStudy"),
        "/studies/{study_uid}/instances": ("instances", "searchInstancesOfStudy"),
        f"{_SERIES}/instances": ("instances", "searchInstancesOfSeries"),
    }
    return {path: {"get": _search(name, level, path)} for path, (level, name) in found.items()}


def _search(name: str, level: str, path: str) -> Json:
    keys = ("PatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy", *_OF_LEVEL[level])
    named = {"SeriesInstanceUID": "{series_uid}"}
    asked = [_key(key) for key in keys if named.get(key, "none") not in path]
    if "{study_uid}" not in path:
        asked.append(_key("StudyInstanceUID"))
    return _operation(
        name,
        f"{_LEVELS[level]} that match (QIDO-RS)",
        "dicomweb:read",
        {
            "200": {
                "description": "What matches, the newest first.",
                "content": {_JSON: {"schema": {"$ref": "#/components/schemas/DicomDataSets"}}},
            },
            "204": {"description": "Nothing matches."},
        },
        ("400", "404", "406"),
        parameters=[*asked, *_PAGES],
    )


_PAGES: Final = [
    {
        "name": "limit",
        "in": "query",
        "description": "How many at most; 100 if it is left out, never more than 500.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999999999},
    },
    {
        "name": "offset",
        "in": "query",
        "description": "How many are passed over.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 100000},
    },
    {
        "name": "includefield",
        "in": "query",
        "description": "Keywords or tags with commas between, or `all`.",
        "schema": _TEXT,
    },
    {
        "name": "fuzzymatching",
        "in": "query",
        "description": "Not supported: answered with the standard's warning.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
]
# Without patterns: an empty text and `*` match all, and blanks around a value do not count.
_KEYS: Final = {
    "StudyInstanceUID": "One, or up to 100 with commas between.",
    "SeriesInstanceUID": "One, or up to 100 with commas between.",
    "SOPInstanceUID": "One, or up to 100 with commas between.",
    "PatientID": "The whole, as the header has it.",
    "AccessionNumber": "The whole, as the header has it.",
    "StudyDate": "A day, YYYYMMDD, or a range.",
    "ModalitiesInStudy": "A code such as DX, or several with commas between.",
}


def _key(name: str) -> Json:
    return {"name": name, "in": "query", "description": _KEYS[name], "schema": _TEXT}


def _files() -> Json:
    found: Json = {}
    for path, name, what in (
        ("/studies/{study_uid}", "Study", "a study"),
        (_SERIES, "Series", "a series"),
        (_INSTANCE, "Instance", "one instance"),
    ):
        found[path] = {
            "get": _operation(
                f"retrieve{name}",
                f"The files of {what}, as they were stored (WADO-RS)",
                "dicomweb:read",
                {"200": _related("application/dicom", "A part for each instance.")},
                ("400", "404", "406"),
            )
        }
        found[f"{path}/metadata"] = {
            "get": _operation(
                f"retrieve{name}Metadata",
                f"The headers of {what}, long values by their address",
                "dicomweb:read",
                {
                    "200": {
                        "description": "A data set for each instance.",
                        "content": {
                            _JSON: {"schema": {"$ref": "#/components/schemas/DicomDataSets"}}
                        },
                    }
                },
                ("400", "404", "406"),
            )
        }
    for end, name, what in (
        ("/frames/{numbers}", "retrieveFrames", "Frames, as they are stored"),
        ("/bulkdata/{way}", "retrieveBulkdata", "A long value, in little endian"),
    ):
        found[_INSTANCE + end] = {
            "get": _operation(
                name,
                what,
                "dicomweb:read",
                {"200": _related("application/octet-stream", "A part for each.")},
                ("400", "404", "406"),
            )
        }
    return found


def _storing(name: str) -> Json:
    answer = {_JSON: {"schema": {"$ref": "#/components/schemas/DicomElements"}}}
    described = {
        "200": "All instances are stored.",
        "202": "Some are stored; FailedSOPSequence and OtherFailuresSequence name the others.",
        "409": "None is stored, and none would be if it were sent again.",
    }
    later = {
        "description": "Nothing is stored: the disk is nearly full, the quota is used up, or the "
        "database or the store of files is away. Send it again after `Retry-After`.",
        "content": answer | {"text/plain": {"schema": {"type": "string"}}},
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": _TEXT}},
    }
    operation = _operation(
        name,
        "Store instances (STOW-RS)",
        "dicomweb:write",
        {status: {"description": text, "content": answer} for status, text in described.items()},
        ("400", "406", "413", "415"),
    )
    operation["responses"]["503"] = later
    operation["requestBody"] = {
        "required": True,
        "description": "A part of the media type application/dicom for each instance.",
        "content": {_RELATED: {"schema": {"type": "string", "format": "binary"}}},
    }
    return operation


def _operation(
    name: str,
    summary: str,
    scope: str,
    responses: Json,
    problems: tuple[str, ...],
    parameters: list[Json] | None = None,
) -> Json:
    expected = sorted({*problems, "401", "403", "429", "503"})
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "description": f"Needs the scope `{scope}`.",
        "responses": {**responses, **{status: _problem(status) for status in expected}},
    }
    if parameters:
        operation["parameters"] = parameters
    return operation


def _problem(status: str) -> Json:
    answer: Json = {
        "description": _PROBLEMS[status],
        "content": {"text/plain": {"schema": _TEXT}},
    }
    if status in ("429", "503"):
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": _TEXT}}
    return answer


def _related(kind: str, description: str) -> Json:
    schema = {"type": "string", "format": "binary", "description": f"Parts of {kind}."}
    return {"description": description, "content": {_RELATED: {"schema": schema}}}


def _in_path(name: str) -> Json:
    description, schema = _IN_PATH[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }

"""The description of `/api/v1` and `/dicomweb` for programs: OpenAPI 3.1, served as JSON."""

from flask import Blueprint, Response, jsonify

from portal.web.api import bodies, dicomweb_paths
from portal.web.api.bodies import Json, parameters, ref, schemas
from portal.web.security import guard
from portal.web.security.errors import PROBLEM_TYPE

blueprint = Blueprint("openapi", __name__, url_prefix="/api/v1")

_API = "/api/v1"
_PROBLEMS = {
    "400": "The request is not well-formed.",
    "401": "The token is missing, unknown, expired or revoked.",
    "403": "The token lacks the scope, or its owner's role the right.",
    "404": "There is no such study, or it is not the token owner's to see.",
    "409": "The study's state does not allow this.",
    "413": "The body is too large.",
    "415": "The body is not of an accepted kind.",
    "422": "The request was understood and cannot be accepted; `detail` has the reason.",
    "429": "Too many requests with a wrong token. `Retry-After` is the time to wait.",
    "503": "The database is busy or not available. Nothing was stored.",
    "507": "The disk is full. Nothing was stored.",
}


@blueprint.get("/openapi.json")
@guard.public
def document() -> Response:
    """The description itself. It needs no token."""
    return jsonify(build())


def build() -> Json:
    """The whole document."""
    study = {f"{_API}/studies/{{study_id}}{end}": item for end, item in _study_paths().items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pleura",
            "version": "1",
            "summary": "Finds, outlines and measures pneumothorax on chest X-rays.",
            "description": (
                "Send a chest X-ray with `POST /api/v1/studies`, then ask "
                "`GET /api/v1/studies/{study_id}` until `state` is `done`, `no_result` or "
                "`failed`. Research use only: not a medical device. `no_result` and `failed` "
                "mean: read unaided. `/dicomweb` is the standard's own (PS3.18)."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {f"{_API}/studies": _studies_path(), **study, **dicomweb_paths.paths()},
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": (
                        "An API token, `plr_…`, made on the account page or with "
                        "`python -m portal token create`. "
                        "Scopes: studies:write, studies:read, reviews:write, dicomweb:read, "
                        "dicomweb:write."
                    ),
                }
            },
            "schemas": {**schemas(), **dicomweb_paths.schemas()},
        },
    }


def _studies_path() -> Json:
    file = {"type": "string", "format": "binary", "description": "DICOM, PNG, JPEG, or a ZIP."}
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    return {
        "get": _operation(
            "listStudies",
            "List studies, the most urgent first",
            "studies:read",
            {"200": _json("A page of the list.", bodies.StudyPage)},
            query=parameters(bodies.StudyQuery),
        ),
        "post": _operation(
            "submitStudy",
            "Send one chest X-ray, or a ZIP of them",
            "studies:write",
            {
                "202": {
                    **_json(
                        "Accepted, or recognised as a duplicate.",
                        bodies.Submitted,
                        bodies.SubmittedArchive,
                    ),
                    "headers": {
                        "Location": {
                            "description": "Where the study can be asked for; not for a ZIP.",
                            "schema": {"type": "string"},
                        }
                    },
                }
            },
            body={"multipart/form-data": {"schema": form}},
            problems=("400", "409", "413", "415", "507"),
        ),
    }


def _study_paths() -> dict[str, Json]:
    at = {
        "name": "study_id",
        "in": "path",
        "required": True,
        "description": "The id that `POST /api/v1/studies` answered.",
        "schema": {"type": "string", "format": "uuid"},
    }
    png = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    review = {"application/json": {"schema": ref(bodies.PositiveFinding, bodies.OtherFinding)}}
    which = parameters(bodies.PictureQuery)
    return {
        "": {
            "parameters": [at],
            "get": _operation(
                "readStudy",
                "State, prediction, measurements, quality and reviews of one study",
                "studies:read",
                {"200": _json("The study.", bodies.Study)},
                problems=("404",),
            ),
        },
        "/mask.png": {
            "parameters": [at],
            "get": _operation(
                "readMask",
                "The model's mask in the geometry of the X-ray",
                "studies:read",
                {"200": {"description": "255 inside the finding, else 0.", "content": png}},
                query=which,
                problems=("404",),
            ),
        },
        "/overlay.png": {
            "parameters": [at],
            "get": _operation(
                "readOverlay",
                "The X-ray with the model's outline",
                "studies:read",
                {"200": {"description": "A picture for people.", "content": png}},
                query=which,
                problems=("404",),
            ),
        },
        "/reviews": {
            "parameters": [at],
            "post": _operation(
                "addReview",
                "Add a reader's finding; earlier ones stay",
                "reviews:write",
                {
                    "200": _json("The newest review says the same already.", bodies.Review),
                    "201": _json("The review as it was stored.", bodies.Review),
                },
                body=review,
                problems=("400", "404", "409", "413", "415"),
                conflict=bodies.ReviewConflict,
            ),
        },
    }


def _operation(
    name: str,
    summary: str,
    scope: str,
    responses: Json,
    *,
    query: list[Json] | None = None,
    body: Json | None = None,
    problems: tuple[str, ...] = (),
    conflict: type[bodies.Problem] = bodies.Problem,
) -> Json:
    expected = sorted({*problems, "401", "403", "422", "429", "503"})
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "description": f"Needs the scope `{scope}`.",
        "responses": {**responses, **{status: _problem(status, conflict) for status in expected}},
    }
    if query:
        operation["parameters"] = query
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _problem(status: str, conflict: type[bodies.Problem]) -> Json:
    kind = conflict if status == "409" else bodies.Problem
    answer: Json = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": ref(kind)}},
    }
    if status in ("429", "503"):
        seconds = {"description": "Seconds to wait.", "schema": {"type": "string"}}
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _json(description: str, *answers: type[bodies.Body]) -> Json:
    schema = ref(*answers)
    return {"description": description, "content": {"application/json": {"schema": schema}}}

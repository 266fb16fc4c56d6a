"""What `/api/v1` sends and takes, as JSON Schema: the parts that `openapi` refers to."""

from typing import Any

from portal.models import Band, QualityVerdict, Reason, Verdict
from portal.reading.reviews import COMMENT_LENGTH
from portal.studies.status import State

Json = dict[str, Any]


def schemas() -> Json:
    """Every named schema of the document."""
    text = {"type": "string"}
    number = {"type": ["number", "null"]}
    moment = {"type": "string", "format": "date-time"}
    uuid = {"type": "string", "format": "uuid"}
    some = {"type": ["object", "null"], "additionalProperties": True}
    result = _object(
        band=enum((*Band, None)),
        probability=number,
        side={"type": ["string", "null"]},
        distance_mm=number,
        quality=enum(tuple(QualityVerdict)),
    )
    summary = {
        "id": uuid,
        "case": {**text, "description": "The short number that people say."},
        "created": moment,
        "state": enum(tuple(State)),
        "waiting_for": enum(("redis", "worker", None)),
        "error_code": {"type": ["string", "null"]},
        "reviewed": enum((*Verdict, None)),
        "result": {"anyOf": [result, {"type": "null"}]},
    }
    comment = {**text, "maxLength": COMMENT_LENGTH}
    why = {**enum((*Reason, None)), "description": "Why the reader does not agree."}
    agrees = {"verdict": enum((Verdict.AGREE,)), "reason": {"type": "null"}, "comment": comment}
    doubts = {
        "verdict": enum((Verdict.DISAGREE, Verdict.UNSURE)),
        "reason": why,
        "comment": comment,
    }
    return {
        "Problem": _object(
            type=text,
            title=text,
            status={"type": "integer"},
            detail=text,
            code={**text, "description": "Stable, for programs."},
            error_id={**text, "description": "Tell this to whoever runs Pleura."},
        ),
        "Submitted": _object(
            id=uuid,
            case=text,
            duplicate={"type": "boolean", "description": "It was here already: `id` is the old."},
            same_uid={
                "type": "boolean",
                "description": "Other pixels came under its SOPInstanceUID before; both are kept.",
            },
            state=enum((*State, None)),
        ),
        "SubmittedArchive": _object(
            files={"type": "array", "items": ref("ArchiveFile"), "description": "In its order."}
        ),
        "SubmittedOrArchive": {"oneOf": [ref("Submitted"), ref("SubmittedArchive")]},
        "ArchiveFile": _object(
            name={**text, "description": "As the ZIP calls it."},
            outcome={
                **enum(("received", "duplicate", "refused", "skipped")),
                "description": "`skipped`: no picture, such as DICOMDIR and hidden files.",
            },
            code={"type": ["string", "null"], "description": "Why it was refused, for programs."},
            detail={"type": ["string", "null"], "description": "The same for people."},
            study={"anyOf": [ref("Submitted"), {"type": "null"}]},
        ),
        "StudySummary": _object(**summary),
        "StudyPage": _object(
            studies={"type": "array", "items": ref("StudySummary")},
            total={"type": "integer"},
            page={"type": "integer"},
            per_page={"type": "integer"},
        ),
        "Model": _object(name=text, version=text, sha256=text),
        "Prediction": _object(
            model=ref("Model"),
            band=enum((*Band, None)),
            probability=number,
            threshold=number,
            operating_point={"type": ["string", "null"]},
            measurements={
                **some,
                "description": (
                    "area_px, area_mm2, side, zones, distance_px, distance_mm, extents (share of "
                    "the hemithorax, levels, Collins, Rhea, Light) and more; values in mm are null "
                    "where the spacing is unknown."
                ),
            },
            uncertainty={
                **some,
                "description": (
                    "spread of the image probability and Dice of the outline between the model's "
                    "readings of the picture and of its mirror image, and whether that is unsure."
                ),
            },
            region={
                **some,
                "description": "box (x0, y0, x1, y1 in pixels) of what drives the probability.",
            },
            quality={
                "type": "object",
                "required": ["verdict"],
                "properties": {"verdict": enum(tuple(QualityVerdict))},
                "additionalProperties": True,
                "description": "`refused` means: no result, read unaided. `reasons` say why.",
            },
            statistics=some,
            seconds=number,
            created=moment,
        ),
        "NewReview": {
            "oneOf": [
                {**_object(**form), "required": ["verdict"], "title": title}
                for title, form in (("Agree", agrees), ("Disagree or unsure", doubts))
            ]
        },
        "Review": _object(verdict=enum(tuple(Verdict)), reason=why, comment=text, created=moment),
        "Study": _object(
            **summary,
            rows={"type": ["integer", "null"]},
            columns={"type": ["integer", "null"]},
            prediction={"anyOf": [ref("Prediction"), {"type": "null"}]},
            reviews={"type": "array", "items": ref("Review")},
            blobs={"type": "array", "items": text, "description": "Pictures that are ready."},
        ),
    }


def _object(**properties: Any) -> Json:
    """An object all of whose properties are always there."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def enum(values: tuple[str | None, ...]) -> Json:
    """One of these texts, or null where None is among them."""
    kind: Any = ["string", "null"] if None in values else "string"
    return {"type": kind, "enum": [None if v is None else str(v) for v in values]}


def ref(name: str) -> Json:
    """Points to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}

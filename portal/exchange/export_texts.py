"""The texts of an export: the model's result with the readers' findings, and what was changed."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.exchange import deidentify
from portal.models import Instance, Prediction, Reason, Review, Signature, Study
from portal.reading import findings
from portal.reading.viewing import annotations
from portal.studies import exams, sealed_fields, stored_results, verdicts
from portal.teams.ai_visibility import Visibility
from portal.vault import Vault

_MEASURED: Final = ("area_px", "area_mm2", "side", "distance_mm")


def result(
    session: Session,
    study_id: UUID,
    prediction: dict[str, Any] | None,
    ai: Visibility,
    *,
    with_reviews: bool,
) -> dict[str, Any]:
    """The model's numbers and the readers' coded findings: no name, no comment, no time.

    Without the findings for a person who may not see them yet.
    """
    reviews = session.scalars(
        select(Review)
        .join(Study, Study.id == Review.study_id)
        .where(exams.is_of([study_id]))
        .order_by(Review.created)
    ).all()
    standing = verdicts.NOT_READ
    if with_reviews:
        standing = verdicts.standings(session, [study_id]).get(study_id, standing)
    stands = next((one for one in reviews if one.id == standing.review_id), None)
    reasons = findings.shown_reasons(stands, ai) if stands is not None else ()
    of_these = Signature.review_id.in_([one.id for one in reviews])
    signed = set(session.scalars(select(Signature.review_id).where(of_these)))
    return {
        "prediction": prediction,
        "verdict": {
            "state": standing.state.value,
            "finding": standing.finding.value if standing.finding else None,
            **_reasons(reasons),
        },
        "reviews": [
            {
                "finding": one.finding.value if one.finding else None,
                "size": one.size.value if one.size else None,
                "verdict": findings.shown_verdict(one, ai).value,
                **_reasons(findings.shown_reasons(one, ai)),
                "signed": one.id in signed,
            }
            for one in (reviews if with_reviews else ())
        ],
        "size_of_reviews": "share of the lung field's area in percent, judged by eye",
        "note": "Research use only: not a medical device.",
    }


def _reasons(given: Sequence[Reason]) -> dict[str, Any]:
    """`reason` is the first, as it was alone before there could be several."""
    codes = [one.value for one in given]
    return {"reason": codes[0] if codes else None, "reasons": codes}


def drawn_lines(
    session: Session, vault: Vault, study_id: UUID, picture: Instance, pictures: Sequence[Instance]
) -> list[dict[str, Any]]:
    """The rulers and arrows of an exam's reviews on one of its pictures, in pixels of the file.

    `review` counts as `reviews` of the result does, from 1. Without an arrow's text, which may name
    the patient, as a comment may.
    """
    reviews = session.scalars(
        select(Review.id)
        .join(Study, Study.id == Review.study_id)
        .where(exams.is_of([study_id]))
        .order_by(Review.created)
    ).all()
    drawn = annotations.of_reviews(session, vault, reviews, pictures)
    data_key = sealed_fields.instance_key_of(vault, picture)
    size = (sealed_fields.open_facts(vault, data_key, picture) or {}).get("source_size")
    down = size[0] / picture.rows if size and picture.rows else 1.0
    across = size[1] / picture.columns if size and picture.columns else 1.0
    scale = (across, down, across, down)
    return [
        {
            "review": number,
            "kind": one.kind,
            "line": [round(at * by, 2) for at, by in zip(one.line, scale, strict=True)],
        }
        for number, review_id in enumerate(reviews, 1)
        for one in drawn.get(review_id, {}).get(picture.id, ())
    ]


def prediction(row: Prediction | None, picture: Instance) -> dict[str, Any] | None:
    """The model's numbers about one picture."""
    if row is None:
        return None
    image_threshold, likely_threshold = stored_results.image_thresholds(row)
    return {
        "model": {
            "name": row.model.name,
            "version": row.model.version,
            "sha256": row.model.sha256,
            "retracted": row.model.retraction_reason.value if row.model.retraction_reason else None,
        },
        "probability": row.probability,
        "band": row.band.value if row.band else None,
        "under_18": stored_results.is_of_under_18(row),
        "pixel_threshold": row.threshold,
        "operating_point": row.operating_point,
        "image_threshold": image_threshold,
        "likely_threshold": likely_threshold,
        "measurements": stored_results.measurements(row, picture),
        "other_findings": row.other_findings,
        "quality": {
            "verdict": row.quality_verdict.value,
            "reasons": [reason.get("code") for reason in row.quality.get("reasons", [])],
        },
    }


def table(result: Mapping[str, Any]) -> bytes:
    """The result as CSV: a line for each picture, with the verdict that stands on the case."""
    of_model, stands = ("probability", "band", "operating_point"), result["verdict"]
    columns = ("picture", "model", "version", "retracted", *of_model, *_MEASURED, "quality")
    lines: list[tuple[object, ...]] = [(*columns, "verdict_state", "finding", "reason")]
    for number, picture in enumerate(result["pictures"], 1):
        found = picture["prediction"] or {}
        model, measured = found.get("model") or {}, found.get("measurements") or {}
        lines.append(
            (
                number,
                *(model.get(name) for name in ("name", "version", "retracted")),
                *(found.get(name) for name in of_model),
                *(measured.get(name) for name in _MEASURED),
                (found.get("quality") or {}).get("verdict"),
                *(stands["state"], stands["finding"], " ".join(stands["reasons"])),
            )
        )
    return as_csv(lines)


def as_csv(lines: Sequence[Sequence[object]]) -> bytes:
    """The text of a CSV file; what is None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def manifest(
    files: Mapping[str, dict[str, Any]],
    warnings: list[str],
    left_out: Mapping[int, str],
    pseudonym: str,
    looked: bool,
) -> dict[str, Any]:
    """What was changed, which pictures are left out and why, and the digest of each file."""
    return {
        "patient": pseudonym,
        "method": deidentify.METHOD,
        "profile": {"code": "113100", "scheme": "DCM"},
        "warnings": warnings,
        "left_out": [{"picture": number, "why": code} for number, code in left_out.items()],
        "looked_for_burned_in_text": looked,
        "files": dict(files),
    }


def as_json(content: dict[str, Any]) -> bytes:
    """The text of a file."""
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"

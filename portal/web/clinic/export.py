"""De-identified export of a case: its content, what to check, and the ZIP."""

import re
from uuid import UUID

from flask import Blueprint, Response, render_template, request

from portal import errors
from portal.access import Permission
from portal.exchange import deidentified_export
from portal.exchange.deidentified_export import LOOK
from portal.languages import _, lazy
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("export", __name__, url_prefix="/studies/<uuid:study_id>/export")

FILES = {
    "image.dcm": lazy("The picture as DICOM: unchanged pixels, new identity"),
    "mask.png": lazy("The model’s outline"),
    "reader-mask.png": lazy("The newest outline by a reader"),
    "reader-mask-by.png": lazy("The newest outline by each reader, apart"),
    "masks.csv": lazy("All outlines as run lengths (column after column, as in SIIM-ACR)"),
    "result.csv": lazy("AI result and the verdict that stands, as a table"),
    "result.json": lazy("AI result and readers’ findings, without names and comments"),
    "manifest.json": lazy("What was changed, and the digest of each file"),
}
WARNINGS = {
    "burned_in_yes": lazy("According to the header, text is burned into this picture."),
    "burned_in_unknown": lazy(
        "The header does not state whether text is burned into this picture."
    ),
    "secondary_capture": lazy("It is a screen capture or a scan; these often show names."),
    "overlay_in_pixels": lazy("It has an overlay in its pixels, which may be text."),
    "table_left_out": lazy(
        "A lookup table is left out: it is not a curve and may contain text. "
        "The exported picture may look different."
    ),
    "spacing_left_out": lazy(
        "The pixel spacing is left out: by it the picture would not be as large as a chest X-ray."
    ),
    "no_dicom": lazy(
        "The picture was uploaded as PNG or JPEG and is left out: only DICOM is exported."
    ),
    "damaged": lazy("The picture is damaged or could not be decoded, and is left out."),
    "not_cleanable": lazy("The picture may contain text that cannot be removed and is left out."),
    "too_much_work": lazy(
        "A picture takes far longer to de-identify than an X-ray, and is left out."
    ),
    "no_time": lazy("Pictures before it took up the time that an export has: it is left out."),
    "mask_left_out": lazy("The outline could not be read and is left out."),
}


@blueprint.get("")
@guard.permission(Permission.STUDY_EXPORT)
def page(study_id: UUID) -> str:
    """What an export would hold."""
    guard.count_export()
    return _page(study_id)


@blueprint.post("")
@guard.permission(Permission.STUDY_EXPORT, step_up="export.page")
def export(study_id: UUID) -> Response | tuple[str, int]:
    """The ZIP."""
    guard.count_export()
    try:
        made = deidentified_export.export(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            guard.now(),
            looked=request.form.get("looked") == "yes",
        )
    except errors.Conflict as conflict:
        return _page(study_id, conflict.message), 422
    return Response(
        made.data,
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{made.name}"'},
    )


def _page(study_id: UUID, error: str = "") -> str:
    planned = deidentified_export.plan(
        db_session(), guard.services().vault, guard.actor(), study_id, guard.now()
    )
    return render_template(
        "case/export.html",
        plan=planned,
        files=[(name, FILES[_kind(name)]) for name in planned.files],
        look=[WARNINGS[code] for code in planned.warnings if code in LOOK],
        left_out=[_left_out(planned, code) for code in planned.warnings if code not in LOOK],
        error=error,
        fresh=guard.is_fresh(),
    )


def _left_out(planned: deidentified_export.Plan, code: str) -> str:
    """The warning, with the pictures that it is about where there are several."""
    numbers = [str(number) for number, why in planned.left_out.items() if why == code]
    if not numbers or planned.pictures == 1:
        return str(WARNINGS[code])
    *before, last = numbers
    which = (
        _(
            "Pictures %(numbers)s of %(all)s.",
            numbers=", ".join(numbers),
            all=planned.pictures,
        )
        if before
        else _("Picture %(number)s of %(all)s.", number=last, all=planned.pictures)
    )
    return f"{WARNINGS[code]} {which}"


def _kind(name: str) -> str:
    """The name of a file without its picture's number and its reader's letter: image-2.dcm is an
    image.dcm."""
    return re.sub(r"-\d+\.", ".", re.sub(r"-by-[a-z]", "-by", name))

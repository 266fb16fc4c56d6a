"""Texts of results, states, sizes and verdicts on the pages.

Pure functions on plain values. The pages never state "no pneumothorax", only "none found": the
model misses small ones. Sizes are measurements, without advice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from worker.contract.error_codes import ErrorCode

REASONS = {
    "missed": "Missed a pneumothorax",
    "false_alarm": "False alarm",
    "outline_too_large": "Outline too large",
    "outline_too_small": "Outline too small",
    "wrong_side": "Wrong side",
    "skin_fold": "Skin fold or line taken for pleura",
    "chest_drain": "Chest drain",
    "bulla": "Bulla",
    "clothing": "Clothing or something on the skin",
    "scapula": "Scapula",
    "poor_image": "Poor picture",
    "other": "Other",
}
VERDICTS = {
    "agree": "Agreed",
    "disagree": "Disagreed",
    "unsure": "Unsure",
    "unaided": "Read unaided",
}
FINDINGS = {
    "none": "None",
    "right": "Right",
    "left": "Left",
    "both": "Both sides",
    "unsure": "Unsure",
}
SIZES = {
    "below_10": "below 10 %",
    "10_to_30": "10–30 %",
    "above_30": "above 30 %",
    "unknown": "not known",
}
SIZE_METHOD = (
    "Size (optional): share of the lung field’s area by eye; on both sides, of the larger one."
)
OPERATING_POINTS = {
    "high_sensitivity": "high sensitivity",
    "balanced": "balanced",
    "high_precision": "high precision",
}
UNNAMED = "No name in the file"
DAMAGED = "Record damaged: read the original and inform an administrator"
SAME_UID = (
    "Another picture has the same SOPInstanceUID. Both are stored: "
    "check that each belongs to the right patient."
)
FILE_REMARKS = {
    "transfer_syntax_wrong": "The file names another encoding than it has; it was read as it is "
    "encoded. Inform whoever looks after the sending system.",
    "not_exportable": "This picture can’t be exported: a part of how its pixels are encoded is "
    "unknown and might hold a text.",
    "not_dicom": "No DICOM file: exports of this case have outline and result, not the picture.",
    "typed_not_used": "The file names its patient itself; what was typed is not used.",
    "stored_again": "Its stored file was lost or damaged and has been stored again.",
}
MERGE_REASONS = {
    "two_ids": "The patient has two IDs",
    "typing_error": "A typing error in one ID",
    "temporary_id": "One ID was temporary",
    "other_issuer": "The IDs are of two issuers",
    "other": "Another reason",
}
_TYPED = {
    "patient_name": "name",
    "patient_id": "ID",
    "birth_date": "birth date",
    "study_date": "exam date",
    "side_marker": "side marker",
}
NAMES_ANOTHER = (
    "The header of this picture names another patient than that of the first picture of this case: "
    "check whose it is."
)
BELOW_FLOOR = "No outline: the area above the pixel threshold is below the model’s size limit."
UNDER_18 = "Patient under 18: the model was made for adults."
UNDER_18_SHORT = "under 18: model made for adults"
NONE_FOUND = "This does not exclude a pneumothorax: small ones are missed."
FOUND_AFTER_READING = "The AI found something after this was read. Look again, state a finding."
FOUND_AFTER_READING_SHORT = "AI found something after it was read"
RETRACTED = "retracted"
RETRACTIONS = {
    "wrong_results": "its results were found to be wrong",
    "wrong_settings": "it ran with wrong settings",
    "withdrawn_by_maker": "its maker has withdrawn it",
    "incident": "an incident is being looked into",
    "other": "another reason",
}
AI_HIDDEN = {
    "after_verdict": "This team reads first: you see the AI result once you have saved a finding.",
    "never": "This team reads without the AI: its result is not shown.",
}
AI_HIDDEN_SECOND = "The AI result is shown here once you have stated your finding."
AI_HIDDEN_UNREAD = "This team reads first: the AI result is shown here once the case was read."
UNSURE = "Uncertain: the model’s two readings of this picture differ."
LIMITS = (
    "Made for one frontal chest X-ray of an adult. Not for lateral views, children or other "
    "body parts. Misses small and loculated pneumothoraces; skin folds, blades of the scapula "
    "and tubes can be mistaken for one. It does not detect tension pneumothorax."
)
QUALITY = {
    "fit": "Picture: suitable for AI",
    "limited": "Picture: of limited use for AI",
    "refused": "Picture: not suitable for AI",
}
WAITING = {
    "worker": "no worker takes jobs",
    "redis": "queued; results may be delayed",
    "model": "waiting for a worker that has the model",
}
_SPACING = {
    "calibrated": "calibrated",
    "corrected": "corrected for magnification",
    "detector": "at the detector",
}
_THIRDS = {"apical": "upper third", "lateral": "middle third", "basal": "lower third"}
_SIDES = {"right": "right", "left": "left", "both": "both sides"}
_FAILURES: Final[dict[str, str]] = {
    ErrorCode.GAVE_UP: "The job failed or was interrupted too often.",
    ErrorCode.DECODE_FAILED: "The picture could not be decoded.",
    ErrorCode.TRUNCATED: "The file is incomplete.",
    ErrorCode.NO_PIXELS: "The file contains no picture.",
    ErrorCode.RECORD_DAMAGED: "Its record is damaged or its key is missing. "
    "Inform an administrator.",
}


@dataclass(frozen=True)
class StatusLabel:
    """The AI result as shown in lists and panels: its texts, and shape and tone of its badge."""

    title: str
    short: str
    tone: str = ""
    shape: str = ""
    found: bool = False
    note: str = ""


_BANDS = {
    "likely": StatusLabel("Pneumothorax likely", "likely", "ai", "solid", found=True),
    "possible": StatusLabel("Pneumothorax possible", "possible", "ai", "half", found=True),
    "none_found": StatusLabel("None found", "none found", note=NONE_FOUND),
}
_STATES = {
    "received": StatusLabel("Received", "waiting", shape="dash"),
    "preparing": StatusLabel("Preparing the picture", "preparing", shape="dash"),
    "ready": StatusLabel("AI result not shown", "not shown"),
    "analysing": StatusLabel("Analysing", "analysing", shape="dash"),
    "no_result": StatusLabel("No AI result", "not analysed, read unaided", "danger"),
    "failed": StatusLabel("No AI result", "failed, read unaided", "danger"),
}


def status_label(state: str, band: str | None, *, retracted: bool = False) -> StatusLabel:
    """The label of a study in this state; of a result's band where it is done, marked where its
    model's results were retracted.
    """
    if state == "done" and band is not None:
        label = _BANDS[band]
        if not retracted:
            return label
        title, short = (f"{text}, {RETRACTED}" for text in (label.title, label.short))
        return replace(label, title=title, short=short, shape="dash")
    return _STATES.get(state, _STATES["failed"])


def retraction(reason: str | None) -> str:
    """Why a result is no longer to be relied on, in a sentence; "" where it is."""
    if reason is None:
        return ""
    return f"Retracted: {RETRACTIONS[reason]}. It stays visible; read without it."


def review_label(verdict: str, finding: str | None) -> str:
    """'Right · agreed'; 'Agreed' of a version before, which stated no finding."""
    if finding is None or verdict == "unsure":
        return VERDICTS[verdict]
    return f"{FINDINGS[finding]} · {VERDICTS[verdict].lower()}"


def progress(state: str, waiting_for: str | None) -> str:
    """The progress of a study that has no result yet, in one sentence."""
    if waiting_for == "redis":
        return "Queued. The job queue (Redis) is not available; the case is stored."
    if waiting_for == "worker":
        return (
            "Queued. No worker takes jobs just now; the case is stored and will be analysed then."
        )
    if waiting_for == "model":
        return (
            "Waiting for a worker that has the model in use. "
            "The case is stored and will be analysed then."
        )
    return {
        "received": "Received. Waiting for a worker.",
        "preparing": "Preparing the picture.",
        "analysing": "Analysing for pneumothorax.",
    }.get(state, "")


def failure(code: str | None) -> str:
    """Why there is no result; administrators see the code as well."""
    return _FAILURES.get(code or "", "The picture could not be processed.")


def failed_pictures(failed: int, all_of_them: int) -> str:
    """Beside the result of the others: some pictures of the case have none."""
    return f"{failed} of {all_of_them} pictures failed: read unaided"


def where(
    side: str | None, zones: Sequence[str], *, assumed: bool = False, thirds: bool = False
) -> str:
    """'right · apical, lateral'; the side is marked if it is not given in the file.

    thirds: the zones are an older version's, whose "lateral" was the middle third of the height.
    """
    if side is None:
        return ""
    text = _SIDES.get(side, side) + (" (side assumed)" if assumed else "")
    named = [_THIRDS.get(zone, zone) if thirds else zone for zone in zones]
    return " · ".join(part for part in (text, ", ".join(named)) if part)


def bands(point: str | None, image_threshold: float | None, likely_threshold: float | None) -> str:
    """What likely and possible mean for this result, with its model's numbers."""
    name = OPERATING_POINTS.get(point or "", "the model’s")
    if image_threshold is None or likely_threshold is None:
        return f"Image operating point: {name}."
    if image_threshold >= likely_threshold:
        return f"Likely: probability from {likely_threshold:.2f} (image operating point: {name})."
    return (
        f"Possible: probability from {image_threshold:.2f} (image operating point: {name}). "
        f"Likely: from {likely_threshold:.2f}."
    )


def islands(floor: int | None, left_out: int | None) -> str:
    """The size floor of outlined areas, and whether any were left out; "" without a floor."""
    if not floor:
        return ""
    some = f"; {left_out} left out here" if left_out else ""
    return f"Areas smaller than {floor} pixels of the model’s map are not outlined{some}."


def probability(value: float | None) -> str:
    """Two digits, never rounded up to certainty or down to none."""
    if value is None:
        return ""
    return f"{min(max(value, 0.01), 0.99):.2f}"


def readings(spread: float, outline_dice: float | None) -> str:
    """'Read twice, once mirrored: 0.21 apart, outlines overlap by 34 %.'"""
    shared = "" if outline_dice is None else f", outlines overlap by {100 * outline_dice:.0f} %"
    return f"Read twice, once mirrored: {spread:.2f} apart{shared}."


def length(mm: float | None, px: float | None) -> str:
    """'18 mm', '4.5 mm' below a centimetre, '212 px' where the spacing is unknown."""
    if mm is not None:
        return f"{mm:.0f} mm" if mm >= 9.95 else f"{mm:.1f} mm"
    return "" if px is None else f"{px:.0f} px"


def area(mm2: float | None, px: int | None) -> str:
    """'31 cm²', '4.2 cm²', '85 mm²', '12,345 px' where the spacing is unknown."""
    if mm2 is None:
        return "" if px is None else f"{px:,} px"
    if mm2 >= 995:
        return f"{mm2 / 100:.0f} cm²"
    return f"{mm2 / 100:.1f} cm²" if mm2 >= 99.5 else f"{mm2:.0f} mm²"


def share(value: float) -> str:
    """'23 %' of the hemithorax's area."""
    return f"{100 * value:.0f} %" if value >= 0.01 else "under 1 %"


def spacing(row_mm: float | None, source: str | None, problem: str | None = None) -> str:
    """'0.143 mm (at the detector)' or why sizes are in pixels."""
    if row_mm is None or source is None:
        known = "not plausible" if problem == "not_plausible" else "unknown"
        return f"spacing {known}: sizes in pixels"
    return f"{row_mm:.3f} mm ({_SPACING.get(source, source)})"


def spacing_note(row_mm: float | None, source: str | None, problem: str | None = None) -> str:
    """What the lengths and areas beside it are based on."""
    if problem == "not_plausible":
        return (
            "Spacing not plausible: by the file’s pixel spacing this would not be the chest of an "
            "adult. No sizes in mm."
        )
    if row_mm is None or source is None:
        return "Pixel spacing unknown: no sizes in mm."
    return {
        "calibrated": "Sizes based on calibrated pixel spacing.",
        "corrected": "Sizes corrected for the estimated magnification.",
        "detector": "Sizes at the detector: slightly smaller in the patient.",
    }.get(source, "")


def sex_and_age(sex: str, age: str, years: float | None = None) -> str:
    """'F 63', 'F 8 months' from DICOM's sex and an age such as 63Y; unknown parts are left out."""
    number, unit = age[:-1], age[-1:]
    units = {"Y": "", "M": " months", "W": " weeks", "D": " days"}
    age_text = f"{number}{units[unit]}" if number and unit in units else ""
    if not age_text and years is not None:
        age_text = f"{years:.0f}"
    return " ".join(part for part in (sex if sex in ("F", "M") else "", age_text) if part)


def typed(names: str, side_marker: str = "") -> str:
    """Which of a case's data its sender typed, for a file without a header; "" for none."""
    known = [_TYPED[name] for name in names.split(",") if name in _TYPED]
    if side_marker == "mirrored" and known:
        known[-1] += " (mirrored: sides of the AI result are exchanged)"
    return f"typed: {', '.join(known)}" if known else ""

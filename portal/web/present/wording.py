"""What results, states and people's verdicts are called on the pages: the words before the numbers.

Pure functions on plain values. The portal never says "no pneumothorax": the model can only have
found none. Sizes are measurements, without advice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

REASONS = {
    "missed": "Missed a pneumothorax",
    "false_alarm": "False alarm",
    "outline_too_large": "Outline too large",
    "outline_too_small": "Outline too small",
    "wrong_side": "Wrong side",
    "skin_fold": "Skin fold or line taken for pleura",
    "poor_image": "Poor picture",
    "other": "Other",
}
VERDICTS = {"agree": "Agreed", "disagree": "Disagreed", "unsure": "Unsure"}
OPERATING_POINTS = {
    "high_sensitivity": "high sensitivity",
    "balanced": "balanced",
    "high_precision": "high precision",
}
UNNAMED = "No name in the file"
DAMAGED = "Record damaged: read the original, tell an administrator"
SAME_UID = (
    "Another picture came under the same DICOM number (SOPInstanceUID). Both are kept: "
    "check that each is under its own patient."
)
BELOW_FLOOR = "Nothing is outlined: what reaches the threshold is smaller than the model's floor."
NONE_FOUND = "Not a statement that there is none: small ones are missed."
UNSURE = "The model’s two readings of this picture differ: unsure."
LIMITS = (
    "Made for one frontal chest X-ray of an adult. Not for lateral views, children or other "
    "body parts. Misses small and loculated pneumothoraces; skin folds, blades of the scapula "
    "and tubes can be taken for one. It cannot recognise a tension pneumothorax."
)
QUALITY = {
    "fit": "Picture: fit for AI",
    "limited": "Picture: of limited use for AI",
    "refused": "Picture: not for AI",
}
WAITING = {
    "worker": "no worker is running",
    "redis": "queued; results may come late",
}
_SPACING = {
    "calibrated": "calibrated",
    "corrected": "corrected for magnification",
    "detector": "at the detector",
}
_SIDES = {"right": "right", "left": "left", "both": "both sides"}
_FAILURES = {
    "gave_up": "The job was tried three times and did not end.",
    "decode_failed": "The picture could not be decoded.",
    "truncated": "The file ends before the picture does.",
    "no_pixels": "The file holds no picture.",
    "record_damaged": "Its record is damaged or its key is missing: an administrator has to look.",
}


@dataclass(frozen=True)
class StatusLabel:
    """The model's word as shown in lists and panels: text, and the shape and tone of its badge."""

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
    "analysing": StatusLabel("Analysing", "analysing", shape="dash"),
    "no_result": StatusLabel("No AI result", "no result, read unaided", "danger"),
    "failed": StatusLabel("No AI result", "failed, read unaided", "danger"),
}


def status_label(state: str, band: str | None) -> StatusLabel:
    """The model's word for a study in a state (`done` looks at the band)."""
    if state == "done" and band is not None:
        return _BANDS[band]
    return _STATES.get(state, _STATES["failed"])


def progress(state: str, waiting_for: str | None) -> str:
    """One sentence on what is happening to a study that has no result yet."""
    if waiting_for == "redis":
        return "Queued. The messenger between portal and worker is away; the case is safe."
    if waiting_for == "worker":
        return "Queued. No worker is running; the case is safe and will be done when one starts."
    return {
        "received": "Received. Waiting for a worker.",
        "preparing": "Preparing the picture.",
        "analysing": "Looking for pneumothorax.",
    }.get(state, "")


def failure(code: str | None) -> str:
    """Why there is no result, for a person; the code stays for the administrator."""
    return _FAILURES.get(code or "", "Something went wrong while working on the picture.")


def where(side: str | None, zones: Sequence[str], *, assumed: bool = False) -> str:
    """'right · apical, lateral'; the side is marked where the file does not tell it."""
    if side is None:
        return ""
    text = _SIDES.get(side, side) + (" (side assumed)" if assumed else "")
    return " · ".join(part for part in (text, ", ".join(zones)) if part)


def probability(value: float | None) -> str:
    """Two digits, never rounded up to certainty or down to none."""
    if value is None:
        return ""
    return f"{min(max(value, 0.01), 0.99):.2f}"


def readings(spread: float, outline_dice: float | None) -> str:
    """'Read twice, also mirrored: 0.21 apart, outlines share 34 %.'"""
    shared = "" if outline_dice is None else f", outlines share {100 * outline_dice:.0f} %"
    return f"Read twice, also mirrored: {spread:.2f} apart{shared}."


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


def spacing(row_mm: float | None, source: str | None) -> str:
    """'0.143 mm (at the detector)' or that sizes are in pixels."""
    if row_mm is None or source is None:
        return "spacing unknown: sizes in pixels"
    return f"{row_mm:.3f} mm ({_SPACING.get(source, source)})"


def spacing_note(row_mm: float | None, source: str | None) -> str:
    """What the lengths and areas beside it refer to."""
    if row_mm is None or source is None:
        return "Pixel spacing unknown: no sizes in mm."
    return {
        "calibrated": "Sizes by calibrated pixel spacing.",
        "corrected": "Sizes corrected for the estimated magnification.",
        "detector": "Sizes at the detector: in the patient somewhat smaller.",
    }.get(source, "")


def person(sex: str, age: str, years: float | None = None) -> str:
    """'F 63', 'F 8 months' from DICOM's sex and an age such as 63Y; what of it is known."""
    number, unit = age[:-1], age[-1:]
    units = {"Y": "", "M": " months", "W": " weeks", "D": " days"}
    grown = f"{number}{units[unit]}" if number and unit in units else ""
    if not grown and years is not None:
        grown = f"{years:.0f}"
    return " ".join(part for part in (sex if sex in ("F", "M") else "", grown) if part)

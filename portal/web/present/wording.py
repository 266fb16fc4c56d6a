"""Texts of results, states, sizes and verdicts on the pages.

Pure functions on plain values. The pages never state "no pneumothorax", only "none found": the
model misses small ones. Sizes are measurements, without advice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from portal.languages import _, lazy, number_text, percent_text
from worker.contract.error_codes import ErrorCode

REASONS = {
    "missed": lazy("Missed a pneumothorax"),
    "false_alarm": lazy("False alarm"),
    "outline_too_large": lazy("Outline too large"),
    "outline_too_small": lazy("Outline too small"),
    "wrong_side": lazy("Wrong side"),
    "skin_fold": lazy("Skin fold or line taken for pleura"),
    "chest_drain": lazy("Chest drain"),
    "bulla": lazy("Bulla"),
    "clothing": lazy("Clothing or something on the skin"),
    "scapula": lazy("Scapula"),
    "poor_image": lazy("Poor picture"),
    "other": lazy("Other"),
}
VERDICTS = {
    "agree": lazy("Agreed"),
    "disagree": lazy("Disagreed"),
    "unsure": lazy("Unsure"),
    "unaided": lazy("Read unaided"),
}
FINDINGS = {
    "none": lazy("None", context="finding"),
    "right": lazy("Right", context="side"),
    "left": lazy("Left", context="side"),
    "both": lazy("Both sides"),
    "unsure": lazy("Unsure"),
}
# The same and the verdicts within a sentence or behind another word.
FINDINGS_WITHIN = {
    "none": lazy("none", context="finding"),
    "right": lazy("right", context="side"),
    "left": lazy("left", context="side"),
    "both": lazy("both sides"),
    "unsure": lazy("unsure"),
}
VERDICTS_WITHIN = {
    "agree": lazy("agreed"),
    "disagree": lazy("disagreed"),
    "unsure": lazy("unsure"),
    "unaided": lazy("read unaided"),
}
SIZES = {
    "below_10": lazy("below 10 %"),
    "10_to_30": lazy("10–30 %"),
    "above_30": lazy("above 30 %"),
    "unknown": lazy("not known"),
}
SIZE_METHOD = lazy(
    "Size (optional): share of the lung field’s area by eye; on both sides, of the larger one."
)
SIZE_METHOD_STATED = lazy(
    "Size: share of the lung field’s area by eye; on both sides, of the larger one."
)
OPERATING_POINTS = {
    "high_sensitivity": lazy("high sensitivity"),
    "balanced": lazy("balanced"),
    "high_precision": lazy("high precision"),
}
UNNAMED = lazy("No name in the file")
DAMAGED = lazy("Record damaged: read the original and inform an administrator")
PRIORS_MAY_LACK = lazy(
    "Records of other cases are damaged: an exam of this patient may be missing here. Inform an "
    "administrator."
)
SAME_UID = lazy(
    "Another picture has the same SOPInstanceUID. Both are stored: "
    "check that each belongs to the right patient."
)
FILE_REMARKS = {
    "transfer_syntax_wrong": lazy(
        "The file names another encoding than it has; it was read as it is encoded. Inform whoever "
        "looks after the sending system."
    ),
    "not_exportable": lazy(
        "This picture can’t be exported: a part of how its pixels are encoded is unknown and might "
        "hold a text."
    ),
    "not_dicom": lazy(
        "No DICOM file: exports of this case have outline and result, not the picture."
    ),
    "typed_not_used": lazy("The file names its patient itself; what was typed is not used."),
    "stored_again": lazy("Its stored file was lost or damaged and has been stored again."),
}
MERGE_REASONS = {
    "two_ids": lazy("The patient has two IDs"),
    "typing_error": lazy("A typing error in one ID"),
    "temporary_id": lazy("One ID was temporary"),
    "other_issuer": lazy("The IDs are of two issuers"),
    "other": lazy("Another reason"),
}
_TYPED = {
    "patient_name": lazy("name", context="of a patient"),
    "patient_id": "ID",
    "birth_date": lazy("birth date"),
    "study_date": lazy("exam date"),
    "side_marker": lazy("side marker"),
}
NAMES_ANOTHER = lazy(
    "The header of this picture names another patient than that of the first picture of this case: "
    "check whose it is."
)
BELOW_FLOOR = lazy(
    "No outline: the area above the pixel threshold is below the model’s size limit."
)
UNDER_18 = lazy("Patient under 18: the model was made for adults.")
UNDER_18_SHORT = lazy("under 18: model made for adults")
NONE_FOUND = lazy("This does not exclude a pneumothorax: small ones are missed.")
FOUND_AFTER_READING = lazy(
    "The AI found something after this was read. Look again, state a finding."
)
FOUND_AFTER_READING_SHORT = lazy("AI found something after it was read")
RETRACTED = lazy("retracted")
AFTER_YOURS = lazy("shown after yours")
RETRACTIONS = {
    "wrong_results": lazy("its results were found to be wrong"),
    "wrong_settings": lazy("it ran with wrong settings"),
    "withdrawn_by_maker": lazy("its maker has withdrawn it"),
    "incident": lazy("an incident is being looked into"),
    "other": lazy("another reason"),
}
AI_HIDDEN = {
    "after_verdict": lazy(
        "This team reads first: you see the AI result once you have saved a finding."
    ),
    "never": lazy("This team reads without the AI: its result is not shown."),
}
AI_HIDDEN_SECOND = lazy("The AI result is shown here once you have stated your finding.")
AI_HIDDEN_UNREAD = lazy(
    "This team reads first: the AI result is shown here once the case was read."
)
UNSURE = lazy("Uncertain: the model’s two readings of this picture differ.")
LIMITS = lazy(
    "Made for one frontal chest X-ray of an adult. Not for lateral views, children or other "
    "body parts. Misses small and loculated pneumothoraces; skin folds, blades of the scapula "
    "and tubes can be mistaken for one. It does not detect tension pneumothorax."
)
QUALITY = {
    "fit": lazy("Picture: suitable for AI"),
    "limited": lazy("Picture: of limited use for AI"),
    "refused": lazy("Picture: not suitable for AI"),
}
QUALITY_WITHIN = {
    "fit": lazy("suitable for AI"),
    "limited": lazy("of limited use for AI"),
    "refused": lazy("not suitable for AI"),
}
WAITING = {
    "worker": lazy("no worker takes jobs"),
    "redis": lazy("queued; results may be delayed"),
    "model": lazy("waiting for a worker that has the model"),
    "off_peak": lazy("put off to the off-peak hours"),
}
_SPACING = {
    "calibrated": lazy("calibrated"),
    "corrected": lazy("corrected for magnification"),
    "detector": lazy("at the detector"),
}
_THIRDS = {
    "apical": lazy("upper third"),
    "lateral": lazy("middle third"),
    "basal": lazy("lower third"),
}
_SIDES = {name: FINDINGS_WITHIN[name] for name in ("right", "left", "both")}
_ZONES = {
    "apical": lazy("apical", context="zone"),
    "lateral": lazy("lateral", context="zone"),
    "basal": lazy("basal", context="zone"),
}
_OF_MODEL = lazy("the model’s", context="points")
_WAITS = {
    "redis": lazy("Queued. The job queue (Redis) is not available; the case is stored."),
    "worker": lazy(
        "Queued. No worker takes jobs just now; the case is stored and will be analysed then."
    ),
    "model": lazy(
        "Waiting for a worker that has the model in use. "
        "The case is stored and will be analysed then."
    ),
    "off_peak": lazy("A rule has put the analysis off to the off-peak hours of the team."),
}
_PROGRESS = {
    "received": lazy("Received. Waiting for a worker."),
    "preparing": lazy("Preparing the picture."),
    "analysing": lazy("Analysing for pneumothorax."),
}
_NOT_PLAUSIBLE = lazy(
    "Spacing not plausible: by the file’s pixel spacing this would not be the chest of an adult. "
    "No sizes in mm."
)
_BASED_ON = {
    "calibrated": lazy("Sizes based on calibrated pixel spacing."),
    "corrected": lazy("Sizes corrected for the estimated magnification."),
    "detector": lazy("Sizes at the detector: slightly smaller in the patient."),
}
_SEXES = {"F": lazy("F", context="sex"), "M": lazy("M", context="sex")}
_AGES = {
    "Y": "%(count)s",
    "M": lazy("%(count)s months", context="age"),
    "W": lazy("%(count)s weeks", context="age"),
    "D": lazy("%(count)s days", context="age"),
}
_FAILED = lazy("The picture could not be processed.")
_FAILURES: Final[dict[str, str]] = {
    ErrorCode.GAVE_UP: lazy("The job failed or was interrupted too often."),
    ErrorCode.DECODE_FAILED: lazy("The picture could not be decoded."),
    ErrorCode.TRUNCATED: lazy("The file is incomplete."),
    ErrorCode.NO_PIXELS: lazy("The file contains no picture."),
    ErrorCode.RECORD_DAMAGED: lazy(
        "Its record is damaged or its key is missing. Inform an administrator."
    ),
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
    "likely": StatusLabel(lazy("Pneumothorax likely"), lazy("likely"), "ai", "solid", found=True),
    "possible": StatusLabel(
        lazy("Pneumothorax possible"), lazy("possible"), "ai", "half", found=True
    ),
    "none_found": StatusLabel(lazy("None found"), lazy("none found"), note=NONE_FOUND),
}
_STATES = {
    "received": StatusLabel(lazy("Received"), lazy("waiting"), shape="dash"),
    "preparing": StatusLabel(lazy("Preparing the picture"), lazy("preparing"), shape="dash"),
    "ready": StatusLabel(lazy("AI result not shown"), lazy("not shown")),
    "analysing": StatusLabel(lazy("Analysing"), lazy("analysing"), shape="dash"),
    "no_result": StatusLabel(lazy("No AI result"), lazy("not analysed, read unaided"), "danger"),
    "skipped": StatusLabel(lazy("Skipped by rule"), lazy("skipped by rule"), shape="square"),
    "failed": StatusLabel(
        lazy("The analysis failed"), lazy("failed, read unaided"), "danger", "cross"
    ),
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
    return _(
        "Retracted: %(reason)s. It stays visible; read without it.", reason=RETRACTIONS[reason]
    )


def reasons_text(reasons: Iterable[str]) -> str:
    """'Chest drain; Poor picture'; empty where no reason is given."""
    return "; ".join(str(REASONS[one]) for one in reasons)


def review_label(verdict: str, finding: str | None) -> str:
    """'Right · agreed'; 'Agreed' of a version before, which stated no finding."""
    if finding is None or verdict == "unsure":
        return str(VERDICTS[verdict])
    return f"{FINDINGS[finding]} · {VERDICTS_WITHIN[verdict]}"


def review_label_within(verdict: str, finding: str | None) -> str:
    """'right · agreed': the same behind another word."""
    if finding is None or verdict == "unsure":
        return str(VERDICTS_WITHIN[verdict])
    return f"{FINDINGS_WITHIN[finding]} · {VERDICTS_WITHIN[verdict]}"


def progress(state: str, waiting_for: str | None) -> str:
    """The progress of a study that has no result yet, in one sentence."""
    return str(_WAITS[waiting_for] if waiting_for in _WAITS else _PROGRESS.get(state, ""))


def failure(code: str | None) -> str:
    """Why there is no result; administrators see the code as well."""
    return str(_FAILURES.get(code or "", _FAILED))


def failed_pictures(failed: int, all_of_them: int) -> str:
    """Beside the result of the others: some pictures of the case have none."""
    return _("%(failed)s of %(all)s pictures failed: read unaided", failed=failed, all=all_of_them)


def where(
    side: str | None, zones: Sequence[str], *, assumed: bool = False, thirds: bool = False
) -> str:
    """'right · apical, lateral'; the side is marked if it is not given in the file.

    thirds: the zones are an older version's, whose "lateral" was the middle third of the height.
    """
    if side is None:
        return ""
    text = str(_SIDES.get(side, side))
    if assumed:
        text = _("%(side)s (side assumed)", side=text)
    names = _THIRDS if thirds else _ZONES
    named = ", ".join(str(names.get(zone, zone)) for zone in zones)
    return " · ".join(part for part in (text, named) if part)


def side(named: str | None) -> str:
    """'right', 'left' or 'both sides' of a measurement; "" where nothing is outlined."""
    return str(_SIDES.get(named or "", named or ""))


def bands(point: str | None, image_threshold: float | None, likely_threshold: float | None) -> str:
    """What likely and possible mean for this result, with its model's numbers."""
    name = OPERATING_POINTS.get(point or "", _OF_MODEL)
    if image_threshold is None or likely_threshold is None:
        return _("Image operating point: %(name)s.", name=name)
    if image_threshold >= likely_threshold:
        return _(
            "Likely: probability from %(likely)s (image operating point: %(name)s).",
            likely=fixed(likely_threshold, 2),
            name=name,
        )
    return _(
        "Possible: probability from %(possible)s (image operating point: %(name)s). "
        "Likely: from %(likely)s.",
        possible=fixed(image_threshold, 2),
        name=name,
        likely=fixed(likely_threshold, 2),
    )


def islands(floor: int | None, left_out: int | None) -> str:
    """The size floor of outlined areas, and whether any were left out; "" without a floor."""
    if not floor:
        return ""
    if left_out:
        return _(
            "Areas smaller than %(floor)s pixels of the model’s map are not outlined; %(count)s "
            "left out here.",
            floor=floor,
            count=left_out,
        )
    return _(
        "Areas smaller than %(floor)s pixels of the model’s map are not outlined.", floor=floor
    )


def probability(value: float | None) -> str:
    """Two digits, never rounded up to certainty or down to none."""
    return "" if value is None else fixed(min(max(value, 0.01), 0.99), 2)


def readings(spread: float, outline_dice: float | None) -> str:
    """'Read twice, once mirrored: 0.21 apart, outlines overlap by 34 %.'"""
    if outline_dice is None:
        return _("Read twice, once mirrored: %(spread)s apart.", spread=fixed(spread, 2))
    return _(
        "Read twice, once mirrored: %(spread)s apart, outlines overlap by %(overlap)s.",
        spread=fixed(spread, 2),
        overlap=percent_text(outline_dice),
    )


def fixed(value: float, decimals: int) -> str:
    """A number with so many places, rounded as Python rounds."""
    return number_text(round(value, decimals), decimals)


def length(mm: float | None, px: float | None) -> str:
    """'18 mm', '4.5 mm' below a centimetre, '212 px' where the spacing is unknown."""
    if mm is not None:
        return f"{fixed(mm, 0 if mm >= 9.95 else 1)} mm"
    return "" if px is None else f"{px:.0f} px"


def area(mm2: float | None, px: int | None) -> str:
    """'31 cm²', '4.2 cm²', '85 mm²', '12,345 px' where the spacing is unknown."""
    if mm2 is None:
        return "" if px is None else f"{number_text(px)} px"
    if mm2 >= 99.5:
        return f"{fixed(mm2 / 100, 0 if mm2 >= 995 else 1)} cm²"
    return f"{mm2:.0f} mm²"


def share(value: float) -> str:
    """'23 %' of the hemithorax's area."""
    return f"{100 * value:.0f} %" if value >= 0.01 else _("under 1 %")


def spacing(row_mm: float | None, source: str | None, problem: str | None = None) -> str:
    """'0.143 mm (at the detector)' or why sizes are in pixels."""
    if row_mm is None or source is None:
        if problem == "not_plausible":
            return _("spacing not plausible: sizes in pixels")
        return _("spacing unknown: sizes in pixels")
    return f"{fixed(row_mm, 3)} mm ({spacing_source(source)})"


def spacing_source(source: str) -> str:
    """Where a pixel spacing is from: 'at the detector'."""
    return str(_SPACING.get(source, source))


def spacing_note(row_mm: float | None, source: str | None, problem: str | None = None) -> str:
    """What the lengths and areas beside it are based on."""
    if problem == "not_plausible":
        return str(_NOT_PLAUSIBLE)
    if row_mm is None or source is None:
        return _("Pixel spacing unknown: no sizes in mm.")
    return str(_BASED_ON.get(source, ""))


def sex_and_age(sex: str, age: str, years: float | None = None) -> str:
    """'F 63', 'F 8 months' from DICOM's sex and an age such as 63Y; unknown parts are left out."""
    number, unit = age[:-1], age[-1:]
    age_text = _AGES[unit] % {"count": number} if number and unit in _AGES else ""
    if not age_text and years is not None:
        age_text = f"{years:.0f}"
    return " ".join(part for part in (str(_SEXES.get(sex, "")), age_text) if part)


def sex(named: str) -> str:
    """A sex as a file's header has it, in the language's letter."""
    return str(_SEXES.get(named, named))


def typed(names: str, side_marker: str = "") -> str:
    """Which of a case's data its sender typed, for a file without a header; "" for none."""
    known = [str(_TYPED[name]) for name in names.split(",") if name in _TYPED]
    if side_marker == "mirrored" and known:
        known[-1] = _("%(name)s (mirrored: the patient’s left is on the left)", name=known[-1])
    return _("typed: %(names)s", names=", ".join(known)) if known else ""

"""Whether the model was made for a picture: by header, pixels, anatomy, distance, in that order.

Owns the reason codes. Any refusing reason makes the verdict 'refused': the model gives no result.
Any other reason makes it 'limited': there is a result, shown with the reason. Thresholds
were set so that at most 2 % of real frontal chest X-rays are refused by pixels, anatomy or
distance; `benchmarks/ml/gate.py` measures that, and how much of the wrong kinds is refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ml.images.picture import Picture
from ml.quality import chest_template
from ml.quality.typicality import Typicality
from xray_files import dates

Verdict = Literal["fit", "limited", "refused"]

SIDE_PX_MIN = 256
ASPECT_MAX = 2.0
COLOUR_MAX = 0.05
# Fewer grey levels than this are a drawing; real films of wide range, saved in 8 bits, had 15.
LEVELS_MIN = 12
# Contrast, as a share of the depth that a picture really uses, and in grey levels: many systems
# put 12 bits into 16, so the depth in the header does not describe the contrast.
RANGE_MIN = 0.04
RANGE_LEVELS_MIN = 80
CLIPPED_MAX, CLIPPED_UNUSABLE = 0.5, 0.8
# Of 850 real frontal films the likeness is below 0.50 in under 1 %, below 0.60 in about 3 %.
LIKENESS_MIN = 0.50
LIKENESS_USUAL = 0.60
# A negative that looks clearly more like a chest than the picture itself.
INVERTED_MIN, INVERTED_LEAD = 0.60, 0.10
# The lung finder's fields: their share of the picture, and how much of them is certain. Of 550 real
# frontal films 0.5 % had less than 0.10 and 0.67.
FIELDS_MIN, FIELDS_CERTAIN_MIN = 0.04, 0.5
# The upper edge may cut off this share of the lungs' breadth, and the lower one; an apex broadens
# quickly, so the limit above is wider. About 1 % of real films pass a tenth at either edge.
CUT_MAX = (0.5, 0.22)
CUT_USUAL = 0.1
# Lungs cut by more are refused where they are less tall than broad by this, lungs cut by less where
# they are shorter still: a portable film without its apices shows lungs of the usual height, half
# a film does not. Of 575 films of the fitting half the height was 0.71 at the first percentile.
CUT_HEIGHTS = (0.9, 0.7)
ADULT_YEARS = dates.ADULT_YEARS
UNDER_AGE = "under_18"

# English, and the stems of the term in most languages in Latin script.
_CHEST_TERMS = ("CHEST", "THORAX", "TORA", "LUNG", "PULM", "CXR")
# Terms that name no part of the body.
_NO_PART = frozenset({"UNKNOWN", "OTHER", "WHOLEBODY"})
_OTHER_VIEWS = {
    **dict.fromkeys(("LLO", "RLO"), "an oblique view; the model was made for frontal ones"),
    **dict.fromkeys(("LLD", "RLD"), "a view of a patient who lies on one side"),
}


@dataclass(frozen=True)
class Reason:
    """A stable code and a sentence for a person."""

    code: str
    message: str
    refuses: bool = False


@dataclass(frozen=True)
class Quality:
    """The verdict, its reasons, and the patient's midline (column in source pixels)."""

    reasons: tuple[Reason, ...]
    midline: float | None

    @property
    def verdict(self) -> Verdict:
        if any(reason.refuses for reason in self.reasons):
            return "refused"
        return "limited" if self.reasons else "fit"

    def facts(self) -> dict[str, Any]:
        """Verdict and reasons, ready for JSON."""
        reasons = [asdict(reason) for reason in self.reasons]
        for reason in reasons:
            del reason["refuses"]
        return {"verdict": self.verdict, "reasons": reasons}


def with_reason(verdict: Quality, reason: Reason) -> Quality:
    """The same verdict with one more reason."""
    return Quality((*verdict.reasons, reason), verdict.midline)


def check(
    picture: Picture,
    typicality_of: Callable[[], Typicality | None] | None = None,
    age_min: float = ADULT_YEARS,
) -> Quality:
    """Apply every rule, the expensive ones only where no cheap one refuses.

    typicality_of: returns the picture's typicality, by the lung finder. Without it the anatomy is
    checked with a template alone. age_min: from which age on, in years, a picture of a patient
    under 18 is not refused; it is remarked on all the same.
    """
    reasons = [*_header(picture, age_min), *_pixels(picture)]
    midline = None
    if not any(reason.code in ("flat", "few_grey_levels") for reason in reasons):
        likeness = chest_template.compare(picture)
        refused = any(reason.refuses for reason in reasons)
        typical = typicality_of() if typicality_of is not None and not refused else None
        reasons += _anatomy(likeness, typical, template_alone=typicality_of is None)
        # Where the template fits badly, its axis is not the midline.
        midline = likeness.midline if likeness.upright >= LIKENESS_USUAL else None
    # What refuses comes first: a list has room for one reason. Otherwise the gate's order stays.
    reasons.sort(key=lambda reason: not reason.refuses)
    return Quality(tuple(reasons), midline)


def _header(picture: Picture, age_min: float) -> Iterator[Reason]:
    if picture.media_type != "application/dicom":
        yield Reason(
            "no_header",
            "Not a DICOM file: body part, view, age and pixel spacing are unknown.",
        )
    elif picture.modality not in ("CR", "DX"):
        named = picture.modality or "missing"
        yield Reason(
            "unusual_modality", f"The modality is {named}; the model was made for CR and DX."
        )
    if picture.body_part and not _may_be_chest(picture.body_part):
        yield Reason("not_chest", "The header names another body part than the chest.", True)
    if picture.view in ("LL", "RL"):
        yield Reason("lateral_view", "A lateral view; the model reads frontal views only.", True)
    elif picture.view in _OTHER_VIEWS:
        yield Reason("other_view", f"The header names {_OTHER_VIEWS[picture.view]}.")
    elif picture.view not in ("PA", "AP") and picture.media_type == "application/dicom":
        yield Reason("view_unknown", "The header does not say that this is a frontal view.")
    age = picture.patient_age_years
    if age is not None and age < ADULT_YEARS:
        yield Reason(
            UNDER_AGE, "The patient is under 18; the model was made for adults.", age < age_min
        )
    if dates.DISPUTED in picture.notes:
        yield Reason(
            "age_disputed", "By only one of age and dates in the header is the patient an adult."
        )
    if "for_processing" in picture.notes:
        yield Reason("for_processing", "Raw detector values, not the picture meant for reading.")


def _may_be_chest(body_part: str) -> bool:
    """Whether BodyPartExamined names the chest, or no body part."""
    plain = unicodedata.normalize("NFKD", body_part.upper())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    named = "".join(filter(str.isalpha, plain))
    return named in _NO_PART or any(term in named for term in _CHEST_TERMS)


def _least_range(picture: Picture) -> float:
    """The least distance of the 1st and 99th percentile, in grey levels.

    A share of the used depth, and of the named depth up to what is little in any depth.
    """
    used = int(picture.pixels.max()) - int(picture.pixels.min())
    depth = (1 << used.bit_length()) - 1
    levels = min(RANGE_MIN * ((1 << picture.bits) - 1), RANGE_LEVELS_MIN)
    return max(RANGE_MIN * depth, levels)


def _pixels(picture: Picture) -> Iterator[Reason]:
    pixels = picture.pixels
    short, long = min(pixels.shape), max(pixels.shape)
    if short < SIDE_PX_MIN:
        yield Reason(
            "too_small",
            f"The picture has {picture.columns} x {picture.rows} pixels; "
            f"at least {SIDE_PX_MIN} are needed on each side.",
            True,
        )
    if long > ASPECT_MAX * short:
        yield Reason("aspect", "The picture is too long and narrow for a chest X-ray.", True)
    if picture.colour > COLOUR_MAX:
        yield Reason("colour", "A colour picture, not an X-ray.", True)
    low, high = (float(value) for value in np.percentile(pixels[::2, ::2], (1, 99)))
    if high - low < _least_range(picture):
        yield Reason("flat", "The picture has almost no contrast.", True)
    elif np.unique(pixels[::2, ::2]).size < LEVELS_MIN:
        yield Reason("few_grey_levels", "The picture has too few grey levels.", True)
    else:
        darkest, brightest = pixels.min(), pixels.max()
        clipped = float(np.mean((pixels == darkest) | (pixels == brightest)))
        if clipped > CLIPPED_UNUSABLE:
            yield Reason("clipped", "Almost all of the picture is plain black or white.", True)
        elif clipped > CLIPPED_MAX:
            yield Reason("clipped", "More than half of the picture is plain black or white.")


def _anatomy(
    likeness: chest_template.Likeness, typical: Typicality | None, template_alone: bool
) -> Iterator[Reason]:
    if likeness.inverted >= INVERTED_MIN and likeness.inverted - likeness.upright >= INVERTED_LEAD:
        yield _INVERTED
    elif typical is not None:
        yield from _shape(typical)
    elif not template_alone:
        return
    elif likeness.upright < LIKENESS_MIN:
        yield Reason("not_like_chest", "The picture does not look like a frontal chest.", True)
    elif likeness.upright < LIKENESS_USUAL:
        yield _UNUSUAL


def _shape(typical: Typicality) -> Iterator[Reason]:
    """The specific reasons first; distance for all that they do not cover."""
    if typical.turn == "inverted":
        yield _INVERTED
    elif typical.area < FIELDS_MIN or typical.certain < FIELDS_CERTAIN_MIN:
        yield Reason("no_lungs", "No two lungs of a frontal chest can be made out.", True)
    elif typical.turn != "upright":
        by = "upside down" if typical.turn == "half" else "turned by 90 degrees"
        yield Reason("rotated", f"The picture seems to be {by}.", True)
    elif _half(typical):
        yield Reason("lungs_cut", "Only a part of the lungs is on the picture.", True)
    elif typical.distance > 1 and not typical.clear:
        yield Reason("unlike_training", "Too unlike the frontal chests the model knows.", True)
    else:
        if typical.distance > typical.usual:
            yield _UNUSUAL
        for cut, edge in zip(typical.cut, ("upper", "lower"), strict=True):
            if cut > CUT_USUAL:
                yield Reason("lungs_cut", f"The lungs reach beyond the picture's {edge} edge.")


def _half(typical: Typicality) -> bool:
    """Whether the edge leaves only a part of the lungs."""
    much = any(cut > most for cut, most in zip(typical.cut, CUT_MAX, strict=True))
    some = max(typical.cut) > CUT_USUAL
    tall, short = CUT_HEIGHTS
    return (much and typical.height < tall) or (some and typical.height < short)


_INVERTED = Reason("inverted", "Black and white seem to be swapped.", True)
_UNUSUAL = Reason("unusual_chest", "The picture looks unusual for a frontal chest.")

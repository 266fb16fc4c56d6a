"""What the quality gate remarks on a picture, in the language of the page.

A worker stores its reasons in English (`ml.quality.gate`). One of another version that is not
known here is shown as it was stored.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from portal.languages import _, lazy

_KNOWN: Final = (
    lazy("Not a DICOM file: body part, view, age and pixel spacing are unknown."),
    lazy("The header names another body part than the chest."),
    lazy("A lateral view; the model reads frontal views only."),
    lazy("The header names an oblique view; the model was made for frontal ones."),
    lazy("The header names a view of a patient who lies on one side."),
    lazy("The header does not say that this is a frontal view."),
    lazy("The patient is under 18; the model was made for adults."),
    lazy("By only one of age and dates in the header is the patient an adult."),
    lazy("Raw detector values, not the picture meant for reading."),
    lazy("The picture is too long and narrow for a chest X-ray."),
    lazy("A colour picture, not an X-ray."),
    lazy("The picture has almost no contrast."),
    lazy("The picture has too few grey levels."),
    lazy("Almost all of the picture is plain black or white."),
    lazy("More than half of the picture is plain black or white."),
    lazy("The picture does not look like a frontal chest."),
    lazy("No two lungs of a frontal chest can be made out."),
    lazy("The picture seems to be upside down."),
    lazy("The picture seems to be turned by 90 degrees."),
    lazy("Only a part of the lungs is on the picture."),
    lazy("Too unlike the frontal chests the model knows."),
    lazy("The lungs reach beyond the picture's upper edge."),
    lazy("The lungs reach beyond the picture's lower edge."),
    lazy("Black and white seem to be swapped."),
    lazy("The picture looks unusual for a frontal chest."),
    lazy("A first, faster network saw so little sign of a pneumothorax that nothing was outlined."),
)
_BY_ENGLISH: Final = {str.__str__(text): text for text in _KNOWN}
_MODALITY: Final = re.compile(r"The modality is (.+); the model was made for CR and DX\.")
_SIZE: Final = re.compile(
    r"The picture has (\d+) x (\d+) pixels; at least (\d+) are needed on each side\."
)


def shown(reason: Mapping[str, Any]) -> str:
    """The sentence of a stored reason."""
    stored = str(reason.get("message", ""))
    if stored in _BY_ENGLISH:
        return str(_BY_ENGLISH[stored])
    if found := _MODALITY.fullmatch(stored):
        if found[1] == "missing":
            return _("The modality is missing; the model was made for CR and DX.")
        return _(
            "The modality is %(modality)s; the model was made for CR and DX.", modality=found[1]
        )
    if found := _SIZE.fullmatch(stored):
        return _(
            "The picture has %(columns)s x %(rows)s pixels; at least %(least)s are needed on each "
            "side.",
            columns=found[1],
            rows=found[2],
            least=found[3],
        )
    return stored

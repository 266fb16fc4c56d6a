"""Whether a pixel spacing can be right, by the size that it gives the whole picture.

Pictures that were reduced or converted after acquisition often keep the detector's spacing, or get
a made-up one such as 1 mm. A chest film of an adult is 35 x 43 cm (14 x 17 inches) and rarely
collimated to less than 25 cm on a side; no detector of a chest stand reaches 50 cm. Of children's
pictures, which may be smaller, the spacing is then left out as well.
"""

from __future__ import annotations

from ml.images.picture import Spacing

# Shortest and longest side of the field, mm. `worker.contract.facts` has the same numbers for the
# portal, which may not import this package.
FIELD_MM = (250.0, 500.0)
NOTE = "spacing_not_plausible"


def is_plausible(spacing: Spacing, rows: int, columns: int) -> bool:
    """Whether rows x row spacing and columns x column spacing are the size of a chest X-ray."""
    sides = rows * spacing.row_mm, columns * spacing.column_mm
    return all(FIELD_MM[0] <= side <= FIELD_MM[1] for side in sides)


def checked(
    spacing: Spacing | None, rows: int, columns: int, notes: tuple[str, ...]
) -> tuple[Spacing | None, tuple[str, ...]]:
    """The spacing and the notes of a picture: without an implausible spacing, but with a note."""
    if spacing is None or is_plausible(spacing, rows, columns):
        return spacing, notes
    return None, (*notes, NOTE)

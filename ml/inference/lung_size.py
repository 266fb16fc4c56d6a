"""Whether a pixel spacing can be right, by the size that it gives the found lungs.

A spacing that is wrong by less than `ml.images.field_size` notices, such as that of a cropped and
enlarged picture, makes lungs that no adult has.
"""

from __future__ import annotations

from ml.images.picture import Spacing
from ml.inference.hemithorax import Thorax

# Width: the inner transverse diameter of the thorax on PA films of 1,047 adults is 297 ± 27 mm in
# men and 271 ± 26 mm in women (Pan African Medical Journal 2017;27:201): three standard deviations
# beyond each mean, and a tenth and a half more for the magnification of AP films.
WIDTH_MM = (193.0, 435.0)
# Height: from apex to dome 16 to 30 cm on PA films of 526 healthy adults (West African Journal of
# Medicine 2007, "Assessment of diaphragmatic levels on plain chest radiograph"). The lungs reach 3
# to 5 cm lower at the side wall; lying or breathed out they are a quarter shorter.
HEIGHT_MM = (140.0, 405.0)


def is_plausible(spacing: Spacing, thorax: Thorax | None, rows: int, columns: int) -> bool:
    """Whether lungs and air have an adult's size; True where no two lungs were found.

    Lungs that the picture's edge cuts off may be smaller.
    """
    if thorax is None:
        return True
    width = thorax.width * columns * spacing.column_mm
    height = thorax.height * rows * spacing.row_mm
    return all(
        size <= limits[1] and (size >= limits[0] or cut)
        for size, limits, cut in zip(
            (width, height), (WIDTH_MM, HEIGHT_MM), thorax.cut, strict=True
        )
    )

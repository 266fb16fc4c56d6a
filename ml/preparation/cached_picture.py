"""One picture of a training cache: read, reduced and written with its mask and its attributes.

Owns what each reading process does; `ml.preparation.prepare` starts the processes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.datasets import cases, dataset, rle
from ml.datasets.catalogue import Attributes
from ml.images import reader
from ml.images.picture import Picture
from ml.inference import measurements
from ml.metrics import subgroups
from ml.preparation import data_checks
from ml.preprocessing import image_statistics, transforms


@dataclass(frozen=True)
class Source:
    """One picture to cache, with its outline as run-length texts or as a file, or with none."""

    id: str
    path: Path
    texts: tuple[str, ...]
    mask: Path | None
    side: int
    cache: Path
    # View, sex and age from an index, which take precedence over the header.
    listed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cached:
    """A cached picture: the original's size, its attributes, and whether its mask is doubtful."""

    rows: int
    columns: int
    attributes: Attributes
    mask_fits: bool = True
    mask_empty: bool = False


def attempt(source: Source) -> Cached | str:
    """The result of `write`, or the reason why there is none."""
    try:
        return write(source)
    except reader.Unreadable as error:
        return f"{error.message} ({error.code})"
    except OSError as error:
        return str(error.strerror or error)
    except ValueError as error:
        return str(error)


def write(source: Source) -> Cached:
    """Cache one picture, and its mask if there is one.

    Raises Unreadable, OSError, or ValueError for a mask that does not fit.
    """
    cv2.setNumThreads(0)
    picture = reader.read(source.path.read_bytes()).without_hidden()
    small = transforms.canonical(picture.pixels, source.side)
    mask = _outline(source)
    dataset.write_png(source.cache / "pictures" / f"{source.id}.png", small)
    if mask.any():
        dataset.write_png(source.cache / "masks" / f"{source.id}.png", shrunk(mask, *small.shape))
    shape = (picture.rows, picture.columns)
    # The competition's masks are square whatever the size of the picture's copy.
    fits = data_checks.fits(mask.shape, shape) if source.mask else True
    given = source.mask is not None or any(text != rle.EMPTY for text in source.texts)
    attributes = described(picture, small, mask, source.listed)
    return Cached(*shape, attributes, fits, given and not bool(mask.any()))


def described(
    picture: Picture, small: NDArray[np.uint8], mask: NDArray[np.bool_], listed: dict[str, str]
) -> Attributes:
    """A picture's attributes from its header, its pixels, its outline and an index."""
    known = subgroups.traits(listed, picture.view, picture.patient_sex, None, "")
    count, _, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    width = mask.shape[1]
    sides = {
        measurements.side(float(column), width / 2, picture.orientation)
        for column, _ in centres[1:count]
    } - {None}
    age = subgroups.years_of(listed.get("age", ""))
    return Attributes(
        view=known.view,
        sex=known.sex,
        age=picture.patient_age_years if age is None else age,
        reported=subgroups.reported(listed.get(subgroups.REPORTED, "")),
        spacing_mm=round(picture.spacing.row_mm, 4) if picture.spacing else None,
        lesions=count - 1,
        area=round(float(mask.mean()), 6),
        side="both" if len(sides) > 1 else str(next(iter(sides), "")),
        tags=image_statistics.tags(image_statistics.of_canonical(small)),
        pixels=hashlib.sha256(small.tobytes()).hexdigest()[:16],
    )


def shrunk(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.uint8]:
    """A mask at the cached picture's size, 0 or 255: set where at least half of the area was."""
    share = transforms.resize(mask.astype(np.float32), rows, columns)
    return (share >= 0.5).astype(np.uint8) * np.uint8(255)


def _outline(source: Source) -> NDArray[np.bool_]:
    if source.mask:
        try:
            return reader.read(source.mask.read_bytes()).pixels > 0
        except reader.Unreadable as error:
            raise ValueError(f"its mask: {error.message}") from error
    # A few published copies of the pictures are smaller than 1024 px; their masks are not.
    try:
        return rle.combine(source.texts, *cases.MASK_SHAPE)
    except ValueError as error:
        raise ValueError(f"its mask: {error}") from error

"""One picture of a training cache: read, reduced and written with its mask and its attributes.

Owns what each reading process does; `ml.preparation.prepare` starts the processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
    # The outlines of other classes, by name.
    also: Mapping[str, Sequence[str] | Path] = field(default_factory=dict)
    # A folder for the picture and its masks at their own size.
    png: Path | None = None


@dataclass(frozen=True)
class Cached:
    """A cached picture: the original's size, its attributes, and whether its mask is doubtful."""

    rows: int
    columns: int
    attributes: Attributes
    mask_fits: bool = True
    mask_empty: bool = False
    other_classes: tuple[str, ...] = ()


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
    mask = _outline(source.mask or source.texts)
    others = {name: _outline(given) for name, given in source.also.items()}
    dataset.write_png(source.cache / "pictures" / f"{source.id}.png", small)
    masks = {"masks": mask, **{f"masks-{name}": other for name, other in others.items()}}
    for folder, drawn in masks.items():
        if drawn.any():
            dataset.write_png(
                source.cache / folder / f"{source.id}.png", shrunk(drawn, *small.shape)
            )
    if source.png:
        _write_whole(source, picture, masks)
    shape = (picture.rows, picture.columns)
    # The competition's masks are square whatever the size of the picture's copy.
    fits = data_checks.fits(mask.shape, shape) if source.mask else True
    given = source.mask is not None or any(text != rle.EMPTY for text in source.texts)
    attributes = described(picture, small, mask, source.listed)
    shown = tuple(name for name, other in others.items() if other.any())
    return Cached(*shape, attributes, fits, given and not bool(mask.any()), shown)


def _write_whole(source: Source, picture: Picture, masks: dict[str, NDArray[np.bool_]]) -> None:
    """The picture and its masks at the picture's own size; masks only where there is a label."""
    assert source.png is not None
    name, shape = f"{source.id}.png", (picture.rows, picture.columns)
    dataset.write_png(
        source.png / "pictures" / name, transforms.canonical(picture.pixels, max(shape))
    )
    for folder, mask in masks.items():
        if source.mask or source.texts:
            dataset.write_png(source.png / folder / name, shrunk(mask, *shape))


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


def _outline(given: Sequence[str] | Path) -> NDArray[np.bool_]:
    """A mask from a file or from run-length texts."""
    if isinstance(given, Path):
        try:
            return reader.read(given.read_bytes()).pixels > 0
        except reader.Unreadable as error:
            raise ValueError(f"its mask: {error.message}") from error
    # A few published copies of the pictures are smaller than 1024 px; their masks are not.
    try:
        return rle.combine(given, *cases.MASK_SHAPE)
    except ValueError as error:
        raise ValueError(f"its mask: {error}") from error

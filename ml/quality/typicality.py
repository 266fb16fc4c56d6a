"""How far a picture is from the frontal chest X-rays of the training data.

Owns eleven features of a picture, from a thumbnail of it and from the lung finder's map, and their
Mahalanobis distance from those of real frontal films (Lee et al. 2018 use it on features of a
network). Thumbnail and map are described by principal components: a picture with a large residual,
or with a smaller one once it is turned or inverted, is not an upright frontal chest. The thumbnail
alone is misled by a bright table edge, a tilted film or an opaque lung, so that lung map and
template have a say in whether a picture is turned.

`reference.npz` holds the components and the distribution, averages over many pictures; the script
`benchmarks/ml/gate.py` fits and measures it. It belongs to one lung network, named in it.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.quality import chest_template
from ml.runtime.lung_finder import LungFields
from ml.runtime.session import ModelMissing

Numbers = NDArray[np.float32]
Turn = Literal["upright", "quarter", "half", "inverted"]

REFERENCE = Path(__file__).parents[1] / "weights" / "quality-gate" / "reference.npz"
STAMP, MAP = 32, 16
COMPONENTS = 16
NAMES = (
    "stamp_rest", "stamp_distance", "turned_rest", "fields_rest", "fields_distance",
    "fields_doubt", "fields_area", "fields_balance", "fields_middle", "fields_light", "likeness",
)  # fmt: skip
# Shares of the fitted pictures within the limit, and within the usual distance.
WITHIN, USUAL = 0.995, 0.95
# A lung map that fits upright by this log ratio of residuals, or a template whose correlation is
# better upright by this much, shows that the picture is not turned. Of 180 films turned by 90, 180
# and 270 degrees (fitting half) none reached either: the most was 0.30 and 0.01.
UPRIGHT_MAP, UPRIGHT_TEMPLATE = 0.4, 0.2
# Thumbnail and lung map that fit upright by these log ratios of residuals are a frontal chest.
CLEAR_STAMP, CLEAR_MAP = 0.25, 0.35


class GateInput(NamedTuple):
    """The canonical picture and the lung fields on it."""

    canonical: NDArray[np.uint8]
    fields: LungFields


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of one kind of small picture."""

    mean: Numbers
    components: Numbers  # (COMPONENTS, cells)
    deviations: Numbers

    def residual(self, cells: Numbers) -> tuple[Numbers, Numbers]:
        """Of cells (N, cells): the residual (RMS), and the distance within the components (RMS)."""
        inside = (cells - self.mean) @ self.components.T
        left = cells - self.mean - inside @ self.components
        return np.sqrt((left**2).mean(1)), np.sqrt(((inside / self.deviations) ** 2).mean(1))

    @classmethod
    def fit(cls, cells: Numbers) -> PrincipalComponents:
        """Of cells (N, cells), each with its mirror image."""
        side = round(cells.shape[1] ** 0.5)
        mirrored = cells.reshape(-1, side, side)[:, :, ::-1].reshape(len(cells), -1)
        both = np.vstack([cells, mirrored])
        mean = both.mean(0)
        _, sizes, vectors = np.linalg.svd(both - mean, full_matrices=False)
        deviations = sizes[:COMPONENTS] / np.sqrt(len(both))
        return cls(mean, vectors[:COMPONENTS], deviations)


@dataclass(frozen=True)
class Typicality:
    """distance: from real frontal chests, 1 being the limit; usual: a distance that 95 % are
    within.

    turn: the orientation that fits best. certain and area: the share of the lung fields that is
    certain, and their share of the picture. cut: how much of the lungs' breadth the picture's upper
    and lower edge cut off. height: of both lungs together, in their breadth. clear: thumbnail and
    lung map both fit an upright chest clearly better than a turned one.
    """

    distance: float
    usual: float
    turn: Turn
    certain: float
    area: float
    cut: tuple[float, float]
    height: float
    clear: bool


@dataclass(frozen=True)
class ChestReference:
    """The distribution of features of real frontal chests."""

    stamps: PrincipalComponents
    fields: PrincipalComponents
    mean: Numbers
    precision: Numbers
    limit: float
    usual: float
    lungs_sha256: str

    def compare(self, given: GateInput) -> Typicality:
        """The typicality of a picture."""
        stamp, fields = cells(given)
        numbers, turn = features(self.stamps, self.fields, stamp, fields, given)
        away = numbers - self.mean
        distance = float(away @ self.precision @ away)
        map_lead = self._upright_lead(self.fields, fields)
        if turn in ("quarter", "half") and (
            map_lead > UPRIGHT_MAP or _template_lead(given) > UPRIGHT_TEMPLATE
        ):
            turn = "upright"
        return Typicality(
            round(distance / self.limit, 4),
            self.usual / self.limit,
            turn,
            round(float(1.02 - np.exp(numbers[5])), 4),
            round(float(np.exp(numbers[6])), 4),
            given.fields.cut,
            round(_height(given.fields.mask), 4),
            self._upright_lead(self.stamps, stamp) > CLEAR_STAMP and map_lead > CLEAR_MAP,
        )

    @staticmethod
    def _upright_lead(components: PrincipalComponents, small: Numbers) -> float:
        """Log ratio of the least residual of the turned small picture to the upright one's."""
        side = round(small.size**0.5)
        rests, _ = components.residual(_turned(small.reshape(side, side)).reshape(4, -1))
        return float(np.log((rests[1:].min() + 1e-3) / (rests[0] + 1e-3)))


def _turned(square: Numbers) -> Numbers:
    """A square picture upright, turned by 90 degrees either way, and upside down."""
    return np.stack([square, np.rot90(square, 1), np.rot90(square, 3), np.rot90(square, 2)])


def _template_lead(given: GateInput) -> float:
    """How much better the template correlates with the upright picture than with a turned one."""
    grey = given.canonical.astype(np.float32)
    small = np.asarray(cv2.resize(grey, (STAMP, STAMP), interpolation=cv2.INTER_AREA))
    upright, *others = (
        chest_template.of_stamp(np.ascontiguousarray(one))
        for one in _turned(small.astype(np.float32, copy=False))
    )
    return upright - max(others)


def _height(mask: NDArray[np.bool_]) -> float:
    """Height of the box around both lungs, in its breadth."""
    return float(mask.any(1).sum()) / max(int(mask.any(0).sum()), 1)


def cells(given: GateInput) -> tuple[Numbers, Numbers]:
    """The two small pictures: grey, free of brightness and contrast; lung probability, as a root.

    Both are stretched to squares.
    """
    probability = given.fields.probability
    grey = given.canonical.astype(np.float32)
    small = np.asarray(cv2.resize(grey, (STAMP, STAMP), interpolation=cv2.INTER_AREA)).ravel()
    stamp = (small - small.mean()) / (small.std() + np.float32(0.3))
    fields = cv2.resize(probability, (MAP, MAP), interpolation=cv2.INTER_AREA)
    return stamp.astype(np.float32), np.sqrt(np.clip(np.asarray(fields), 0, 1)).ravel()


def features(
    stamps: PrincipalComponents,
    fields: PrincipalComponents,
    stamp: Numbers,
    map_: Numbers,
    given: GateInput,
) -> tuple[Numbers, Turn]:
    """The features of NAMES, and the turn with the smallest residual of the thumbnail."""
    square = stamp.reshape(STAMP, STAMP)
    ways = np.concatenate([_turned(square), -square[None]])
    rests, within = stamps.residual(ways.reshape(len(ways), -1))
    names: tuple[Turn, ...] = ("upright", "quarter", "quarter", "half", "inverted")
    map_rest, map_within = fields.residual(map_[None])
    fine = cv2.resize(given.fields.probability, (64, 64), interpolation=cv2.INTER_AREA)
    fine = np.asarray(fine, dtype=np.float32)
    certain = fine > 0.5
    area, right, left = float(certain.mean()), certain[:, :32].mean(), certain[:, 32:].mean()
    doubt = 1.02 - area / max(float((fine > 0.1).mean()), 1e-6)
    grey = given.canonical.astype(np.float32) / 255
    grey = np.asarray(cv2.resize(grey, (STAMP, STAMP), interpolation=cv2.INTER_AREA))
    lung = fine.reshape(STAMP, 2, STAMP, 2).mean((1, 3))
    inside = (grey * lung).sum() / max(lung.sum(), 1e-3)
    outside = (grey * (1 - lung)).sum() / max((1 - lung).sum(), 1e-3)
    found = [
        np.log(rests[0] + 1e-3),
        within[0],
        np.log((rests[0] + 1e-3) / (rests[1:].min() + 1e-3)),
        np.log(map_rest[0] + 1e-3),
        map_within[0],
        np.log(max(doubt, 1e-3)),
        np.log(area + 1e-3),
        np.log(min(right, left) / max(right, left, 1e-3) + 0.05),
        fine[:, 28:36].mean() / max(float(fine.mean()), 1e-3),
        inside - outside,
        chest_template.of_stamp((grey * 255).astype(np.float32)),
    ]
    return np.asarray(found, dtype=np.float32), names[int(rests.argmin())]


def fit(pictures: list[GateInput], lungs_sha256: str) -> ChestReference:
    """The reference of real frontal chests, upright and whole."""
    stamp, map_ = (np.stack(part) for part in zip(*map(cells, pictures), strict=True))
    stamps, fields = PrincipalComponents.fit(stamp), PrincipalComponents.fit(map_)
    numbers = np.stack(
        [features(stamps, fields, *one)[0] for one in zip(stamp, map_, pictures, strict=True)]
    )
    mean = numbers.mean(0)
    precision = np.linalg.inv(np.cov(numbers.T) + 1e-4 * np.eye(len(NAMES))).astype(np.float32)
    away = numbers - mean
    distances = np.einsum("ij,jk,ik->i", away, precision, away)
    limit, usual = (float(value) for value in np.quantile(distances, (WITHIN, USUAL)))
    return ChestReference(stamps, fields, mean, precision, limit, usual, lungs_sha256)


def write(reference: ChestReference, path: Path = REFERENCE) -> None:
    """Save a reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        **{f"stamps_{name}": value for name, value in vars(reference.stamps).items()},
        **{f"fields_{name}": value for name, value in vars(reference.fields).items()},
        mean=reference.mean,
        precision=reference.precision,
        limits=np.array([reference.limit, reference.usual]),
        lungs=np.array(reference.lungs_sha256),
    )


def read(lungs_sha256: str, path: Path = REFERENCE) -> ChestReference:
    """The reference, if it is there and was fitted with this lung network; else ModelMissing."""
    try:
        with np.load(path, allow_pickle=False) as file:
            parts: dict[str, Any] = dict(file)
        stamps, fields = (
            PrincipalComponents(
                *(parts[f"{kind}_{name}"] for name in ("mean", "components", "deviations"))
            )
            for kind in ("stamps", "fields")
        )
        limit, usual = (float(value) for value in parts["limits"])
        found = ChestReference(
            stamps, fields, parts["mean"], parts["precision"], limit, usual, str(parts["lungs"])
        )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelMissing(f"the quality gate's reference {path} is incomplete") from error
    if found.lungs_sha256 != lungs_sha256:
        raise ModelMissing(
            "the quality gate's reference was made for another lung network: fit it again "
            "(benchmarks/ml/gate.py)"
        )
    return found

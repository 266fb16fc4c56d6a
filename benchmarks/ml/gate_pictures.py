"""Pictures that are no frontal chest, for `gate.py`: drawn, made from real chests, or photographs.

Drawn body parts are coarse: ellipses and rods that weaken a beam. They look like the real thing
at the size at which the gate looks; they are no substitute for a hospital's own wrong pictures.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Layer = NDArray[np.float32]
PARTS = (
    "lateral", "hand", "knee", "pelvis", "skull", "abdomen", "shoulder", "foot", "spine",
)  # fmt: skip
# Greys and colours of scikit-image's own package; the others of its pictures are downloads.
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png",
    "coffee.png", "coins.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg",
    "ihc.png", "microaneurysms.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


def part(name: str, seed: int, side: int = 640) -> Grey:
    """A drawn film of one of PARTS."""
    canvas = _Canvas(np.random.default_rng([seed, PARTS.index(name)]), side)
    _DRAWERS[name](canvas)
    return canvas.film()


def photographs() -> dict[str, NDArray[np.uint8]]:
    """Photographs and scans by name, grey or BGR."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    found = {name: cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in PHOTOGRAPHS}
    return {
        name: (picture[..., :3] if picture.ndim == 3 else picture).astype(np.uint8, copy=False)
        for name, picture in found.items()
        if picture is not None
    }


def page(seed: int, side: int = 900) -> Grey:
    """A page of text, a form or a table, as a scanner sees it."""
    random = np.random.default_rng(seed)
    rows = round(side * random.uniform(1.0, 1.4))
    paper = np.full((rows, side), 245, np.uint8)
    words = ("patient", "report", "chest", "findings", "heart", "lungs", "normal", "of", "with")
    size = random.uniform(0.5, 1.1)
    for line in range(60, rows - 40, round(34 * size) + 6):
        if random.random() < 0.12:
            continue
        text = " ".join(random.choice(words, int(random.integers(3, 11))))
        cv2.putText(paper, text, (50, line), 0, size, 20, 2, cv2.LINE_AA)
    if random.random() < 0.5:
        for at in np.linspace(60, rows - 60, int(random.integers(4, 12))):
            cv2.line(paper, (40, int(at)), (side - 40, int(at)), 60, 2)
    noisy = cv2.GaussianBlur(paper, (0, 0), random.uniform(0.5, 1.5)) + random.normal(
        0, 4, paper.shape
    )
    return np.clip(noisy, 0, 255).astype(np.uint8)


def of_chest(chest: Grey) -> dict[str, Grey]:
    """What can go wrong with a real frontal film, by kind."""
    rows, columns = chest.shape
    return {
        "inverted": 255 - chest,
        "turned 90": np.ascontiguousarray(np.rot90(chest)),
        "turned 270": np.ascontiguousarray(np.rot90(chest, 3)),
        "upside down": np.ascontiguousarray(np.rot90(chest, 2)),
        "overexposed": _stretched(chest, *np.percentile(chest, (0, 15))),
        "underexposed": _stretched(chest, *np.percentile(chest, (85, 100))),
        "blank": np.clip(chest.astype(np.float32) / 64 + 120, 0, 255).astype(np.uint8),
        "tiny": np.asarray(cv2.resize(chest, (200, 200 * rows // columns))),
        "left half": np.ascontiguousarray(chest[:, columns // 2 :]),
        "right half": np.ascontiguousarray(chest[:, : columns // 2]),
        "upper half": np.ascontiguousarray(chest[: rows // 2]),
        "lower half": np.ascontiguousarray(chest[rows // 2 :]),
    }


def _stretched(grey: Grey, low: float, high: float) -> Grey:
    shown = (grey.astype(np.float32) - low) / max(high - low, 1) * 255
    stretched: Grey = np.clip(shown, 0, 255).astype(np.uint8)
    return stretched


class _Canvas:
    """A film on which shapes in shares of its sides add to what the beam passes."""

    def __init__(self, random: np.random.Generator, side: int) -> None:
        self.random = random
        self.shape = (side, round(side * random.uniform(0.8, 1.1)))
        self.blur = side / 420
        self.layer: Layer = np.zeros(self.shape, np.float32)

    def near(self, spread: float = 0.02) -> float:
        return float(self.random.uniform(-spread, spread))

    def _add(self, drawn: Layer, value: float, soft: float) -> None:
        self.layer += np.asarray(cv2.GaussianBlur(drawn, (0, 0), soft * self.blur)) * np.float32(
            value
        )

    def ellipse(
        self, x: float, y: float, a: float, b: float, value: float, turn: float = 0, soft: float = 4
    ) -> None:
        rows, columns = self.shape
        drawn = np.zeros(self.shape, np.float32)
        middle, axes = (int(x * columns), int(y * rows)), (int(a * columns), int(b * rows))
        cv2.ellipse(drawn, middle, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)
        self._add(drawn, value, soft)

    def rod(
        self, points: list[tuple[float, float]], width: float, value: float, soft: float = 2
    ) -> None:
        rows, columns = self.shape
        drawn = np.zeros(self.shape, np.float32)
        line = np.array([(x * columns, y * rows) for x, y in points], np.int32)
        cv2.polylines(drawn, [line], False, 1.0, max(1, int(width * columns)), cv2.LINE_AA)
        self._add(drawn, value, soft)

    def film(self) -> Grey:
        passed = 1 - np.exp(-np.clip(self.layer, 0, None) * self.random.uniform(0.18, 0.32))
        grey = passed / passed.max() + self.random.normal(0, 0.012, self.shape)
        grey = np.clip(grey, 0, 1) ** self.random.uniform(0.7, 1.4) * self.random.uniform(0.8, 1)
        film: Grey = (grey * 255).astype(np.uint8)
        return film


def _lateral(on: _Canvas) -> None:
    on.ellipse(0.5, 0.55 + on.near(), 0.4 + on.near(), 0.62, 9)
    field = (0.25 + on.near(0.04), 0.33 + on.near(0.04))
    on.ellipse(0.52 + on.near(), 0.42 + on.near(), *field, -6, float(on.random.uniform(-8, 8)), 8)
    on.ellipse(0.36 + on.near(), 0.56 + on.near(), 0.15 + on.near(), 0.15 + on.near(), 3.5, 20, 8)
    on.ellipse(0.5, 0.98, 0.45, 0.25 + on.near(0.04), 5, 0, 8)
    for k in range(12):
        on.ellipse(0.74 + 0.02 * np.sin(k / 3), 0.1 + 0.075 * k, 0.05, 0.03, 3, 0, 2)
    on.ellipse(0.35, 0.08, 0.12, 0.12, 4, 0, 8)
    for k in range(8):
        on.rod(
            [(0.72, 0.14 + 0.07 * k), (0.55, 0.2 + 0.075 * k), (0.3, 0.28 + 0.07 * k)], 0.012, 0.8
        )


def _hand(on: _Canvas) -> None:
    on.ellipse(0.5, 0.68, 0.2, 0.2, 3, 0, 5)
    for across, tip in ((-0.28, 0.42), (-0.14, 0.14), (-0.02, 0.08), (0.1, 0.13), (0.21, 0.24)):
        finger = [(0.5 + across * 0.45, 0.62), (0.5 + across * 0.9 + on.near(), 0.4)]
        finger.append((0.5 + across * 1.15 + on.near(), tip))
        on.rod(finger, 0.08, 2.5, 3)
        on.rod(finger, 0.03, 3, 1.5)
    on.rod([(0.46, 0.8), (0.46, 1.0)], 0.06, 4)
    on.rod([(0.55, 0.8), (0.55, 1.0)], 0.05, 4)
    on.rod([(0.5, 0.7), (0.5, 1)], 0.2, 2.5, 5)


def _knee(on: _Canvas) -> None:
    on.rod([(0.5, -0.1), (0.5 + on.near(), 0.5), (0.5, 1.1)], 0.42 + on.near(0.08), 4, 10)
    on.rod([(0.5, -0.1), (0.5, 0.4)], 0.17, 4, 3)
    on.ellipse(0.5, 0.43, 0.17, 0.08, 4, 0, 3)
    on.ellipse(0.5, 0.58, 0.17, 0.07, 4, 0, 3)
    on.rod([(0.5, 0.58), (0.5, 1.1)], 0.14, 4, 3)
    on.rod([(0.68, 0.62), (0.67, 1.1)], 0.04, 3)


def _pelvis(on: _Canvas) -> None:
    on.ellipse(0.5, 0.5, 0.5, 0.6, 7, 0, 8)
    for s in (-1, 1):
        on.ellipse(0.5 + s * 0.25, 0.35, 0.16, 0.2, 3, s * 25, 5)
        on.ellipse(0.5 + s * 0.27, 0.62, 0.07, 0.07, 4, 0, 3)
        on.rod([(0.5 + s * 0.3, 0.64), (0.5 + s * 0.33, 1.05)], 0.1, 4, 3)
        on.ellipse(0.5 + s * 0.1, 0.72, 0.05, 0.07, -2, 0, 3)
    for k in range(5):
        on.ellipse(0.5, 0.06 + 0.08 * k, 0.07, 0.035, 3, 0, 2)
    _gas(on, 4, (0.3, 0.7), (0.1, 0.5))


def _skull(on: _Canvas) -> None:
    on.ellipse(0.5, 0.45, 0.33 + on.near(), 0.38 + on.near(), 4, 0, 3)
    on.ellipse(0.5, 0.45, 0.35, 0.4, 3, 0, 2)
    on.ellipse(0.5, 0.45, 0.31, 0.36, -2.5, 0, 2)
    for s in (-1, 1):
        on.ellipse(0.5 + s * 0.13, 0.52, 0.07, 0.06, -2.5, 0, 3)
    on.ellipse(0.5, 0.64, 0.04, 0.07, -2, 0, 3)
    on.ellipse(0.5, 0.82, 0.17, 0.1, 3)
    on.rod([(0.5, 0.85), (0.5, 1.05)], 0.25, 4, 6)


def _abdomen(on: _Canvas) -> None:
    on.ellipse(0.5, 0.5, 0.48, 0.7, 8, 0, 10)
    for k in range(10):
        on.ellipse(0.5, 0.05 + 0.1 * k, 0.07, 0.04, 3, 0, 2)
    _gas(on, 9, (0.2, 0.8), (0.1, 0.9))


def _gas(on: _Canvas, count: int, across: tuple[float, float], down: tuple[float, float]) -> None:
    for _ in range(count):
        x, y = on.random.uniform(*across), on.random.uniform(*down)
        a, b = on.random.uniform(0.03, 0.09), on.random.uniform(0.03, 0.07)
        on.ellipse(x, y, a, b, -on.random.uniform(1.5, 3.5), on.random.uniform(0, 90), 5)


def _shoulder(on: _Canvas) -> None:
    on.ellipse(0.35, 0.6, 0.5, 0.6, 7, 0, 15)
    on.ellipse(0.05, 0.75 + on.near(), 0.22 + on.near(0.04), 0.4, -5, 10, 8)
    on.ellipse(0.7, 0.38, 0.1, 0.09, 4, 0, 3)
    on.rod([(0.72, 0.4), (0.8 + on.near(0.05), 1.1)], 0.13, 4, 3)
    on.rod([(0.1, 0.25), (0.4, 0.2), (0.66, 0.22)], 0.06, 3)
    on.rod([(0.6, 0.35), (0.45, 0.8)], 0.08, 2.5, 4)


def _foot(on: _Canvas) -> None:
    on.ellipse(0.35, 0.6, 0.3, 0.13, 4, 15, 5)
    for k in range(5):
        on.rod(
            [(0.4, 0.55 + 0.03 * k), (0.65, 0.6 + 0.045 * k), (0.9, 0.62 + 0.06 * k)], 0.03, 3, 1.5
        )
    on.rod([(0.25, -0.1), (0.27 + on.near(), 0.5)], 0.2, 4, 5)
    on.rod([(0.25, -0.1), (0.27, 0.5)], 0.1, 3, 3)
    on.ellipse(0.2, 0.66, 0.13, 0.1, 3, 0, 3)


def _spine(on: _Canvas) -> None:
    on.rod([(0.5, -0.1), (0.5, 1.1)], 0.8 + on.near(0.1), 5, 15)
    bend = on.random.uniform(0, 6)
    for k in range(9):
        on.ellipse(0.5 + 0.08 * np.sin(k / 2.5 + bend), 0.04 + 0.12 * k, 0.1, 0.045, 4, 0, 2)


_DRAWERS = dict(
    zip(
        PARTS,
        (_lateral, _hand, _knee, _pelvis, _skull, _abdomen, _shoulder, _foot, _spine),
        strict=True,
    )
)

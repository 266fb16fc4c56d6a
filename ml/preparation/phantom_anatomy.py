"""The parts of a drawn chest: outlines in millimetres and layers of attenuation.

Owns the shapes behind ``ml.preparation.phantom``. Coordinates are mm from the picture's middle
column (x, to the right) and from its top (y, down), as seen on a frontal film: the patient's right
is at negative x. A layer is float32 (rows, columns) in centimetres of water that a ray passes. The
shapes follow the general anatomy of a chest film, not a real person's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Layer = NDArray[np.float32]
Points = NDArray[np.float64]

# One lung field of a chest 370 mm wide, beginning at the apex and going round laterally. The
# left one gives way to the heart.
_RIGHT_LUNG = np.array(
    [
        (-50, 56), (-78, 66), (-101, 96), (-117, 140), (-126, 190), (-130, 236), (-129, 268),
        (-112, 262), (-84, 246), (-54, 246), (-33, 258), (-32, 232), (-34, 204), (-29, 170),
        (-25, 138), (-25, 106), (-30, 74),
    ],
    dtype=np.float64,
)  # fmt: skip
_LEFT_LUNG = np.array(
    [
        (50, 56), (78, 66), (101, 96), (117, 140), (126, 190), (130, 240), (129, 274),
        (116, 268), (101, 258), (90, 251), (83, 240), (74, 218), (58, 196), (43, 176),
        (35, 152), (37, 132), (33, 106), (33, 74),
    ],
    dtype=np.float64,
)  # fmt: skip
_HEART = np.array(
    [
        (-26, 150), (-34, 188), (-39, 222), (-30, 254), (10, 268), (58, 266), (86, 252),
        (80, 228), (62, 200), (42, 176), (34, 156), (38, 132), (26, 116), (0, 112), (-22, 122),
    ],
    dtype=np.float64,
)  # fmt: skip
_CLAVICLE = np.array([(16, 84), (44, 80), (78, 62), (112, 50), (140, 46)], dtype=np.float64)
_SCAPULA = np.array(
    [(104, 62), (130, 74), (148, 100), (142, 140), (128, 184), (122, 150), (114, 104)],
    dtype=np.float64,
)


def smooth(points: Points, closed: bool = True, steps: int = 24) -> Points:
    """A Catmull-Rom curve through the points, ``steps`` samples per span."""
    if closed:
        p0, p1 = np.roll(points, 1, axis=0), points
        p2, p3 = np.roll(points, -1, axis=0), np.roll(points, -2, axis=0)
    else:
        padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
        p0, p1, p2, p3 = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


@dataclass(frozen=True)
class Canvas:
    """A grid of square pixels and the build of the person drawn on it."""

    rows: int
    columns: int
    mm: float  # pixel spacing
    stature: float  # 1 is the drawn size; smaller leaves more room around

    def pixel(self, points: Points) -> Points:
        """Millimetres to pixels, (0, 0) being the picture's top left corner."""
        scaled = points * self.stature / self.mm
        # The chest is centred in height: its drawn middle is at 176 mm.
        down = self.rows / 2 - 176 * self.stature / self.mm
        moved: Points = scaled + np.array([self.columns / 2, down])
        return moved

    def fill(self, outline: Points) -> NDArray[np.bool_]:
        """The pixels whose centre lies within a closed outline given in mm."""
        field = np.zeros((self.rows, self.columns), np.uint8)
        # Fixed-point corners (8 bits of fraction); OpenCV puts (0, 0) at a pixel's centre.
        fixed = np.rint((self.pixel(outline) - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(field, [fixed], 1, lineType=cv2.LINE_8, shift=8)
        return field.astype(np.bool_)

    def stroke(self, line: Points, width: float, soft: float = 0.5) -> Layer:
        """A line of ``width`` mm with blurred edges, 0..1."""
        field = np.zeros((self.rows, self.columns), np.uint8)
        fixed = np.rint((self.pixel(line) - 0.5) * 16).astype(np.int32)
        thickness = max(1, round(width * self.stature / self.mm))
        cv2.polylines(field, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
        return self.blur(field.astype(np.float32) / 255, soft)

    def blur(self, layer: NDArray[Any], mm: float) -> Layer:
        sigma = max(mm * self.stature / self.mm, 0.3)
        return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma), dtype=np.float32)

    def border(self, field: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pixels within three quarters of a millimetre of a field's border, at least one."""
        if not field.any():
            return field
        inside, outside = (
            cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) * self.mm
            for part in (field, ~field)
        )
        near: NDArray[np.bool_] = np.maximum(inside, outside) <= max(0.75, self.mm)
        return near

    def rounded(self, field: NDArray[np.bool_], edge_mm: float) -> Layer:
        """0..1: how deep a body with this shadow is, elliptic over ``edge_mm`` from its border."""
        inside = cv2.distanceTransform(field.astype(np.uint8), cv2.DIST_L2, 5)
        share = np.clip(inside * self.mm / (edge_mm * self.stature), 0, 1)
        return np.asarray(np.sqrt(1 - (1 - share) ** 2), dtype=np.float32)


def lung_outline(side: str) -> Points:
    """The outline of the pleural cavity's shadow on 'right' or 'left', in mm."""
    return smooth(_RIGHT_LUNG if side == "right" else _LEFT_LUNG)


def body(canvas: Canvas) -> Layer:
    """Soft tissue from front to back: neck, shoulders, trunk and the upper arms."""
    half = smooth(
        np.array(
            [
                (0, -80), (36, -80), (38, 0), (48, 26), (92, 36), (136, 42), (172, 58), (196, 96),
                (188, 130), (163, 150), (153, 190), (151, 240), (154, 330), (158, 470), (0, 470),
            ],
            dtype=np.float64,
        ),
        closed=False,
    )  # fmt: skip
    outline = np.vstack([half, half[::-1] * (-1, 1)])
    # Wider than the picture, so that its lower and side edges do not round the body off.
    pad = round(60 * canvas.stature / canvas.mm)
    wide = Canvas(canvas.rows + 4 * pad, canvas.columns + 4 * pad, canvas.mm, canvas.stature)
    depth = wide.rounded(wide.fill(outline), 120)[2 * pad : -2 * pad, 2 * pad : -2 * pad]
    height = np.linspace(0, 1, canvas.rows, dtype=np.float32)[:, None]
    # Below the domes lie liver, stomach and bowel.
    belly = 1 / (1 + np.exp(-(height - 0.72) / 0.05))
    return np.asarray(depth * (15.0 + 2.0 * height + 1.8 * belly), dtype=np.float32)


def lungs(canvas: Canvas, fields: list[NDArray[np.bool_]]) -> Layer:
    """Tissue that lung takes the place of (a quarter of it is blood and lung itself)."""
    layer = np.zeros((canvas.rows, canvas.columns), np.float32)
    for field in fields:
        layer += canvas.rounded(field, 34)
    return np.asarray(layer * (0.75 * 10.6), dtype=np.float32)


def mediastinum(canvas: Canvas) -> Layer:
    """Heart, great vessels and spine, less the air of the trachea."""
    bubble = canvas.fill(smooth(np.array([(66.0, 276.0), (96, 272), (104, 286), (76, 292)])))
    heart = canvas.blur(canvas.rounded(canvas.fill(smooth(_HEART)), 40), 1.2) * 3.2
    vessels = canvas.stroke(np.array([(-6.0, 40.0), (-6, 130)]), 34, 7.0) * 1.1
    knob = canvas.stroke(np.array([(20.0, 122.0), (27, 132)]), 24, 1.6) * 1.2
    spine = canvas.stroke(np.array([(0.0, -40.0), (0, 420)]), 30, 3.0) * 2.0
    discs = np.zeros_like(spine)
    for level in np.arange(20.0, 400.0, 21.0):
        discs += canvas.stroke(np.array([(-15.0, level), (15, level)]), 4.5, 1.2)
    trachea = canvas.stroke(np.array([(-1.0, -30.0), (-1, 60), (-3, 116)]), 15, 1.6) * 1.5
    bronchi = canvas.stroke(np.array([(-3.0, 114.0), (-26, 136)]), 9, 1.8) * 0.7
    bronchi += canvas.stroke(np.array([(-3.0, 114.0), (30, 142)]), 8, 1.8) * 0.7
    sum_ = heart + vessels + knob + spine - 0.7 * discs - trachea - bronchi
    sum_ -= canvas.blur(canvas.rounded(bubble, 10), 1.0) * 2.6
    return np.asarray(sum_, dtype=np.float32)


def bones(canvas: Canvas, random: np.random.Generator) -> Layer:
    """Ribs behind and in front, clavicles and shoulder blades, each with a denser rim."""
    layer = np.zeros((canvas.rows, canvas.columns), np.float32)
    t = np.linspace(0, 1, 40)
    for mirror in (-1, 1):
        for number in range(9):
            top = 58 + number * 21.5 + random.normal(0, 0.8)
            reach = 128 - 62 * np.exp(-number / 1.7) + random.normal(0, 1)
            droop = 24 + 4.6 * number
            x = 14 + (reach - 14) * np.sin(t * np.pi / 2)
            y = top - 7 * np.sin(np.pi * np.minimum(t * 1.4, 1)) + droop * t**2.4
            layer += _bone(canvas, np.stack([mirror * x, y], 1), 9.0, 1.35)
            if 1 <= number <= 6:
                # In front the rib comes back from the side wall, down and towards the middle.
                x = reach - (reach - 46 - 4 * number) * np.sin(t * np.pi / 2)
                y = top + droop + 4 + (26 + 2 * number) * t**1.3
                layer += _bone(canvas, np.stack([mirror * x, y], 1), 11.0, 0.6)
        clavicle = smooth(_CLAVICLE + random.normal(0, 0.8, _CLAVICLE.shape), closed=False)
        layer += _bone(canvas, clavicle * (mirror, 1), 11.0, 1.25)
        blade = canvas.fill(smooth(_SCAPULA) * (mirror, 1))
        layer += canvas.blur(canvas.rounded(blade, 9), 1.0) * 0.75
        head = np.array([(166.0, 74.0), (169, 78)])
        layer += canvas.stroke(head * (mirror, 1), 40, 2.0) * 1.7
    return layer


def _bone(canvas: Canvas, line: Points, width: float, density: float) -> Layer:
    marrow = canvas.stroke(line, width - 2.6, 0.7)
    return np.asarray((canvas.stroke(line, width, 0.6) - 0.45 * marrow) * density, np.float32)


def markings(canvas: Canvas, random: np.random.Generator) -> Layer:
    """Lung vessels: branches that leave the hilum and become finer on their way out."""
    layer = np.zeros((canvas.rows, canvas.columns), np.float32)
    for mirror in (-1, 1):
        hilum = np.array([mirror * 34.0, 148.0])
        for angle in np.linspace(-1.45, 1.5, 13):
            _branch(canvas, layer, random, hilum, (mirror, angle + random.normal(0, 0.08)), 3.8)
        root = hilum + np.array([(0, -14), (mirror * 6, 16)])
        layer += canvas.stroke(root, 16, 4.5) * 0.9
    return canvas.blur(layer, 0.5)


def _branch(
    canvas: Canvas,
    layer: Layer,
    random: np.random.Generator,
    start: Points,
    heading: tuple[int, float],
    width: float,
) -> None:
    """Draw one vessel into ``layer`` and, thinner, the two that it divides into."""
    mirror, angle = heading
    length = 13 + 7 * width + random.normal(0, 2)
    bend = angle + random.normal(0, 0.15)
    middle = start + 0.5 * length * np.array([mirror * np.cos(angle), np.sin(angle)])
    end = middle + 0.5 * length * np.array([mirror * np.cos(bend), np.sin(bend)])
    fixed = np.rint(canvas.pixel(np.stack([start, middle, end])) * 16).astype(np.int32)
    thickness = max(1, round(width * canvas.stature / canvas.mm))
    line = np.zeros((canvas.rows, canvas.columns), np.uint8)
    cv2.polylines(line, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
    # The larger of two, not their sum: where vessels meet they are one vessel.
    np.maximum(layer, line.astype(np.float32) * np.float32(0.24 * width / 255), out=layer)
    if width > 0.7:
        for spread in (-0.38, 0.34):
            turned = bend + spread + float(random.normal(0, 0.1))
            _branch(canvas, layer, random, end, (mirror, turned), width * 0.66)

"""The JPEG quality with which a set of pictures fits into so many bytes, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput

LEAST, MOST = 40, 97
SAMPLE = 120  # pictures from which the quality is estimated

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Encoded:
    """Pictures at one quality. Losses are in grey levels of 0..255: the mean absolute error over
    all pictures, and the root mean square of the picture that lost most; psnr: of all, dB."""

    quality: int
    files: list[bytes]
    mean_error: float
    worst_rms: float
    psnr: float

    def described(self) -> dict[str, float]:
        """The numbers, for a manifest."""
        return {
            "quality": self.quality,
            "mean_error_levels": round(self.mean_error, 3),
            "worst_picture_rms_levels": round(self.worst_rms, 3),
            "psnr_db": round(self.psnr, 2),
        }


def fitting(pictures: list[Grey], room: int) -> Encoded:
    """The pictures at the highest quality at which all of them take at most `room` bytes.

    BadInput where even the lowest (40) takes more: below it, thin pleural lines are lost.
    """
    step = max(1, len(pictures) // SAMPLE)
    sample, least, most = pictures[::step], LEAST, MOST
    while least < most:  # the highest quality that fits, estimated from the sample
        middle = (least + most + 1) // 2
        taken = sum(len(_jpeg(one, middle)) for one in sample) * len(pictures) / len(sample)
        least, most = (middle, most) if taken <= room else (least, middle - 1)
    for quality in range(least, LEAST - 1, -1):
        files = [_jpeg(one, quality) for one in pictures]
        if sum(map(len, files)) <= room:
            return _measured(pictures, files, quality)
    raise BadInput(
        f"{len(pictures)} pictures do not fit into {max(room, 0) / 1e6:.1f} MB at JPEG quality "
        f"{LEAST}: choose a smaller --size, or fewer --sources"
    )


def _jpeg(picture: Grey, quality: int) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    settings += [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    ok, encoded = cv2.imencode(".jpg", picture, settings)
    if not ok:
        raise ValueError("a picture could not be encoded")
    return encoded.tobytes()


def _measured(pictures: list[Grey], files: list[bytes], quality: int) -> Encoded:
    absolute, squares, pixels, worst = 0.0, 0.0, 0, 0.0
    for picture, data in zip(pictures, files, strict=True):
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
        error = np.asarray(decoded, dtype=np.float64) - picture
        absolute += float(np.abs(error).sum())
        square = float((error**2).sum())
        squares, pixels = squares + square, pixels + error.size
        worst = max(worst, (square / error.size) ** 0.5)
    psnr = 10 * np.log10(255**2 / max(squares / max(pixels, 1), 1e-12))
    return Encoded(quality, files, absolute / max(pixels, 1), worst, float(psnr))

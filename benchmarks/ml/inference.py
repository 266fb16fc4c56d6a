"""The serving path against plain eager PyTorch: same network, same pictures, one run, batch 1.

    python benchmarks/ml/inference.py [--weights DIR] [--count 30] PICTURES

Serving: the exported graph in OpenVINO, as the worker opens it. Plain: the same weights in eager
PyTorch, float32, its default memory layout. Eager: the same in channels_last, which is quicker. All
get the same input, in turn, picture by picture. Also: the Dice overlap of the outlines of serving
and plain at the model's threshold, over all pixels and as a mean over pictures (where outlines of a
pixel or two weigh like large ones), the largest differences of a pixel's and of an image's
probability, and the decode time of the files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

from ml.images.reader import Unreadable, read
from ml.inference import serving
from ml.runtime import session
from ml.runtime.torch_session import TorchSession


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of DICOM, PNG or JPEG files")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    card = session.read_card(session.locate(options.weights))
    threshold = float(card["thresholds"]["mask"])
    model = serving.open(options.weights, "cpu", options.threads)
    tensors = (session.locate(options.weights) / session.TENSORS).read_bytes()
    eager = TorchSession(card, tensors, "cpu")
    plain = TorchSession(card, tensors, "cpu", channels_last=False)

    decode, ours, theirs, plainly, overlaps = [], [], [], [], []
    of_maps, of_images = [], []
    files = sorted(path for path in options.pictures.rglob("*") if path.is_file())
    warm, all_shared, all_outlined = False, 0, 0
    for path in files[: options.count + 1]:
        began = time.perf_counter()
        try:
            picture = read(path.read_bytes())
        except (Unreadable, OSError) as error:
            print(f"left out: {path.name}: {error}", file=sys.stderr)
            continue
        decoded = time.perf_counter() - began
        view = model.prepare(picture.pixels).input[None, None]
        answers, seconds = [], []
        for engine in (model.network, eager, plain):
            began = time.perf_counter()
            answers.append(engine.run(view))
            seconds.append(time.perf_counter() - began)
        if not warm:
            warm = True
            continue  # the first run prepares both
        decode.append(decoded)
        ours.append(seconds[0])
        theirs.append(seconds[1])
        plainly.append(seconds[2])
        served, exact = answers[0], answers[2]
        first, second = (outputs[0][0] >= threshold for outputs in (served, exact))
        shared, total = 2 * int((first & second).sum()), int(first.sum() + second.sum())
        overlaps.append(shared / total if total else 1.0)
        all_shared, all_outlined = all_shared + shared, all_outlined + total
        of_maps.append(float(abs(served[0][0] - exact[0][0]).max()))
        of_images.append(abs(float(served[1][0]) - float(exact[1][0])))
    if not ours:
        print(f"fewer than two readable pictures in {options.pictures}", file=sys.stderr)
        return 1
    result = {
        "pictures": len(ours),
        "engine": model.device,
        "decode_ms": round(1e3 * statistics.median(decode), 1),
        "serving_ms": round(1e3 * statistics.median(ours), 1),
        "eager_ms": round(1e3 * statistics.median(theirs), 1),
        "plain_ms": round(1e3 * statistics.median(plainly), 1),
        "eager_ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
        "plain_ratio": round(statistics.median(plainly) / statistics.median(ours), 2),
        "dice_of_all_outlined_pixels": round(all_shared / max(all_outlined, 1), 4),
        "mean_dice_of_outlines": round(statistics.mean(overlaps), 4),
        "worst_dice_of_outlines": round(min(overlaps), 4),
        "largest_difference_of_a_pixel": round(max(of_maps), 6),
        "largest_difference_of_an_image": round(max(of_images), 6),
    }
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

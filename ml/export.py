"""From a checkpoint to what is shipped: `python -m ml export --checkpoint FILE --out DIR`.

Writes `<out>/<name>/` with `model.safetensors` (fp16), `model.xml` and `model.bin` (OpenVINO,
weights in fp16) and `card.json`, and names that folder in `<out>/CURRENT`. The network inside
the OpenVINO file already applies the sigmoids and the calibration.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openvino
import safetensors.torch
import torch
from torch import Tensor, nn

from ml import calibrate, data, heldout, model, session, transforms
from ml import config as configuration
from ml.calibrate import Calibration, Thresholds
from ml.config import Config

TERMS = (
    "SIIM-ACR Pneumothorax Segmentation Challenge data (Society for Imaging Informatics in "
    "Medicine and American College of Radiology, 2019; pictures from NIH ChestX-ray14), under "
    "their terms: research. The pictures are not part of this package."
)
LIMITS = [
    "Research use. Not a medical device; every result needs a radiologist's reading.",
    "Trained and measured on pictures of one hospital (NIH Clinical Center), frontal views of "
    "mostly adults, 8 bit, with disputed labels: two radiologist panels differ on about 15 % of "
    "shared pictures.",
    "A drained pneumothorax, skin folds, the scapula's border and subcutaneous air mislead it.",
    "The outline's area is that of a projection, not a volume.",
]


MEASURED = (
    "On held-out fold {fold}, no patient of which was trained on and which chose no checkpoint, "
    "with the float32 network on the cached pictures. `metrics`: temperature, bias and thresholds "
    "chosen on one half of the fold's patients and measured on the other, both ways round, pooled; "
    "positive_dice counts a picture that is not called positive as 0, positive_dice_ungated "
    "measures its outline all the same; auc and sensitivity_at_specificity_0.93 need no chosen "
    "number. Intervals: 95 %, 2,000 bootstrap draws of patients. `thresholds` and "
    "`calibration.temperature` and `.bias`, which ship, were chosen on the whole fold."
)
FILES = (session.TENSORS, session.GRAPH, session.GRAPH_WEIGHTS)


class Probabilities(nn.Module):
    """What is exported: picture → (mask probability, calibrated image probability)."""

    def __init__(self, net: model.Segmenter, calibration: Calibration, mirror: bool) -> None:
        super().__init__()
        self.net, self.calibration, self.mirror = net, calibration, mirror

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        mask, image_logit = model.answer(self.net, picture, self.mirror)
        calibrated = image_logit / self.calibration.temperature + self.calibration.bias
        return mask, calibrated.sigmoid()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of a run")
    parser.add_argument("--out", type=Path, default=session.WEIGHTS, help="folder of all models")
    parser.add_argument("--name", help="the model's name, instead of the recipe's")
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="average with the mirror image's answer, instead of what the recipe says",
    )
    parser.add_argument("--version", default="1", help="the model's version")
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder made by `prepare`: calibrate and choose thresholds on the held-out fold; "
        "without it the model ships uncalibrated and unmeasured, and its card says so",
    )


def run(args: argparse.Namespace) -> int:
    """Export one checkpoint and make it the current model."""
    content = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    config = configuration.from_dict(content["config"])
    if args.mirror is not None:
        config = dataclasses.replace(config, mirror=args.mirror)
    net = model.build(config, weights=False).eval()
    net.load_state_dict(content["average"])
    facts: dict[str, Any] = {
        "name": args.name or config.name,
        "version": args.version,
        "trained": {
            "date": datetime.fromtimestamp(args.checkpoint.stat().st_mtime, UTC).date().isoformat(),
            "minutes": round(content["elapsed"] / 60, 1),
            "epochs": content["epoch"],
            "config": configuration.to_dict(config),
        },
    }
    calibration, thresholds = Calibration(), Thresholds()
    limits = list(LIMITS)
    if args.cache and config.held_out_fold >= 0:
        net.load_state_dict(as_half(net))  # measure exactly what is shipped
        records = data.read_records(args.cache)
        seen, kept_aside = data.split(records, config.held_out_fold)
        tables = heldout.tables(net, data.Pictures.read(args.cache, kept_aside), config)
        calibration = calibrate.fit(tables.image_logits, tables.positive)
        thresholds = calibrate.choose(tables, calibration)
        facts |= heldout.report(tables)
        facts["measured"] = MEASURED.format(fold=config.held_out_fold)
        facts["data"] = {"counts": data.counts(seen, kept_aside)}
    else:
        limits.append("Neither calibrated nor measured: not for any use but building software.")
    folder = write(args.out, net, config, calibration, thresholds, facts, limits)
    (args.out / "CURRENT").write_text(folder.name + "\n", encoding="utf-8")
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def write(
    out: Path,
    net: model.Segmenter,
    config: Config,
    calibration: Calibration,
    thresholds: Thresholds,
    facts: dict[str, Any],
    limits: list[str],
) -> Path:
    """Write one model's folder; facts: the card's parts that do not follow from the rest."""
    folder = out / str(facts["name"])
    folder.mkdir(parents=True, exist_ok=True)
    half = as_half(net)
    net.load_state_dict(half)
    (folder / session.TENSORS).write_bytes(safetensors.torch.save(half))
    exported = to_openvino(net, config, calibration)
    openvino.save_model(exported, folder / session.GRAPH, compress_to_fp16=True)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    card = {
        **facts,
        "architecture": {
            "name": config.architecture,
            "encoder": config.encoder,
            "decoder_channels": list(config.decoder_channels),
            "outline_stride": config.outline_stride,
            "size": config.size,
        },
        "preprocessing": {
            "function": "ml.transforms.to_input",
            "grey": f"percentiles {transforms.PERCENTILES[0]} to {transforms.PERCENTILES[1]} "
            "of the picture become -1..1, more being denser",
            "geometry": f"letterbox on {config.size} x {config.size}, padding -1, by way of "
            f"{transforms.canonical_side(config.size)} px",
        },
        "thresholds": {
            "mask": thresholds.mask,
            "area_px_min": thresholds.area_px_min,
            "image": {
                "high_sensitivity": thresholds.high_sensitivity,
                "balanced": thresholds.balanced,
                "high_precision": thresholds.high_precision,
            },
        },
        "calibration": asdict(calibration) | facts.get("calibration", {}),
        "metrics": facts.get("metrics", {}),
        "data": {
            "what": "Chest X-rays with radiologists' outlines of pneumothorax (SIIM-ACR), and "
            "pictures of the same hospital judged as a whole by a radiologist panel",
            "counts": {},
            "folds": "five folds, no patient in two; held out: "
            + (f"fold {config.held_out_fold}" if config.held_out_fold >= 0 else "none"),
            "terms": TERMS,
            **facts.get("data", {}),
        },
        "limits": limits,
        "files": sums,
        "sha256": sums[session.TENSORS],
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / session.CARD).write_text(text, encoding="utf-8")
    return folder


def as_half(net: nn.Module) -> dict[str, Tensor]:
    """The network's state with every float in fp16; raises ValueError where that overflows."""
    state = {}
    for name, value in net.state_dict().items():
        half = value.half() if value.dtype.is_floating_point else value
        if not bool(torch.isfinite(half.float()).all()):
            raise ValueError(f"{name} does not fit into fp16")
        state[name] = half.contiguous()
    return state


def to_openvino(net: model.Segmenter, config: Config, calibration: Calibration) -> openvino.Model:
    """Input `picture` (N,1,S,S); outputs `mask_probability`, `image_probability`."""
    example = torch.zeros(1, 1, config.size, config.size)
    plain = (
        Probabilities(net, calibration, config.mirror)
        .eval()
        .to(memory_format=torch.contiguous_format)
    )
    exported = openvino.convert_model(plain, example_input=example)
    exported.reshape({0: [-1, 1, config.size, config.size]})
    exported.input(0).set_names({"picture"})
    for output, name in zip(
        exported.outputs, ("mask_probability", "image_probability"), strict=True
    ):
        output.set_names({name})
    return exported

"""Pictures and decisions in TensorBoard, for looking at a run while it trains.

Owns the few fixed pictures and what is logged of them after each epoch: the averaged network's
probability map, its image probability and whether that calls the picture (at 0.5, not calibrated).
Once: the input and the radiologists' outline. Also the statistics of the tensors that an epoch
began with. Losses are logged by `run_log`. Nothing here changes what is trained.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torch.utils.tensorboard import SummaryWriter

from ml.datasets import dataset
from ml.datasets.catalogue import Record
from ml.network import model, precision
from ml.recipe import Recipe
from ml.training import batches

CALLED = 0.5


class Board:
    """The log of one run; `pictures` are those to choose `count` of."""

    def __init__(self, out: Path, pictures: dataset.Pictures, recipe: Recipe, count: int) -> None:
        self._recipe = recipe
        self._writer = SummaryWriter(str(out))
        numbers = chosen(pictures.records, count)
        self._records = [pictures.records[number] for number in numbers]
        shown = dataset.PlainPictures(pictures, recipe)
        self._batch = default_collate([shown[number] for number in numbers])
        for record, picture, mask in zip(
            self._records, self._batch["picture"], self._batch["mask"], strict=True
        ):
            self._writer.add_image(f"{record.id}/input", (picture + 1) / 2, 0)
            self._writer.add_image(f"{record.id}/outline", mask[:1], 0)

    def inputs(self, pictures: Tensor, step: int) -> None:
        """Mean, deviation, least, most and distribution of a pass's tensors (N, 1, S, S)."""
        values = pictures.detach().float().cpu()
        deviation, mean = torch.std_mean(values)
        for name, value in (
            ("mean", mean),
            ("deviation", deviation),
            ("least", values.min()),
            ("most", values.max()),
        ):
            self._writer.add_scalar(f"input/{name}", float(value), step)
        self._writer.add_histogram("input/values", values, step)

    @torch.no_grad()
    def answers(self, net: model.Network, step: int, device: torch.device) -> None:
        """The network's maps and decisions for the fixed pictures."""
        net.eval()
        with precision.autocast(self._recipe, device):
            mask_logits, image_logits = net(batches.to(device, self._batch)["picture"])
        maps = mask_logits.float().sigmoid().cpu()
        probabilities = image_logits.float().sigmoid().cpu()
        lines = [
            "| picture | shows it | probability | called | outlined |",
            "|---|---|---|---|---|",
        ]
        for number, record in enumerate(self._records):
            self._writer.add_image(f"{record.id}/map", maps[number, :1], step)
            probability = float(probabilities[number, 0])
            self._writer.add_scalar(f"{record.id}/probability", probability, step)
            share = float((maps[number, 0] >= CALLED).float().mean())
            called = "yes" if probability >= CALLED else "no"
            shows = "yes" if record.positive else "no"
            lines.append(
                f"| {record.id} | {shows} | {probability:.3f} | {called} | {100 * share:.2f} % |"
            )
        self._writer.add_text("decisions", "\n".join(lines), step)
        self._writer.flush()


def chosen(records: list[Record], count: int) -> list[int]:
    """The numbers of `count` pictures, half of them outlined where there are as many.

    Always the same ones: by a digest of their names.
    """
    order = np.argsort([hashlib.sha256(record.id.encode()).hexdigest() for record in records])
    outlined = [int(number) for number in order if records[number].outlined]
    others = [int(number) for number in order if not records[number].outlined]
    first = outlined[: max(-(-count // 2), count - len(others))]
    return sorted(first + others[: count - len(first)])

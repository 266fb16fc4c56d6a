"""A run's log: `log.csv`, one line per epoch, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

LOG = "log.csv"
COLUMNS = (
    "epoch", "step", "minutes", "size", "positive_share", "rate", "mask_loss", "image_loss",
    "patch_loss", "seconds", "pictures_per_second", "positive_dice", "auc",
)  # fmt: skip


def open(out: Path) -> Callable[[dict[str, float]], None]:
    """A function that writes one epoch's row."""
    board = _board(out)

    def write(row: dict[str, float]) -> None:
        _append(out / LOG, row)
        board(row)

    return write


def last(out: Path) -> dict[str, str]:
    """The last epoch's row of a run's log; empty where there is none."""
    path = out / LOG
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return next(iter(reversed(list(csv.DictReader(file)))), {})


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


def _board(out: Path) -> Callable[[dict[str, float]], None]:
    """Writes a row to TensorBoard, or does nothing where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    writer = SummaryWriter(str(out))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return write

"""How often a run reports and saves itself, and the moment by which it ends.

For long runs on a machine that is lent for minutes: `train` alone reports and saves after every
epoch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Pace:
    """report: seconds between lines of progress, 0 for none. save: least seconds between two
    checkpoints, 0 for one after every epoch. deadline: of time.monotonic(), None for the recipe's
    own length."""

    report: float = 0.0
    save: float = 0.0
    deadline: float | None = None
    _reported: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)
    _pictures: int = 0

    def length(self, minutes: float, elapsed: float) -> float:
        """A run's length in seconds: what was trained before and what is left to the deadline."""
        if self.deadline is None:
            return 60 * minutes
        return max(elapsed + self.deadline - time.monotonic(), 1e-3)

    def is_save_due(self) -> bool:
        """Whether a checkpoint is to be written; it counts as written from here on."""
        if time.monotonic() - self._saved < self.save:
            return False
        self._saved = time.monotonic()
        return True

    def step(self, pictures: int, sums: Tensor, taken: int, progress: float, place: str) -> None:
        """Count a step's pictures and, when it is time, print a line of progress.

        sums: of the losses of mask, image and patches over `taken` steps of this epoch. The mean is
        only computed for a line: on a GPU it waits for all that was queued.
        """
        self._pictures += pictures
        if not self.report or time.monotonic() - self._reported < self.report:
            return
        mask, image, patch = (sums / taken).tolist()
        now = time.monotonic()
        speed = self._pictures / (now - self._reported)
        memory = ""
        if sums.is_cuda:
            memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        print(
            f"{progress:6.1%}  {place}: mask {mask:.3f}, image {image:.3f}, patch {patch:.3f}; "
            f"{speed:.1f} pictures/s{memory}",
            flush=True,
        )
        self._reported, self._pictures = now, 0

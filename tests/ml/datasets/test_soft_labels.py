"""Soft labels: mixed with a picture's own targets."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import soft_labels  # noqa: E402

pytestmark = pytest.mark.torch


def item(label: float, masked: bool) -> dict[str, torch.Tensor]:
    mask = torch.zeros(1, 4, 4)
    mask[0, :2] = float(masked)
    positive = torch.tensor(label)
    return {"mask": mask, "positive": positive, "label": positive, "outlined": positive}


def test_people_and_teachers_share_the_targets_by_their_weights() -> None:
    soft = np.full((4, 4), 0.8, dtype=np.float32)
    mix = soft_labels.mix(item(1, True), soft, 0.6, outlined=True, labelled=True, weight=0.25)
    torch.testing.assert_close(mix["mask"][0, 0], torch.full((4,), 0.95))
    torch.testing.assert_close(mix["mask"][0, 3], torch.full((4,), 0.2))
    assert float(mix["label"]) == pytest.approx(0.9)
    assert (float(mix["positive"]), float(mix["outlined"])) == (1, 1)


def test_without_labels_of_people_the_teachers_count_alone() -> None:
    soft = np.zeros((4, 4), dtype=np.float32)
    soft[1, 1] = 0.9
    # Judged positive, not outlined: the label is shared, the outline is the teachers'.
    panel = soft_labels.mix(item(1, False), soft, 0.5, outlined=False, labelled=True, weight=0.5)
    assert float(panel["label"]) == 0.75
    assert float(panel["outlined"]) == 1
    torch.testing.assert_close(panel["mask"][0], torch.from_numpy(soft))
    nobody = soft_labels.mix(
        item(0, False), soft * 0.5, 0.7, outlined=False, labelled=False, weight=0.1
    )
    assert float(nobody["label"]) == pytest.approx(0.7)
    assert (float(nobody["positive"]), float(nobody["outlined"])) == (1, 0)

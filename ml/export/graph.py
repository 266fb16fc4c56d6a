"""A network as the graph that is shipped: sigmoids, calibration and the mirror image inside."""

from __future__ import annotations

from pathlib import Path

import openvino
import torch
from torch import Tensor, nn

from ml.metrics.calibration import Calibration
from ml.network import model
from ml.recipe import Recipe
from ml.runtime import session


class Probabilities(nn.Module):
    """The exported network: picture → mask probabilities (N,C,S,S), image probabilities (N,C);
    then, where the recipe trains them, patches; then, of two readings, their differences.

    The first class, by which serving decides, is calibrated; others are not. The outputs after the
    first two are of the first class alone.
    """

    def __init__(self, net: model.Network, calibration: Calibration, recipe: Recipe) -> None:
        super().__init__()
        self.net, self.calibration = net, calibration
        self.mirror, self.patches = recipe.mirror, recipe.patch_weight > 0

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs of forward: those of `session.OUTPUTS` that the model has."""
        mask, image, patch, *differences = session.OUTPUTS
        return [mask, image, *([patch] * self.patches), *(differences * self.mirror)]

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        found = model.readings(self.net, picture, self.mirror)
        first = found.image_logits[:, 0] / self.calibration.temperature + self.calibration.bias
        logits = first.mean(1, keepdim=True)
        if found.image_logits.shape[1] > 1:
            logits = torch.cat([logits, found.image_logits[:, 1:].mean(2)], dim=1)
        answer = [found.mask, logits.sigmoid()]
        if self.patches:
            answer.append(found.patch[:, :1])
        if found.difference is not None:
            alone = first.sigmoid()
            answer += [(alone[:, :1] - alone[:, 1:]).abs(), found.difference[:, :1]]
        return tuple(answer)


def save(graph: openvino.Model, folder: Path) -> None:
    """Write the graph and its weights, in float32.

    The tensors are fp16 already. The graph's weights are not theirs: batch norms are folded into
    them, and rounding those once more moves a map by up to 0.013 of probability on 12 real X-rays.
    """
    openvino.save_model(graph, folder / session.GRAPH, compress_to_fp16=False)


def to_openvino(net: model.Network, recipe: Recipe, calibration: Calibration) -> openvino.Model:
    """Input `picture` (N,1,S,S); outputs by the names of `session.OUTPUTS`, in that order.

    Patches are there where the recipe trains them, the last two where the model predicts on the
    mirror image as well.
    """
    example = torch.zeros(1, 1, recipe.size, recipe.size)
    plain = Probabilities(net, calibration, recipe).eval().to(memory_format=torch.contiguous_format)
    exported = openvino.convert_model(plain, example_input=example)
    exported.reshape({0: [-1, 1, recipe.size, recipe.size]})
    exported.input(0).set_names({"picture"})
    for output, name in zip(exported.outputs, plain.outputs, strict=True):
        output.set_names({name})
    return exported

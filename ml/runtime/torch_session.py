"""The back end of a GPU, or of a CPU without OpenVINO: the network itself in torch."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from ml.runtime.session import (
    Answer,
    Floats,
    ModelMissing,
    Precision,
    Session,
    check_shape,
)


class TorchSession(Session):
    """The network, rebuilt from the recipe on its card and filled with its tensors.

    precision bf16 and fp16 by autocast: weights and outputs stay float32. Raises ModelMissing
    where a package or the GPU is missing, or where the tensors are not those of the recipe.
    """

    def __init__(
        self,
        card: dict[str, Any],
        tensors: bytes,
        place: Literal["cuda", "cpu"],
        channels_last: bool = True,
        precision: Precision = "f32",
        threads: int = 0,
    ) -> None:
        try:
            import safetensors.torch
            import torch

            from ml.network import model
            from ml.recipe import Recipe
        except ModuleNotFoundError as error:
            raise ModelMissing(
                f"a model in torch needs {error.name}: install it with `pip install .[worker-gpu]`"
            ) from error

        if place == "cuda" and not torch.cuda.is_available():
            raise ModelMissing(
                "torch sees no GPU on this machine: does `nvidia-smi` list one, and was the "
                "container given it? (device cpu needs none)"
            )
        if threads:
            torch.set_num_threads(threads)
        self._torch, self._place = torch, place
        self._type = {"f32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        named = f"the model {card.get('name')}"
        try:
            recipe = Recipe.from_dict(card["trained"]["config"])
            net = model.build(recipe, weights=False)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMissing(f"{named} has no usable recipe on its card: {error}") from error
        try:
            state = {name: value.float() for name, value in safetensors.torch.load(tensors).items()}
            net.load_state_dict(state)
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise ModelMissing(
                f"the weights of {named} are not of the architecture on its card"
            ) from error
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        net.eval().to(place).to(memory_format=self._layout)
        self._patches = recipe.patch_weight > 0
        self._readings = functools.partial(model.readings, net, mirror=recipe.mirror)
        calibration = card.get("calibration") or {}
        self._temperature = float(calibration.get("temperature", 1.0))
        self._bias = float(calibration.get("bias", 0.0))
        name = f" {torch.cuda.get_device_name()}" if place == "cuda" else ""
        super().__init__(card, f"{place} torch {precision}{name}", recipe.size)

    def _precision(self) -> AbstractContextManager[Any]:
        if self._type is None:
            return nullcontext()
        return self._torch.autocast(self._place, self._type)

    def answer(self, inputs: Floats) -> Answer:
        check_shape(inputs, self.size)
        torch = self._torch
        with torch.inference_mode():
            batch = torch.from_numpy(inputs).to(self._place, memory_format=self._layout)
            with self._precision():
                found = self._readings(batch)
            first = found.image_logits[:, 0] / self._temperature + self._bias
            others = found.image_logits[:, 1:].mean(2).sigmoid()
            images = torch.cat([first.mean(1, keepdim=True).sigmoid(), others], dim=1)
            outputs = [found.mask, images, found.patch if self._patches else None, None, None]
            if found.difference is not None:
                alone = first.sigmoid()
                outputs[3:] = (alone[:, :1] - alone[:, 1:]).abs(), found.difference
            return Answer.of_outputs(
                [None if one is None else one.float().cpu().numpy() for one in outputs]
            )

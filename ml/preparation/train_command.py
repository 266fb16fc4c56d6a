"""The command `python -m ml train`: from a cache, or from a cohort that a portal has frozen.

A cohort (`python -m portal cohort freeze`) is trained on as it is: its files are compared with the
digests of its manifest, and the cache that training reads is made of them once, in the run's
folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from ml.errors import BadInput
from ml.preparation import prepare
from ml.recipe import Recipe
from ml.training import train

FORMAT = "pleura-cohort"
MANIFEST, TOMBSTONES = "manifest.json", "tombstones.json"
# The cache of a cohort, in the folder of the run; the file holds the manifest's SHA-256.
CACHE, MADE_OF = "cache", "cohort.sha256"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    train.add_arguments(parser)
    for action in parser._actions:
        if action.dest == "cache":
            action.help = "folder made by `prepare`, or a cohort that a portal has frozen"
    parser.epilog = (
        "From a file of `python -m ml bundle` instead: `train --bundle FILE --minutes N`, whose "
        "own options `train --bundle FILE --help` lists."
    )


def run(args: argparse.Namespace) -> int:
    """Train, or continue training, until the recipe's end."""
    if (args.cache / MANIFEST).is_file():
        args.cache = cache_of(args.cache, args.out, Recipe.load(args.recipe))
    return train.run(args)


def cache_of(cohort: Path, out: Path, recipe: Recipe) -> Path:
    """The cache of a cohort for runs in this folder, made unless it is there.

    BadInput where the folder is no cohort, or is not as it was frozen.
    """
    digest = check(cohort)
    cache = out / CACHE
    made_of = cache / MADE_OF
    if made_of.is_file():
        if made_of.read_text("ascii").strip() != digest:
            raise BadInput(f"{out} was trained on another cohort: choose another --out")
        return cache
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    words = ["--rle", cohort / "siim.csv", "--dicom", cohort / "images"]
    words += ["--index", cohort / "index.csv", "--out", cache, "--size", recipe.size]
    chosen = parser.parse_args([str(word) for word in words])
    chosen.lungs = recipe.crop == "lungs"
    if prepare.run(chosen) != 0:
        raise BadInput(f"some pictures of {cohort} could not be read")
    made_of.write_text(digest + "\n", "ascii")
    return cache


def check(cohort: Path) -> str:
    """The SHA-256 of a cohort's manifest, once every file is as it states, or as a tombstone does;
    BadInput for the first that is not.
    """
    data = (cohort / MANIFEST).read_bytes()
    manifest = _json(data, cohort / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BadInput(f"{cohort / MANIFEST} is not the manifest of a cohort")
    stones: dict[str, Any] = {}
    if (cohort / TOMBSTONES).is_file():
        stones = _json((cohort / TOMBSTONES).read_bytes(), cohort / TOMBSTONES)
    removed, rewritten = set(stones.get("removed", ())), stones.get("rewritten", {})
    for name, stated in manifest["files"].items():
        if name in removed:
            continue
        found = hashlib.sha256((cohort / name).read_bytes()).hexdigest()
        if found != rewritten.get(name, stated["sha256"]):
            raise BadInput(f"{cohort / name} is not as it was frozen")
    # What was taken out makes another data set.
    return hashlib.sha256(data + json.dumps(rewritten, sort_keys=True).encode()).hexdigest()


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        read = json.loads(data)
    except ValueError:
        raise BadInput(f"{path} can't be read") from None
    return dict(read)

"""The command `python -m ml bundle`: a cache and recipes as one file for a training machine.

The machine needs no network, no installation of this package and no copy of the repository: see
ml.bundle.bundled_run. The file holds patients' pictures: it goes to that machine alone, and is
deleted there.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml import cli_options, output_places
from ml.bundle import code, contents, jpeg_quality
from ml.datasets import catalogue, dataset
from ml.datasets.catalogue import Record
from ml.errors import BadInput
from ml.preprocessing import transforms
from ml.recipe import SOURCES, Recipe

Grey = NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument(
        "--recipe",
        type=Path,
        required=True,
        action="append",
        help="TOML file, see ml/recipes; repeatable: a run takes the first unless it names another",
    )
    parser.add_argument("--out", type=Path, required=True, help="the bundle, such as siim.bundle")
    parser.add_argument(
        "--size",
        type=cli_options.within(int, 32, 4096),
        default=transforms.CANONICAL_SIDE,
        help="longest side of the packed pictures, px (default: 512)",
    )
    parser.add_argument(
        "--megabytes",
        type=cli_options.within(float, 0.1, 10**6),
        default=60.0,
        help="the most that the file may take, in 1,000,000 bytes; the JPEG quality follows from "
        "it (default: 60)",
    )
    parser.add_argument(
        "--sources",
        default="",
        help="labels that are packed, of those that the recipes train on, as masks,pseudo "
        "(default: all of these)",
    )


def run(args: argparse.Namespace) -> int:
    """Pack, and print what was lost."""
    recipes = [Recipe.load(path) for path in args.recipe]
    _check(recipes)
    records = chosen(catalogue.read_records(args.cache), recipes, _sources(args.sources))
    output_places.check_file(args.out)
    described = pack(args.cache, records, args.recipe, args.out, args.size, args.megabytes)
    print(json.dumps(described, indent=2))
    return 0


def chosen(
    records: list[Record], recipes: list[Recipe], sources: tuple[str, ...] = SOURCES
) -> list[Record]:
    """The pictures that the recipes train on or hold out, of these sources."""
    wanted = {source for recipe in recipes for source in recipe.sources} & set(sources)
    hidden = any(recipe.hidden for recipe in recipes)
    found = [r for r in records if r.source in wanted and (hidden or r.source != "unlabelled")]
    if not found:
        raise BadInput("the cache has no picture that these recipes train on")
    for recipe in recipes:
        catalogue.check_crop(found, recipe)
    return found


def pack(
    cache: Path,
    records: list[Record],
    recipes: list[Path],
    out: Path,
    size: int,
    megabytes: float,
) -> dict[str, object]:
    """Write the bundle, and return its manifest with the file's size.

    The quality of the pictures is the highest with which the file takes at most `megabytes`.
    """
    loaded = [Recipe.load(path) for path in recipes]
    small: dict[str, bytes] = {contents.START: contents.STARTER.encode()}
    small |= dict(code.own_modules())
    small |= {
        f"{contents.RECIPES}{recipe.name}.toml": path.read_bytes()
        for recipe, path in zip(loaded, recipes, strict=True)
    }
    large = {f"{contents.WHEELS}{name}": data for name, data in map(code.wheel, code.DISTRIBUTIONS)}
    if any(recipe.pretrained == "efficientnet-lite2" for recipe in loaded):
        large[contents.IMAGENET] = _imagenet()
    pictures = []
    for record in tqdm(records, desc="reading", unit="picture", leave=False, disable=None):
        pictures.append(_reduced(dataset.Pictures.read_one(cache, record), size))
        if (mask := dataset.Pictures.read_mask(cache, record)) is not None:
            reduced = _reduced(mask, size) > 127
            large[f"{contents.MASKS}{record.id}.png"] = _png(reduced)
    manifest: dict[str, object] = {
        "format": contents.FORMAT,
        "recipes": [recipe.name for recipe in loaded],
        "side": size,
        "pictures": len(records),
        "outlined": sum(record.outlined for record in records),
        "patients": len({record.patient for record in records}),
        "jpeg": {},
    }
    small[contents.RECORDS] = _table(records, out.parent)
    rest = _written(
        out, small, large | {f"{contents.PICTURES}{r.id}.jpg": b"" for r in records}, manifest
    )
    # Room for the manifest's own numbers.
    encoded = jpeg_quality.fitting(pictures, int(megabytes * 1e6) - rest - 1000)
    manifest["jpeg"] = encoded.described()
    large |= {
        f"{contents.PICTURES}{record.id}.jpg": data
        for record, data in zip(records, encoded.files, strict=True)
    }
    return manifest | {"megabytes": round(_written(out, small, large, manifest) / 1e6, 2)}


def _check(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        if recipe.taught or len(recipe.classes) > 1 or recipe.members > 1:
            raise BadInput(f"{recipe.name}: a bundle has no soft labels and one class of masks")
        if recipe.pretrained == "imagenet":
            raise BadInput(f"{recipe.name} downloads its ImageNet weights, without a network")
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise BadInput("two of the recipes have the same name")


def _sources(text: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in text.split(",") if part.strip()) or SOURCES
    if unknown := set(named) - set(SOURCES):
        raise BadInput(f"no source {', '.join(sorted(unknown))}: {', '.join(SOURCES)}")
    return named


def _reduced(picture: Grey, size: int) -> Grey:
    """A canonical picture, or a mask, with a longest side of at most `size`."""
    rows, columns = picture.shape
    scale = size / max(rows, columns)
    if scale >= 1:
        return picture
    shape = max(1, round(rows * scale)), max(1, round(columns * scale))
    reduced: Grey = np.rint(transforms.resize(picture.astype(np.float32), *shape)).astype(np.uint8)
    return reduced


def _png(mask: NDArray[np.bool_]) -> bytes:
    """A mask, 0 or 255, with one bit for a pixel."""
    settings = [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9]
    ok, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255, settings)
    if not ok:
        raise ValueError("a mask could not be encoded")
    return encoded.tobytes()


def _imagenet() -> bytes:
    """The encoder's ImageNet weights in half precision, without the classifier."""
    import torch

    from ml.network import imagenet

    kept = {
        name: value.half() if value.dtype.is_floating_point else value
        for name, value in imagenet.weights().items()
        if not name.startswith("_fc.")
    }
    content = io.BytesIO()
    torch.save(kept, content)
    return content.getvalue()


def _table(records: list[Record], beside: Path) -> bytes:
    """The catalogue of these pictures."""
    with tempfile.TemporaryDirectory(dir=beside) as folder:
        catalogue.write_records(Path(folder), records)
        return (Path(folder) / catalogue.RECORDS).read_bytes()


def _written(
    out: Path, small: dict[str, bytes], large: dict[str, bytes], manifest: dict[str, object]
) -> int:
    """Write the file beside the old one, replace it, and return its size in bytes.

    small: compressed; large: stored as it is, since its formats are compressed.
    """
    fresh = out.with_name(f"{out.name}.new")
    with zipfile.ZipFile(fresh, "w") as archive:
        code.add(archive, contents.MANIFEST, json.dumps(manifest, indent=2).encode())
        for name, data in small.items():
            code.add(archive, name, data, compress=True)
        for name, data in large.items():
            code.add(archive, name, data)
    os.replace(fresh, out)
    return out.stat().st_size

"""Make the cache that training reads: `python -m ml prepare --rle CSV --dicom DIR --out CACHE`.

Outlines come as the competition's table (`--rle`) or as a mask PNG for each picture (`--masks`).
Every picture is read, reduced and scaled once, by the functions that serving uses; see
ml.datasets.dataset for the cache's layout. The cache holds patients' pictures: keep it out of the
repository. A picture that cannot be cached is listed with its reason, the others are cached, and
the exit code is 3. Problems of the data (see ml.preparation.data_checks) are printed and written
into the cache as checks.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from ml import cli_options, output_places
from ml.datasets import catalogue, dataset
from ml.datasets.catalogue import Record, write_records
from ml.errors import BadInput
from ml.evaluation.evaluate import INCOMPLETE
from ml.inference import severity
from ml.preparation import cached_picture, data_checks, selection
from ml.preparation.cached_picture import Cached, Source
from ml.preparation.data_checks import Findings
from ml.preparation.selection import Selection
from ml.preprocessing import image_statistics, transforms
from ml.runtime import lung_finder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    outlines = parser.add_mutually_exclusive_group(required=True)
    outlines.add_argument("--rle", type=Path, help="CSV: ImageId, EncodedPixels")
    outlines.add_argument(
        "--masks", type=Path, help="folder of mask PNGs named like their pictures: lung fields"
    )
    parser.add_argument(
        "--dicom", type=Path, required=True, help="folder of DICOM, PNG or JPEG named by ImageId"
    )
    parser.add_argument(
        "--index",
        type=Path,
        help="CSV: ImageId, patient; and fold, view, sex, age where known; without it every "
        "picture is its own patient",
    )
    parser.add_argument(
        "--panel", type=Path, help="folder of pictures with an image-level label, but no outline"
    )
    parser.add_argument(
        "--panel-index",
        type=Path,
        help="CSV: id, label, pneumothorax, patient; rows labelled 'radiologist panel' are taken",
    )
    parser.add_argument(
        "--reports",
        action="store_true",
        help="also take the panel's rows labelled 'text-mined' from reports: many, some wrong",
    )
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="also take the panel's rows without a label ('none'), for soft labels of teachers",
    )
    parser.add_argument(
        "--pseudo",
        type=Path,
        help="folder of pictures that models outlined, of unknown patients: only ever trained on",
    )
    parser.add_argument(
        "--pseudo-masks", type=Path, help="folder of their mask PNGs, named like the pictures"
    )
    parser.add_argument(
        "--lungs",
        action="store_true",
        help="find the lungs of every picture, for recipes that crop to them, and the size class "
        "of every outline",
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="another class: a CSV like that of --rle, which lists every picture, or a folder of "
        "mask PNGs, where a picture without one has none of it; repeatable",
    )
    parser.add_argument(
        "--png",
        type=Path,
        metavar="FOLDER",
        help="also write every picture as an 8-bit PNG of its own size into FOLDER/pictures, and "
        "the outline of every picture that has a label into FOLDER/masks (0 or 255), for other "
        "programs",
    )
    parser.add_argument("--out", type=Path, required=True, help="the cache's folder")
    parser.add_argument(
        "--size",
        type=cli_options.within(int, 32, 4096),
        default=384,
        help="largest network input to train from it, px",
    )
    parser.add_argument(
        "--workers",
        type=cli_options.within(int, 1, 1024),
        default=os.cpu_count() or 1,
        help="processes that read pictures (default: one for each core)",
    )


def run(args: argparse.Namespace) -> int:
    """Read every picture of the tables and write the cache; 3 where some could not be read."""
    _check_options(args)
    chosen = select(args)
    others = [f"masks-{name}" for name in chosen.also]
    for folder in (args.out, args.png):
        for name in ("pictures", "masks", *others) if folder else ():
            output_places.check_folder(folder / name)
    for file in (catalogue.RECORDS, data_checks.FILE):
        output_places.check_file(args.out / file)
    side = transforms.canonical_side(args.size, args.lungs)
    sources = sources_of(chosen, args.out, side, args.png)
    if not sources:
        raise BadInput(f"no picture of {args.rle or args.masks} is in {args.dicom}")
    cached = cache_all(sources, args.workers)
    findings = Findings(contradictory=_contradictions(chosen))
    records = records_of(chosen, sources, cached, findings)
    if not records:
        raise BadInput("no picture could be cached")
    records = data_checks.joined(records, findings)
    if args.lungs:
        records = with_lungs(args.out, records)
    write_records(args.out, records)
    findings.write(args.out)
    for line in findings.lines():
        print(line, file=sys.stderr)
    missing = len(chosen.labels) - len(sources)
    failed = sum(isinstance(one, str) for one in cached)
    print(f"{len(records)} pictures in {args.out}; {missing} had no file, {failed} failed")
    return INCOMPLETE if failed else 0


def _check_options(args: argparse.Namespace) -> None:
    """BadInput for half of a pair of options."""
    if (args.panel is None) != (args.panel_index is None):
        raise BadInput("--panel and --panel-index belong together")
    if (args.pseudo is None) != (args.pseudo_masks is None):
        raise BadInput("--pseudo and --pseudo-masks belong together")
    if args.also and (args.panel or args.pseudo):
        raise BadInput(
            "--also is for outlined pictures alone, without --panel and --pseudo: every picture "
            "needs a label for every class"
        )


def select(args: argparse.Namespace) -> Selection:
    """The pictures of all tables and folders that the options name."""
    if args.rle:
        chosen = selection.outlined_by_table(args.rle, args.dicom, args.index)
    else:
        chosen = selection.outlined_by_masks(args.masks, args.dicom, args.index)
    for text in args.also:
        name, _, path = text.partition("=")
        chosen.add_class(name, Path(path))
    if args.panel:
        chosen.add_panel(args.panel, args.panel_index, args.reports, args.unlabelled)
    if args.pseudo:
        chosen.add_pseudo(args.pseudo, args.pseudo_masks)
    return chosen


def sources_of(chosen: Selection, cache: Path, side: int, png: Path | None = None) -> list[Source]:
    """The pictures that have a file; side: longest side of a cached picture, px; png: see --png."""
    return [
        Source(
            name,
            path,
            tuple(chosen.texts.get(name, ())),
            chosen.masks.get(name),
            side,
            cache,
            chosen.listed.get(name, {}),
            {other: found[name] for other, found in chosen.also.items() if name in found},
            png,
        )
        for name, path in chosen.files().items()
    ]


def cache_all(sources: list[Source], workers: int) -> list[Cached | str]:
    """Cache every picture, in several processes; a text is the reason why one failed."""
    try:
        with ProcessPoolExecutor(workers) as pool:
            done = pool.map(cached_picture.attempt, sources, chunksize=8)
            shown = tqdm(done, desc="caching", total=len(sources), unit="picture", disable=None)
            return list(shown)
    except BrokenProcessPool as error:
        raise BadInput("a reading process was killed (memory? try fewer --workers)") from error


def _contradictions(chosen: Selection) -> list[str]:
    labels = {name: row.get("pneumothorax", "") for name, row in chosen.listed.items()}
    return data_checks.contradictions(chosen.texts, labels)


def records_of(
    chosen: Selection, sources: list[Source], cached: list[Cached | str], findings: Findings
) -> list[Record]:
    """The table of the pictures that were cached; the others are printed with their reason."""
    records = []
    for source, one in zip(sources, cached, strict=True):
        if isinstance(one, str):
            print(f"{source.id}: {one}", file=sys.stderr)
            continue
        if not one.mask_fits:
            findings.mismatched_masks.append(source.id)
        if one.mask_empty:
            findings.empty_masks.append(source.id)
        label = chosen.labels[source.id]
        records.append(
            Record(
                source.id,
                chosen.source(source.id),
                label.patient,
                label.fold,
                label.positive and not one.mask_empty,
                one.rows,
                one.columns,
                other_classes=one.other_classes,
                attributes=one.attributes,
            )
        )
    return records


def with_lungs(cache: Path, records: list[Record]) -> list[Record]:
    """The records with the crops around their pictures' lungs, as serving finds them, and the
    size classes of their outlines."""
    finder = lung_finder.Finder()
    cropped = []
    for record in tqdm(records, desc="finding lungs", unit="picture", disable=None):
        picture = dataset.Pictures.read_one(cache, record)
        fields = finder.find(picture)
        tags = image_statistics.tags(image_statistics.of_canonical(picture), fields.mask)
        mask = dataset.Pictures.read_mask(cache, record)
        size = severity.of_mask(mask > 127, fields) if mask is not None else None
        attributes = dataclasses.replace(record.attributes, tags=tags, severity=size or "")
        cropped.append(dataclasses.replace(record, lungs=fields.crop(), attributes=attributes))
    return cropped

"""Shares of a model's held-out pictures, added to its card: `python -m ml shares`.

For a card of an older version, whose reference has distributions alone: `python -m ml export`
writes both. The file has predictions of pictures that the model was not trained on, with their
views, as `python -m ml drift` reads them. The rest of the card stays as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ml.errors import BadInput
from ml.metrics import recent_predictions, reference_distribution, reference_shares


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--card", type=Path, required=True, help="card.json of the model")
    parser.add_argument(
        "--statistics",
        type=Path,
        required=True,
        help="predictions of held-out pictures in JSON, one after the other, with their views",
    )


def run(args: argparse.Namespace) -> int:
    """Write the card anew, and print the shares."""
    reference_distribution.of_card(args.card)
    card = json.loads(args.card.read_text(encoding="utf-8"))
    try:
        threshold = float(card["thresholds"]["image"]["balanced"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{args.card} has no balanced threshold") from error
    held_out = recent_predictions.read(args.statistics, card.get("sha256"))
    if not held_out.rows:
        raise BadInput(f"{args.statistics} has no prediction of this model")
    shares = reference_shares.facts(held_out.rows, threshold)
    card["reference"]["shares"] = shares
    args.card.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(held_out.summary)
    for known in reference_shares.of_reference(card["reference"], str(args.card)):
        print(f"{known.name:12}{known.share:8.1%} of {known.n} pictures")
    return 0

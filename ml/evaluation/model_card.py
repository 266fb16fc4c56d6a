"""A model's card as a document: `python -m ml card --weights DIR --out docs/model-card.md`.

Everything in it comes from the model's card.json: what is missing there is shown as not recorded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ml.evaluation import card_sections
from ml.runtime import session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--weights", type=Path, help="a model's folder (default: the shipped one)")
    parser.add_argument("--out", type=Path, help="the file to write (default: print it)")


def run(args: argparse.Namespace) -> int:
    """Write the document of one model."""
    text = render(session.read_card(session.locate(args.weights)))
    if args.out is None:
        print(text, end="")
        return 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(f"{args.out} written")
    return 0


def render(card: dict[str, Any]) -> str:
    """The whole document, in Markdown."""
    sections = (
        ("Model details", card_sections.details),
        ("Intended use", card_sections.use),
        ("Factors", card_sections.factors),
        ("Metrics", card_sections.metrics),
        ("Evaluation data", card_sections.evaluation_data),
        ("Training data", card_sections.training_data),
        ("Quantitative analyses", card_sections.analyses),
        ("Ethical considerations", card_sections.ethics),
        ("Caveats and recommendations", card_sections.caveats),
        ("CLAIM checklist", card_sections.claim),
    )
    parts = [
        f"# Model card: {card['name']} version {card['version']}",
        "*Made from the model's `card.json` by `python -m ml card`; do not edit by hand.*",
    ]
    for heading, section in sections:
        parts += [f"## {heading}", section(card)]
    return "\n\n".join(parts) + "\n"

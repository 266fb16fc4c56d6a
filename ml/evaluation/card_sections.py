"""The sections of a model card's document, each made from the model's card.json.

The nine sections of Mitchell et al., Model Cards for Model Reporting (2019), and a table of where
the items of the CLAIM checklist (Mongan, Moy and Kahn 2020; update 2024) that concern a model are
answered.
"""

from __future__ import annotations

from typing import Any

from ml.evaluation import markdown
from ml.evaluation.report_text import LABELS

# Intended use of the models of this package; cards of older versions lack it.
USE = (
    "Research on, and teaching of, reading aids for frontal chest X-rays (CR, DX) of adults, "
    "beside a radiologist who reads every picture. Not a medical device. Not for triage without a "
    "reader, for ruling a pneumothorax out, for children, lateral views, CT, or for following a "
    "size over time."
)
OUTLINE_USE = (
    "Finding the lungs of a frontal chest X-ray: the part of the picture that another network "
    "looks at, and what a pneumothorax's size is compared with. Not a statement about a lung."
)
_NOT_KNOWN = "Not recorded for this model."
_MORE_LABELS = {"positive_dice_ungated": "Dice, positives only, called or not"}
_TRAITS = {"size": "Size of the pneumothorax", "view": "View", "sex": "Sex", "age": "Age",
           "exposure": "Exposure", "report": "Report against outline"}  # fmt: skip
_SOURCES = {
    "masks": "outlined by radiologists",
    "pseudo": "outlined by networks",
    "panel": "with an image-level label",
    "unlabelled": "without a label",
}
_GROUP_MEASURES = ("positive_dice", "sensitivity", "specificity", "auc")
_POINTS = {
    "high_sensitivity": "high sensitivity",
    "balanced": "balanced",
    "high_precision": "high precision",
}
# Item of CLAIM → what it asks → the section that answers it, or why none does.
_CLAIM = (
    ("title, abstract", "Identification as a study of artificial intelligence", "Model details"),
    ("introduction", "Intended use and clinical role", "Intended use"),
    ("data", "Data sources", "Training data, Evaluation data"),
    ("data", "Eligibility criteria", "Factors; docs/experiments.md"),
    ("data", "Preprocessing", "Model details"),
    ("data", "De-identification", "by the publishers of the data"),
    ("reference standard", "Definition and annotators", "Evaluation data"),
    ("reference standard", "Inter- and intrarater variability", "Caveats and recommendations"),
    ("partitions", "How data were assigned, level of disjointness", "Training data"),
    ("testing data", "Intended sample size", "not computed beforehand: intervals stand instead"),
    ("model", "Detailed description, initialisation", "Model details"),
    ("training", "Augmentation, hyperparameters, selection", "Training data"),
    ("evaluation", "Metrics and their uncertainty", "Metrics, Quantitative analyses"),
    ("evaluation", "Robustness, subgroups", "Factors, Quantitative analyses"),
    ("evaluation", "Explainability", "the outline is shown; no study with readers"),
    ("evaluation", "External data", "not tested"),
    ("results", "Performance by diagnosis and failure analysis",
     "Quantitative analyses; `evaluate --report`"),
    ("discussion", "Limitations and bias", "Caveats and recommendations"),
    ("other", "Registration, protocol", "none"),
    ("other", "Availability of code, model and data",
     "in this repository; data from their publishers"),
)  # fmt: skip


def details(card: dict[str, Any]) -> str:
    trained, built = card.get("trained", {}), card.get("architecture", {})
    recipe, seen = trained.get("config", {}), card.get("preprocessing", {})
    facts = {
        "What": "finds, outlines and gives a probability for pneumothorax on a frontal chest X-ray",
        "Network": f"{built['name']} with encoder `{built['encoder']}`, {built['size']} px"
        if isinstance(built, dict) and built
        else None,
        "Outputs": "a probability for every pixel, and a calibrated one for the picture",
        "Started from": _origin(trained),
        "Trained": f"{trained['date']}, {trained['epochs']} epochs, {trained['minutes']:g} minutes"
        if {"date", "epochs", "minutes"} <= trained.keys()
        else None,
        "Input": "; ".join(str(seen[key]) for key in ("grey", "geometry") if key in seen),
        "Mirror image averaged in": "yes" if recipe.get("mirror") else "no",
        "Licence": "Apache-2.0 (code and weights; the data have their own terms, below)",
        "SHA-256 of the weights": f"`{card['sha256']}`",
    }
    return markdown.facts({name: value or _NOT_KNOWN for name, value in facts.items()})


def _origin(trained: dict[str, Any]) -> str:
    """What the encoder began with, and the runs that the weights went through before the last."""
    first = (trained.get("begun_with") or [trained.get("config", {})])[0]
    began = first.get("pretrained") or "random weights"
    runs = [
        f"`{run['recipe']}` ({run['pictures']:,} augmented pictures, {run['minutes']:g} minutes)"
        for run in trained.get("begun_with", [])
    ]
    return "; then ".join([began, *runs])


def use(card: dict[str, Any]) -> str:
    thresholds = card["thresholds"]
    points = markdown.table(
        ["operating point", "a picture is called from this probability on"],
        [[_POINTS[name], f"{value:.3f}"] for name, value in thresholds["image"].items()],
    )
    return "\n\n".join(
        [
            markdown.paragraph(str(card.get("use", USE))),
            points,
            markdown.paragraph(
                f"On a called picture, pixels of probability {thresholds['mask']:g} and more are "
                + f"outlined{_few_pixels(thresholds['area_px_min'])}"
                + f"{_islands(thresholds.get('island_px_min', 0))}."
            ),
        ]
    )


def _few_pixels(least: int) -> str:
    return f"; fewer than {least} of them on the network's map are not shown" if least else ""


def _islands(least: int) -> str:
    return f"; regions of fewer than {least} pixels of the map are not outlined" if least else ""


def factors(card: dict[str, Any]) -> str:
    known = [_TRAITS.get(trait, trait).lower() for trait in card.get("subgroups", {})]
    measured = (
        f"Measured apart, below: {', '.join(known)}."
        if known
        else "No group was measured apart for this version."
    )
    return markdown.paragraph(
        "What may change its performance: the size of the pneumothorax, view (PA, AP), age, sex, "
        "exposure, sharpness, drains and other devices, skin folds, subcutaneous air, the system "
        f"that made the picture. {measured} Race, body size and the maker of the system are not "
        "known from the data."
    )


def metrics(card: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            markdown.paragraph(
                "Four kinds, because each hides what another shows: Kaggle Dice (all pictures; "
                "two empty masks count 1), Dice over the pictures with a pneumothorax (a missed "
                "one counts 0), the picture's call (AUC, sensitivity, specificity), and "
                "calibration (ECE over 15 bins, Brier score)."
            ),
            markdown.paragraph(card.get("measured") or "This version was not measured."),
        ]
    )


def evaluation_data(card: dict[str, Any]) -> str:
    data = card.get("data", {})
    folds = str(data.get("folds", ""))
    return "\n\n".join(
        [
            markdown.paragraph(f"{data.get('what', _NOT_KNOWN)}. {folds[:1].upper()}{folds[1:]}."),
            markdown.paragraph(
                "The reference standard is the outline that the challenge's radiologists drew; "
                "no CT or follow-up confirms it."
            ),
            _counts(data.get("counts", {}), "held_out"),
        ]
    )


def training_data(card: dict[str, Any]) -> str:
    data, recipe = card.get("data", {}), card.get("trained", {}).get("config", {})
    names = ("loss", "schedule", "rate", "encoder_rate", "batch", "epochs", "positive_share",
             "flip", "rotate", "scale", "contrast", "brightness", "gamma", "noise", "ema",
             "seed")  # fmt: skip
    chosen = {name: recipe[name] for name in names if name in recipe}
    settings = ", ".join(f"`{name}` {_plain(value)}" for name, value in chosen.items())
    return "\n\n".join(
        [
            _counts(data.get("counts", {}), "training"),
            *_sources(recipe),
            markdown.paragraph(f"Recipe: {settings or _NOT_KNOWN}"),
            markdown.paragraph(f"Terms: {data.get('terms', _NOT_KNOWN)}"),
        ]
    )


def _sources(recipe: dict[str, Any]) -> list[str]:
    """The sources of the pictures, and the weight of soft labels, where a recipe has them."""
    sentences = []
    if "sources" in recipe:
        sources = ", ".join(_SOURCES[name] for name in recipe["sources"])
        sentences.append(f"Pictures {sources}.")
    if recipe.get("taught"):
        sentences.append(
            "Also trained on soft labels of other networks, with a weight of "
            f"{recipe.get('taught_weight', 0.5):g} against "
            "the radiologists' labels; pictures without a label have soft labels alone."
        )
    return [markdown.paragraph(" ".join(sentences))] if sentences else []


def analyses(card: dict[str, Any]) -> str:
    measured = card.get("metrics", {})
    if not measured:
        return "This version was not measured."
    labels = LABELS | _MORE_LABELS
    parts = [
        markdown.table(
            ["measure", "value", "95 % interval", "pictures"],
            [
                [labels.get(name, name), *_value(found), str(found["n"])]
                for name, found in measured.items()
            ],
        )
    ]
    for trait, groups in card.get("subgroups", {}).items():
        rows = [
            [
                name,
                str(part["pictures"]),
                str(part["positives"]),
                *(
                    " ".join((value, f"({interval})"))
                    if (found := part.get(measure))
                    and (value := _value(found)[0]) != "–"
                    and (interval := _value(found)[1])
                    else "–"
                    for measure in _GROUP_MEASURES
                ),
            ]
            for name, part in groups.items()
        ]
        heads = ["group", "pictures", "positives", *(LABELS[name] for name in _GROUP_MEASURES)]
        parts += [f"### {_TRAITS.get(trait, trait)}", markdown.table(heads, rows)]
    if card.get("subgroups"):
        parts.append(markdown.paragraph("Small groups differ by chance: read the intervals."))
    return "\n\n".join(parts)


def ethics(card: dict[str, Any]) -> str:
    return markdown.paragraph(
        "The pictures are of real patients, published without names for research; none is part of "
        "the repository, and what the weights reveal about a single picture was not tested. A "
        "missed pneumothorax and a false alarm both do harm: an operating point is a choice of the "
        "clinic between them. Who is rare in the data (the young, the very ill, people of other "
        "countries) may be served worse, and the numbers above cannot show it."
    )


def caveats(card: dict[str, Any]) -> str:
    limits = "\n".join(markdown.item(limit) for limit in card.get("limits", []))
    watched = (
        "Recent predictions can be compared with this model's reference: `python -m ml drift`."
        if card.get("reference")
        else "This card holds no reference, so drift cannot be measured against it."
    )
    return "\n\n".join(
        [
            limits or _NOT_KNOWN,
            markdown.paragraph(
                "Before any use elsewhere, measure it on pictures of that place: `python -m ml "
                f"evaluate` makes a report with a gallery of failures. {watched}"
            ),
        ]
    )


def claim(card: dict[str, Any]) -> str:
    return markdown.table(["part", "item", "answered in"], [list(row) for row in _CLAIM])


def _value(found: dict[str, Any]) -> tuple[str, str]:
    """A measure and its interval."""
    if found["value"] is None:
        return "–", "–"
    return f"{found['value']:.3f}", f"{found['low']:.3f}–{found['high']:.3f}"


def _counts(counts: dict[str, dict[str, int]], part: str) -> str:
    if part not in counts:
        return _NOT_KNOWN
    return markdown.table(list(counts[part]), [[f"{value:,}" for value in counts[part].values()]])


def _plain(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)

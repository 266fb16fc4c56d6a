"""The findings sentence over side, zone, size, measurement, drain and quality; its templates."""

import itertools
import re

import pytest

from portal.errors import Invalid
from portal.languages import speaking
from portal.models import Finding, Language, SizeClass
from portal.sentences import phrases, templates
from portal.sentences.phrases import Measured, Stated
from portal.sentences.templates import Kind

RIGHT, LEFT, BOTH = Finding.RIGHT, Finding.LEFT, Finding.BOTH
ZONES = (
    (),
    ("apical",),
    ("lateral",),
    ("basal",),
    ("apical", "lateral"),
    ("lateral", "apical", "basal"),
)


def sentence(stated: Stated, language: Language = Language.EN) -> str:
    kind = phrases.kind_of(stated.finding)
    with speaking(language):
        return templates.fill(templates.default(language, kind), phrases.phrases(stated))


EXAMPLES = {
    Stated(RIGHT): "Right pneumothorax.",
    Stated(
        LEFT, SizeClass.BELOW_10
    ): "Left pneumothorax, estimated at below 10 % of the lung field.",
    Stated(BOTH, SizeClass.ABOVE_30): "Bilateral pneumothorax, estimated at above 30 % of the lung "
    "field on the larger side.",
    Stated(RIGHT, SizeClass.UNKNOWN, has_drain=True): "Right pneumothorax, size not determined. "
    "A chest drain is in place.",
    Stated(RIGHT, measured=Measured(18.2, 0.12, "detector", "reader", ("apical",))): "Right apical "
    "pneumothorax, greatest interpleural distance 18 mm (measured by software on the reader’s "
    "outline, at the detector).",
    Stated(LEFT, measured=Measured(None, 0.12, "", "model", ("lateral", "apical"))): "Left apical "
    "and lateral pneumothorax, 12 % of the area of the hemithorax (measured by software on the AI "
    "outline).",
    Stated(Finding.NONE): "No pneumothorax is seen.",
    Stated(Finding.NONE, is_poor=True): "No pneumothorax is seen. Assessment is limited by the "
    "image quality.",
    Stated(Finding.UNSURE): "A pneumothorax can be neither confirmed nor excluded.",
}


@pytest.mark.parametrize("stated", EXAMPLES, ids=EXAMPLES.get)
def test_it_reads_as_somebody_would_write_it(stated: Stated) -> None:
    assert sentence(stated) == EXAMPLES[stated]


GERMAN = {
    Stated(RIGHT): "Rechtsseitiger Pneumothorax.",
    Stated(LEFT, SizeClass.BELOW_10): "Linksseitiger Pneumothorax, geschätzt unter 10 % des "
    "Lungenfelds.",
    Stated(BOTH, SizeClass.ABOVE_30, has_drain=True): "Beidseitiger Pneumothorax, geschätzt über "
    "30 % des Lungenfelds auf der größeren Seite. Eine Thoraxdrainage liegt.",
    Stated(RIGHT, SizeClass.UNKNOWN): "Rechtsseitiger Pneumothorax, Größe nicht bestimmt.",
    Stated(
        LEFT, measured=Measured(4.5, 0.12, "calibrated", "reader", ("basal", "apical", "lateral"))
    ): "Linksseitiger apikaler, lateraler und basaler Pneumothorax, größter interpleuraler Abstand "
    "4,5 mm (per Software am Umriss der Befundung gemessen, mit kalibriertem Pixelabstand).",
    Stated(RIGHT, measured=Measured(None, 0.004, "", "model")): "Rechtsseitiger Pneumothorax, "
    "unter 1 % der Fläche des Hemithorax (per Software am KI-Umriss gemessen).",
    Stated(Finding.NONE, is_poor=True): "Kein Pneumothorax erkennbar. Die Beurteilbarkeit ist "
    "durch die Bildqualität eingeschränkt.",
    Stated(Finding.UNSURE): "Ein Pneumothorax lässt sich weder bestätigen noch ausschließen.",
}


@pytest.mark.parametrize("stated", GERMAN, ids=GERMAN.get)
def test_it_reads_so_in_german(stated: Stated) -> None:
    assert sentence(stated, Language.DE) == GERMAN[stated]


def test_every_combination_is_whole_in_german_and_has_no_english() -> None:
    english = r"\b(right|left|and|apical|measured|estimated|size|area|drain|the|of|no)\b"
    for stated in everything():
        text = sentence(stated, Language.DE)
        assert re.fullmatch(r"[A-Z][^{}\[\]]*[.]", text), text
        assert not re.search(r"  | [,.]|,,|\.\.|\(\)|None", text), text
        assert not re.search(english, text), text
        assert ("Thoraxdrainage" in text) is stated.has_drain
        assert ("Bildqualität" in text) is stated.is_poor


def everything() -> list[Stated]:
    measured = [
        None,
        *(
            Measured(mm, share, "calibrated", outline, zones)
            for mm, share in ((4.5, 0.1), (None, 0.2), (None, None))
            for outline in ("reader", "model")
            for zones in ZONES
        ),
    ]
    return [
        Stated(finding, size, drain, poor, one)
        for finding, size, drain, poor, one in itertools.product(
            Finding, [None, *SizeClass], (False, True), (False, True), measured
        )
    ]


def test_every_combination_is_whole_and_states_what_was_stated() -> None:
    cases = everything()
    assert len(cases) == 5 * 5 * 2 * 2 * 37
    for stated in cases:
        text = sentence(stated)
        assert re.fullmatch(r"[A-Z][^{}\[\]]*[.]", text), text
        assert not re.search(r"  | [,.]|,,|\.\.|\(\)|None", text), text
        finding = stated.finding
        assert text.startswith(
            {
                RIGHT: "Right ",
                LEFT: "Left ",
                BOTH: "Bilateral ",
                Finding.NONE: "No pneumothorax is seen.",
                Finding.UNSURE: "A pneumothorax can be neither",
            }[finding]
        )
        assert ("chest drain" in text) is stated.has_drain
        assert ("limited by the image quality" in text) is stated.is_poor
        is_sized = finding.is_positive and stated.size is not None
        assert ("estimated at" in text or "not determined" in text) is is_sized
        measured = stated.measured
        is_measured = (
            finding.is_positive
            and measured is not None
            and (measured.distance_mm is not None or measured.share is not None)
        )
        assert ("measured by software on" in text) is is_measured
        for zone in ("apical", "lateral", "basal"):
            named = finding.is_positive and measured is not None and zone in measured.zones
            assert (f"{zone} " in text.replace("Bilateral ", "").replace(",", " ")) is named, text


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (Kind.ONE_SIDE, "", "needs a text"),
        (Kind.ONE_SIDE, "Pneumothorax.", "{side} must be there"),
        (Kind.ONE_SIDE, "[{side}] pneumothorax.", "{side} must be there"),
        (Kind.ONE_SIDE, "{side} pneumothorax {zones}.", "square brackets"),
        (Kind.ONE_SIDE, "{side} pneumothorax of {patient}.", "There is no {patient}"),
        (Kind.ONE_SIDE, "{side} pneumothorax {side.__class__}.", "There is no"),
        (Kind.ONE_SIDE, "{side} pneumothorax {}.", "There is no {}"),
        (Kind.ONE_SIDE, "{side} pneumothorax {.", "brace"),
        (Kind.ONE_SIDE, "{side} pneumothorax }.", "brace"),
        (Kind.ONE_SIDE, "{side} pneumothorax [{size}.", "Square brackets"),
        (Kind.ONE_SIDE, "{side} pneumothorax [a [{size}] b].", "Square brackets"),
        (Kind.ONE_SIDE, "{side} pneumothorax [always].", "needs a placeholder"),
        (Kind.ONE_SIDE, "{side}\npneumothorax.", "one line"),
        (Kind.ONE_SIDE, "{side} \u202epneumothorax.", "can’t be seen"),
        (Kind.ONE_SIDE, "{side}" + "x" * 400, "At most"),
        (Kind.NONE, "None[, {size}].", "There is no {size}"),
        (Kind.BOTH_SIDES, "{side} pneumothorax.", "There is no {side}"),
    ],
)
def test_a_template_that_would_fail_is_refused(kind: Kind, text: str, problem: str) -> None:
    with pytest.raises(Invalid) as refused:
        templates.check(kind, text)
    assert problem in refused.value.message


@pytest.mark.parametrize("kind", Kind)
def test_the_defaults_are_templates_themselves(kind: Kind) -> None:
    text = templates.default(Language.EN, kind)
    assert templates.check(kind, f"  {text} ") == text


def test_a_phrase_with_braces_is_no_placeholder() -> None:
    assert templates.fill("{side} x[ {size}]", {"side": "{size}", "size": "[y]"}) == "{size} x [y]"

"""The quality gate: each rule alone, then on drawn, foreign and (where present) real pictures."""

from __future__ import annotations

import dataclasses
import io
import json
import random

import cv2
import numpy as np
import pydicom
import pytest

from ml.images import reader
from ml.images.picture import Picture
from ml.inference import predict, serving
from ml.preparation import phantom
from ml.quality import gate
from ml.quality.typicality import Typicality
from tests.support.ml.dicom_files import made, read


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(21, "left", 25, rows=420, columns=400)))


def codes(picture: Picture) -> list[str]:
    return [reason.code for reason in gate.check(picture).reasons]


def drawn(stored: np.ndarray) -> Picture:
    """A grey PNG of these values, uint8 or uint16."""
    return reader.read(cv2.imencode(".png", stored)[1].tobytes())


def test_a_frontal_adult_chest_is_fit(chest):
    checked = gate.check(chest)
    assert checked.verdict == "fit"
    assert checked.facts() == {"verdict": "fit", "reasons": []}
    assert checked.midline == pytest.approx(200, abs=0.05 * 400)


@pytest.mark.parametrize(
    ("cut", "verdict", "said"),
    [
        ((0.0, 0.1), "fit", []),
        ((0.2, 0.0), "limited", ["upper"]),
        ((0.2, 0.2), "limited", ["upper", "lower"]),
        ((0.6, 0.0), "refused", ["a part"]),
        ((0.0, 0.3), "refused", ["a part"]),
    ],
)
def test_lungs_beyond_the_edge_are_noted_and_halves_of_films_refused(chest, cut, verdict, said):
    checked = gate.check(chest, lambda: Typicality(0.1, 0.5, "upright", 0.9, 0.3, cut, 0.8, True))
    assert checked.verdict == verdict
    assert [reason.code for reason in checked.reasons] == ["lungs_cut"] * len(said)
    assert all(word in r.message for word, r in zip(said, checked.reasons, strict=True))


@pytest.mark.parametrize(
    ("cut", "height", "verdict"),
    [
        ((0.6, 0.0), 0.98, "limited"),  # a portable film without its apices
        ((0.0, 0.5), 1.2, "limited"),
        ((0.6, 0.0), 0.6, "refused"),  # half a film
        ((0.2, 0.0), 0.6, "refused"),
        ((0.05, 0.0), 0.6, "fit"),  # little air in both lungs
    ],
)
def test_lungs_of_the_usual_height_are_read_though_an_edge_cuts_them(chest, cut, height, verdict):
    typical = Typicality(0.1, 0.5, "upright", 0.9, 0.3, cut, height, True)
    assert gate.check(chest, lambda: typical).verdict == verdict


@pytest.mark.parametrize(("clear", "verdict"), [(True, "limited"), (False, "refused")])
def test_an_unusual_chest_is_refused_only_where_it_may_be_something_else(chest, clear, verdict):
    typical = Typicality(1.5, 0.5, "upright", 0.9, 0.3, (0.0, 0.0), 1.0, clear)
    assert gate.check(chest, lambda: typical).verdict == verdict


def test_a_tilted_chest_beside_a_bright_table_is_not_called_turned():
    upright = phantom.draw(11, "right", 40, rows=400, columns=400).pixels
    tilt = cv2.getRotationMatrix2D((200, 200), -20, 0.9)
    tilted = cv2.warpAffine(upright, tilt, (400, 400))
    tilted[:, 340:] = 4095
    opened = serving.open(device="cpu")
    turns = {}
    for name, pixels in {
        "tilted": tilted,
        "turned": np.ascontiguousarray(np.rot90(upright)),
        "upside down": np.ascontiguousarray(np.rot90(upright, 2)),
    }.items():
        prepared = opened.prepare(pixels)
        assert prepared.typicality is not None
        turns[name] = prepared.typicality.turn
    assert turns == {"tilted": "upright", "turned": "quarter", "upside down": "half"}


@pytest.mark.parametrize(
    ("changes", "code", "verdict"),
    [
        ({"view": "LL"}, "lateral_view", "refused"),
        ({"view": "RL"}, "lateral_view", "refused"),
        ({"view": None}, "view_unknown", "limited"),
        ({"view": "LLO"}, "other_view", "limited"),
        ({"view": "RLD"}, "other_view", "limited"),
        ({"notes": ("age_disputed",)}, "age_disputed", "limited"),
        ({"body_part": "KNEE"}, "not_chest", "refused"),
        ({"body_part": "RIBCAGE"}, "not_chest", "refused"),
        ({"body_part": "OTHER HAND"}, "not_chest", "refused"),
        ({"patient_age_years": 17.9}, "under_18", "refused"),
        ({"modality": "OT"}, "unusual_modality", "limited"),
        ({"modality": None}, "unusual_modality", "limited"),
        ({"notes": ("for_processing",)}, "for_processing", "limited"),
        ({"media_type": "image/png"}, "no_header", "limited"),
        ({"colour": 0.2}, "colour", "refused"),
    ],
)
def test_each_header_rule_has_its_code(chest, changes, code, verdict):
    checked = gate.check(dataclasses.replace(chest, **changes))
    assert checked.verdict == verdict
    assert [reason.code for reason in checked.reasons] == [code]


@pytest.mark.parametrize(
    "changes",
    [
        {"body_part": None},
        {"body_part": "THORAX"},
        {"body_part": "CHEST PORTABLE"},
        {"body_part": "TÓRAX"},
        {"body_part": "TORACE"},
        {"body_part": "CXR"},
        {"body_part": "PULMONARY"},
        {"body_part": "UNKNOWN"},
        {"body_part": "OTHER"},
        {"body_part": "WHOLEBODY"},
        {"body_part": "WHOLE BODY"},
        {"view": "AP"},
        {"patient_age_years": 18.0},
        {"patient_age_years": None},
        {"modality": "CR"},
        {"colour": 0.01},
    ],
)
def test_what_is_usual_gives_no_reason(chest, changes):
    assert gate.check(dataclasses.replace(chest, **changes)).verdict == "fit"


def test_a_small_picture_is_refused(chest):
    for shape, refused in (((255, 300), True), ((256, 256), False)):
        small = cv2.resize(chest.pixels, shape[::-1], interpolation=cv2.INTER_AREA)
        assert ("too_small" in codes(dataclasses.replace(chest, pixels=small))) is refused


def test_a_strip_is_refused(chest):
    strip = dataclasses.replace(chest, pixels=np.tile(chest.pixels, (3, 1)))
    assert "aspect" in codes(strip)


def test_an_inverted_chest_is_found_out(chest):
    negative = dataclasses.replace(chest, pixels=np.uint16(4095) - chest.pixels)
    assert codes(negative) == ["inverted"]
    assert gate.check(negative).verdict == "refused"


def test_an_almost_even_picture_is_flat(chest):
    faint = (2000 + (chest.pixels >> 6)).astype(np.uint16)
    assert codes(dataclasses.replace(chest, pixels=faint)) == ["flat"]
    even = np.full((300, 300), 7, np.uint16)
    assert codes(dataclasses.replace(chest, pixels=even)) == ["flat"]


@pytest.mark.parametrize("used", [8, 9, 10, 12])
@pytest.mark.parametrize("kind", ["png", "dicom", "dicom_without_bits_stored"])
def test_a_good_picture_that_uses_part_of_its_depth_is_not_flat(chest, used, kind):
    """10 or 12 bits in words of 16, as many senders write them."""
    values = chest.pixels >> (12 - used)
    if kind == "png":
        picture = drawn(values)
    else:
        film = dataclasses.replace(
            phantom.draw(21, "left", 25, rows=420, columns=400), pixels=values
        )
        file = pydicom.dcmread(io.BytesIO(phantom.dicom(film, window=False)))
        file.BitsStored, file.HighBit = 16, 15
        if kind == "dicom_without_bits_stored":
            del file.BitsStored, file.HighBit
        buffer = io.BytesIO()
        file.save_as(buffer)
        try:
            picture = reader.read(buffer.getvalue())
        except reader.Unreadable:
            assert kind == "dicom_without_bits_stored"
            return
    assert picture.bits == 16
    assert not {"flat", "few_grey_levels"} & set(codes(picture))
    assert gate.check(picture).verdict != "refused"


def test_the_depth_of_a_file_that_names_none_is_that_of_its_words(chest):
    picture = read(made(np.arange(256, dtype=np.uint8)[None], 8, BitsStored=None, HighBit=None))
    assert (picture.bits, picture.pixels.max()) == (8, 255)


def test_a_picture_that_is_all_marker_is_flat(chest):
    """Nothing but noise, and one burnt-in letter that spans the whole depth."""
    even = (1000 + np.random.default_rng(0).integers(0, 90, (400, 400))).astype(np.uint16)
    even[:4, :4], even[4:8, :4] = 0, 4095
    assert codes(dataclasses.replace(chest, pixels=even))[0] == "flat"


def test_a_picture_of_few_grey_levels_is_refused(chest):
    steps = (chest.pixels >> 9 << 9).astype(np.uint16)
    assert codes(dataclasses.replace(chest, pixels=steps)) == ["few_grey_levels"]


def test_mostly_black_is_reported_as_clipped(chest):
    black = chest.pixels.copy()
    black[black < np.percentile(black, 60)] = 0
    found = gate.check(dataclasses.replace(chest, pixels=black))
    assert "clipped" in [reason.code for reason in found.reasons]


def pictures_of_other_things() -> dict[str, np.ndarray]:
    random_ = np.random.default_rng(4)
    y, x = np.mgrid[:400, :400]
    page = np.full((400, 400), 255, np.uint8)
    for line in range(20, 400, 24):
        cv2.putText(page, "not an X-ray but a letter", (8, line), 0, 0.8, 0, 2)
    face = np.full((400, 400), 60, np.uint8)
    cv2.circle(face, (200, 190), 130, 190, -1)
    for eye in (150, 250):
        cv2.circle(face, (eye, 160), 18, 30, -1)
    return {
        "noise": random_.integers(0, 256, (400, 400)).astype(np.uint8),
        "gradient": (x * 255 / 399).astype(np.uint8),
        "rings": (128 + 127 * np.sin(np.hypot(x - 200, y - 200) / 9)).astype(np.uint8),
        "page": cv2.GaussianBlur(page, (5, 5), 0),
        "face": cv2.GaussianBlur(face, (0, 0), 6),
        "stripes": (128 + 100 * np.sin(x / 7.0) + random_.normal(0, 8, x.shape)).clip(0, 255),
    }


@pytest.mark.parametrize("name", sorted(pictures_of_other_things()))
def test_pictures_of_other_things_are_refused(name):
    picture = drawn(pictures_of_other_things()[name].astype(np.uint8))
    assert gate.check(picture).verdict == "refused", codes(picture)


def test_drawn_chests_of_every_shape_pass():
    for seed, shape in ((1, (300, 300)), (2, (360, 300)), (3, (300, 360))):
        film = phantom.draw(seed, None, rows=shape[0], columns=shape[1])
        assert gate.check(reader.read(phantom.dicom(film))).verdict == "fit"


def test_the_reason_of_a_refusal_comes_first(chest):
    odd = dataclasses.replace(chest, view=None, body_part="HAND")
    verdict = gate.check(odd)
    assert [reason.code for reason in verdict.reasons] == ["not_chest", "view_unknown"]


def test_every_reason_is_a_sentence_and_json(chest):
    worst = dataclasses.replace(chest, view="LL", body_part="KNEE", colour=0.5, modality=None)
    facts = json.loads(json.dumps(gate.check(worst).facts()))
    assert facts["verdict"] == "refused"
    for reason in facts["reasons"]:
        assert set(reason) == {"code", "message"}
        assert reason["message"].endswith(".")


def test_at_most_two_percent_of_real_frontal_films_are_refused(xrays):
    files = sorted((xrays / "siim" / "dicom").glob("*.dcm"))
    files = random.Random(5).sample(files, min(120, len(files)))
    opened = serving.open(device="cpu")
    refused = inverted = 0
    for file in files:
        picture = reader.read(file.read_bytes())
        picture = dataclasses.replace(picture, patient_age_years=None)  # some are children, rightly
        refused += predict.checked(picture, opened)[0].verdict == "refused"
        negative = dataclasses.replace(picture, pixels=np.uint16(255) - picture.pixels)
        inverted += predict.checked(negative, opened)[0].verdict == "refused"
    assert refused <= 0.02 * len(files)
    assert inverted >= 0.98 * len(files)


def test_real_dicoms_of_other_things_are_refused_or_unreadable(xrays):
    for file in (xrays / "dicom-odd" / "not_chest").glob("*.dcm"):
        try:
            picture = reader.read(file.read_bytes())
        except reader.Unreadable:
            continue
        assert gate.check(picture).verdict == "refused", file.name

"""The objects of a picture: which there are, what they hold, and what judges say of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pytest
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.support.encode import judges
from tests.support.encode.contents import MEASURED, PDF, RESEARCH, SR, Case, Set, uid
from tests.support.encode.wrapped import CR, DX, real, wrapped
from worker.contract.contents.object_content import ObjectKind
from worker.encode import capture, object_set, parts, source

# highdicom asks for the parts of a name that has none.
pytestmark = pytest.mark.filterwarnings("ignore:The string:UserWarning")

STATES: dict[str, tuple[dict[str, Any], str]] = {
    "found, not read": ({"read": False}, "sr seg sc pr pdf"),
    "found, accepted, not signed": ({"assessment": "accepted"}, "sr seg sc pr pdf"),
    "found, accepted, signed": ({"assessment": "accepted", "signed": True}, "sr seg sc pr pdf"),
    "found, changed, signed": (
        {"assessment": "changed", "signed": True, "drawn": True},
        "sr seg sc pr pdf",
    ),
    "found, rejected, not signed": (
        {"assessment": "rejected", "finding": "none"},
        "sr seg sc pr pdf",
    ),
    "found, rejected, signed": (
        {"assessment": "rejected", "finding": "none", "signed": True},
        "sr seg sc pr pdf ko",
    ),
    "none found": ({"outcome": "none_found", "finding": "none"}, "sr sc pdf"),
    "none found, missed": (
        {"outcome": "none_found", "assessment": "rejected", "signed": True, "drawn": True},
        "sr seg sc pr pdf ko",
    ),
    "not analysed": ({"outcome": "not_analysed", "finding": None}, "sr sc pdf"),
    "not prepared": (
        {"outcome": "not_analysed", "read": False, "with_jpeg": False, "pdf": b""},
        "sr",
    ),
}
FILES: dict[str, dict[str, Any]] = {
    f"{'CR' if kind is CR else 'DX'} {bits} bits {'M1' if inverted else 'M2'}"
    f"{' spaced' if spaced else ''}": {
        "sop_class": kind,
        "bits": bits,
        "inverted": inverted,
        "spaced": spaced,
    }
    for kind, bits, inverted, spaced in [
        (CR, 10, False, True),
        (CR, 12, True, False),
        (CR, 16, False, False),
        (CR, 16, True, True),
        (DX, 10, True, True),
        (DX, 12, False, True),
        (DX, 16, True, True),
    ]
}


@pytest.fixture(scope="module")
def found() -> Set:
    """A set with everything."""
    changes = {"assessment": "rejected", "signed": True, "drawn": True}
    before = [{"kind": "sr", "sop_class": SR, "series": "2.25.71", "instance": "2.25.72"}]
    return Case(wrapped(), **changes, before=before).made()


def texts(document: Dataset) -> list[str]:
    """Every text of a structured report."""
    found = [str(document.TextValue)] if "TextValue" in document else []
    for item in document.get("ContentSequence", ()):
        found += texts(item)
    return found


def codes(document: Dataset) -> list[tuple[str, str]]:
    """Every coded item as (name, value)."""
    found = []
    if document.get("ValueType") == "CODE":
        name, value = document.ConceptNameCodeSequence[0], document.ConceptCodeSequence[0]
        found.append((name.CodeMeaning, value.CodeMeaning))
    for item in document.get("ContentSequence", ()):
        found += codes(item)
    return found


def numbers(document: Dataset) -> list[tuple[str, float, str]]:
    """Every measurement as (name, value, unit)."""
    found = []
    if document.get("ValueType") == "NUM":
        value = document.MeasuredValueSequence[0]
        unit = value.MeasurementUnitsCodeSequence[0].CodeValue
        name = document.ConceptNameCodeSequence[0].CodeMeaning
        found.append((name, float(value.NumericValue), unit))
    for item in document.get("ContentSequence", ()):
        found += numbers(item)
    return found


def measured_in(document: Dataset) -> Dataset:
    """The container of the measurement groups: the image library has numbers of its own."""
    return next(
        item
        for item in document.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )


@judges.needed
@pytest.mark.parametrize("state", STATES)
def test_each_result_has_its_objects_and_the_judges_find_no_error(
    state: str, tmp_path: Path
) -> None:
    changes, kinds = STATES[state]
    made = Case(wrapped(), **changes).made()
    assert made.kinds == kinds.split()
    for kind, data in made.files.items():
        assert judges.errors(data, tmp_path) == [], kind
    dumped = judges.dumped(made.files[ObjectKind.STRUCTURED_REPORT], tmp_path)
    assert "Imaging Measurement Report" in dumped
    assert RESEARCH in dumped
    if ObjectKind.PRESENTATION in made.files:
        found = judges.presentation(made.files[ObjectKind.PRESENTATION], tmp_path)
        assert "Test passed" in found, found


@judges.needed
@pytest.mark.parametrize("name", FILES)
def test_files_of_each_class_depth_and_photometry_make_clean_objects(
    name: str, tmp_path: Path
) -> None:
    file = wrapped(**FILES[name])
    assert judges.errors(file, tmp_path) == []
    made = Case(file, assessment="rejected", finding="none", signed=True, drawn=True).made()
    for kind, data in made.files.items():
        assert judges.errors(data, tmp_path) == [], kind
    found = judges.presentation(made.files[ObjectKind.PRESENTATION], tmp_path)
    assert "Test passed" in found, found
    shape = made[ObjectKind.PRESENTATION].PresentationLUTShape
    assert shape == ("INVERSE" if FILES[name]["inverted"] else "IDENTITY")


@judges.needed
@pytest.mark.skipif(not real(), reason="no real X-rays here")
@pytest.mark.parametrize("number", range(4))
def test_real_x_rays_make_clean_objects(number: int, tmp_path: Path) -> None:
    case = Case(real()[number], assessment="accepted", signed=True, drawn=True)
    made = case.made()
    assert made.kinds == ["sr", "seg", "sc", "pr", "pdf"]
    for kind, data in made.files.items():
        assert judges.errors(data, tmp_path) == [], kind
    read = highdicom.seg.segread(io.BytesIO(made.files[ObjectKind.SEGMENTATION]))
    assert np.array_equal(read.pixel_array[0], case.mask > 0)


@pytest.mark.parametrize("spaced", [True, False], ids=["spaced", "not spaced"])
def test_the_masks_are_read_back_pixel_by_pixel(spaced: bool) -> None:
    spacing = ["0.2", "0.2"] if spaced else None
    case = Case(wrapped(spaced=spaced, PixelSpacing=spacing), drawn=True)
    made = case.made()
    plain = made[ObjectKind.SEGMENTATION]
    assert plain.SegmentationType == "BINARY"
    assert np.array_equal(plain.pixel_array, np.stack([case.mask, case.own_mask]) > 0)
    read = highdicom.seg.segread(io.BytesIO(made.files[ObjectKind.SEGMENTATION]))
    both = read.get_pixels_by_source_instance([case.source.dataset.SOPInstanceUID])
    assert np.array_equal(both[0, ..., 0] > 0, case.mask > 0)
    assert np.array_equal(both[0, ..., 1] > 0, case.own_mask > 0)
    ai, own = read.SegmentSequence
    assert (ai.SegmentAlgorithmType, own.SegmentAlgorithmType) == ("AUTOMATIC", "MANUAL")
    assert (ai.TrackingUID, own.TrackingUID) == (uid("ai"), uid("outline"))
    shared = plain.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    if spaced:
        assert shared.PixelMeasuresSequence[0].SliceThickness == 1


def test_measurements_verdict_and_texts_are_read_back(found: Set) -> None:
    document = srread(io.BytesIO(found.files[ObjectKind.STRUCTURED_REPORT]))
    assert isinstance(document, highdicom.sr.Comprehensive3DSR)
    groups = document.content.get_planar_roi_measurement_groups()
    assert [one.tracking_uid for one in groups] == [uid("ai"), uid("outline")]
    assert [one.finding_type.meaning for one in groups] == ["Pneumothorax"] * 2
    ai = numbers(groups[0][0])
    assert ("Certainty of Finding", 84.0, "%") in ai
    for name, value, unit in [
        ("Area", MEASURED["area_px"], "{pixels}"),
        ("Area", 48.12346, "mm2"),
        ("Greatest interpleural distance", 21.5, "mm"),
        ("Air in the hemithorax in the picture", 12.5, "%"),
        ("Interpleural distance at the apex", 8.0, "mm"),
        ("Size by Collins", 23.4, "%"),
    ]:
        assert (name, value, unit) in ai, name
    assert not [one for one in ai if "Rhea" in one[0] or "Light" in one[0]]
    plain = found[ObjectKind.STRUCTURED_REPORT]
    stated = codes(plain)
    assert ("CAD Processing and Findings Summary", "All algorithms succeeded; with findings") in (
        stated
    )
    assert ("Reader's assessment of the AI result", "Rejected") in stated
    assert ("Reader's finding of pneumothorax", "Right") in stated
    assert ("Laterality", "Right") in stated
    lines = texts(plain)
    for line in (
        *("AI: likely", "Small ones are missed.", "Comment: air at the apex", RESEARCH),
        *("pleura-b3", "1.2", "Operating point: balanced", "Threshold of the picture: 0.31"),
        "Size floor: regions below 25 pixels of the probability map are left out",
    ):
        assert line in lines, line
    (scheme,) = plain.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99PLEURA"


def test_where_nothing_was_found_no_finding_is_stated_and_none_is_excluded() -> None:
    document = Case(wrapped(), outcome="none_found", read=False).made()[
        ObjectKind.STRUCTURED_REPORT
    ]
    stated = codes(document)
    assert ("Finding", "Pneumothorax") not in stated
    assert ("Looked for", "Pneumothorax") in stated
    summary = "All algorithms succeeded; without findings"
    assert ("CAD Processing and Findings Summary", summary) in stated
    assert "AI: no pneumothorax found above the threshold" in texts(document)
    assert [one[0] for one in numbers(measured_in(document))] == ["Certainty of Finding"]


def test_what_was_not_analysed_states_the_reason() -> None:
    document = Case(wrapped(), outcome="not_analysed").made()[ObjectKind.STRUCTURED_REPORT]
    summary = "No algorithms succeeded; without findings"
    assert ("CAD Processing and Findings Summary", summary) in codes(document)
    assert "The picture is a lateral view." in texts(document)
    assert numbers(measured_in(document)) == []


def test_unsigned_is_unverified_and_signed_is_verified_with_its_predecessor() -> None:
    first = Case(wrapped(), assessment="accepted").made()
    before = [
        {
            "kind": one.kind.value,
            "sop_class": one.sop_class,
            "series": one.series,
            "instance": one.instance,
        }
        for one in first.found.objects
    ]
    second = Case(wrapped(), assessment="accepted", signed=True, report="two", before=before).made()
    one, two = (made[ObjectKind.STRUCTURED_REPORT] for made in (first, second))
    assert (one.VerificationFlag, one.CompletionFlag, one.PreliminaryFlag) == (
        *("UNVERIFIED", "PARTIAL", "PRELIMINARY"),
    )
    assert (two.VerificationFlag, two.CompletionFlag, two.PreliminaryFlag) == (
        *("VERIFIED", "COMPLETE", "FINAL"),
    )
    (by,) = two.VerifyingObserverSequence
    assert str(by.VerifyingObserverName) == "Ęwa Müller^"
    assert by.VerificationDateTime == "20261130095900+0000"
    referred = two.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert referred.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    tracking = [
        {g.TrackingUID for g in made[ObjectKind.SEGMENTATION].SegmentSequence}
        for made in (first, second)
    ]
    assert tracking[0] == tracking[1]
    flags = [made[ObjectKind.REPORT].VerificationFlag for made in (first, second)]
    assert flags == ["UNVERIFIED", "VERIFIED"]


def test_a_rejection_names_what_shows_the_result_and_what_came_before(found: Set) -> None:
    note = found[ObjectKind.REJECTION]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    named = {
        one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for one in note.ContentSequence
        if "ReferencedSOPSequence" in one
    }
    shown = (ObjectKind.SEGMENTATION, ObjectKind.CAPTURE, ObjectKind.PRESENTATION)
    assert named == {*(found[kind].SOPInstanceUID for kind in shown), "2.25.72"}


def test_all_of_them_refer_to_the_one_picture_and_state_version_and_research_use(
    found: Set,
) -> None:
    for kind in found.files:
        made = found[kind]
        written = str(made)
        if kind is not ObjectKind.REJECTION:
            assert "2.25.101" in written, kind
        assert made.StudyInstanceUID == "2.25.102"
        assert made.SeriesInstanceUID == uid(f"one:{kind}:series")
        assert made.SOPInstanceUID == uid(f"one:{kind}")
        assert list(made.SoftwareVersions) == ["Pleura 0.1.0", "pleura-b3 1.2"]
        assert "research use" in written.lower(), kind
        assert str(made.PatientName) == "PHANTOM^ONE"
        assert made.SpecificCharacterSet == "ISO_IR 192"


def test_the_presentation_state_has_no_window_and_draws_the_outline(found: Set) -> None:
    state = found[ObjectKind.PRESENTATION]
    for keyword in ("SoftcopyVOILUTSequence", "WindowCenter", "VOILUTSequence"):
        assert keyword not in state
    case = Case(wrapped())
    drawn = np.zeros_like(case.mask)
    for graphic in state.GraphicAnnotationSequence[0].GraphicObjectSequence:
        assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
        points = np.array(graphic.GraphicData).reshape(-1, 2) - 0.5
        cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], 255)
    outer = case.mask.copy()
    holes, _ = cv2.findContours(case.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.fillPoly(outer, holes, 255)
    both = np.count_nonzero(drawn & outer)
    assert 2 * both / (np.count_nonzero(drawn) + np.count_nonzero(outer)) > 0.97


def test_the_capture_shows_outlines_in_colour_and_texts_below_the_picture(found: Set) -> None:
    made = found[ObjectKind.CAPTURE]
    pixels = made.pixel_array
    rows, columns = 96, 80
    assert pixels.shape[1] == columns
    assert pixels.shape[0] > rows
    film = cv2.cvtColor(pixels[:rows], cv2.COLOR_RGB2HSV)
    assert np.count_nonzero(film[..., 1] > 100) > 50
    band = pixels[rows:].astype(int)
    assert np.count_nonzero(band.min(axis=2) > 150) > 50  # white letters
    assert "Research use only" in made.ImageComments
    assert made.LossyImageCompression == "01"


def test_the_captures_font_has_every_sign_of_its_texts() -> None:
    for outcome in ("found", "none_found", "not_analysed"):
        case = Case(wrapped(), outcome=outcome, drawn=True, assessment="rejected")
        given = (case.source, case.content, case.jpeg, case.outlines, case.pdf)
        written = [line for line, _ in capture.lines_of(parts.of(*given))]
        assert written[0].startswith("AI: ")
        assert all(line.isascii() for line in written), written


def test_the_report_is_inside_unchanged_and_of_even_length(found: Set) -> None:
    document = found[ObjectKind.REPORT]
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == PDF
    assert len(document.EncapsulatedDocument) % 2 == 0
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_the_same_input_gives_the_same_bytes(found: Set) -> None:
    again = Case(
        wrapped(),
        assessment="rejected",
        signed=True,
        drawn=True,
        before=[{"kind": "sr", "sop_class": SR, "series": "2.25.71", "instance": "2.25.72"}],
    ).made()
    assert again.data == found.data


@judges.needed
@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Жуков^Иван", "ISO_IR 144"),
        ("Müller^Łukasz", "ISO_IR 192"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
        ("Wang^XiaoDong=王^小东", "GB18030"),
        ("כהן^יוסי", "ISO_IR 138"),
        ("علي^محمد", "ISO_IR 127"),
    ],
    ids=["Cyrillic", "UTF-8", "Japanese", "Korean", "Chinese", "Hebrew", "Arabic"],
)
def test_names_of_every_script_are_kept(name: str, character_set: str, tmp_path: Path) -> None:
    named = character_set.split("\\") if "\\" in character_set else character_set
    file = wrapped(character_set=named, PatientName=name)
    comment = "Comment: 気胸 · 기흉 · пневмоторакс"
    made = Case(file, assessment="accepted", comment=comment).made()
    for kind in made.files:
        assert str(made[kind].PatientName) == name, kind
        assert judges.errors(made.files[kind], tmp_path) == [], kind
    dumped = judges.dumped(made.files[ObjectKind.STRUCTURED_REPORT], tmp_path)
    assert name.split("=")[0] in dumped
    assert comment in texts(made[ObjectKind.STRUCTURED_REPORT])


def test_a_spacing_that_no_detector_has_is_not_passed_on() -> None:
    measured = {"area_px": 1200, "side": "right", "spacing_problem": "not_plausible"}
    made = Case(wrapped(), measured=measured).made()
    assert "left_out:ImagerPixelSpacing" in made.found.notes
    shared = made[ObjectKind.SEGMENTATION].SharedFunctionalGroupsSequence[0]
    assert "PixelMeasuresSequence" not in shared
    found = numbers(measured_in(made[ObjectKind.STRUCTURED_REPORT]))
    assert [unit for _, _, unit in found if "mm" in unit] == []


def test_a_colour_picture_has_no_presentation_state_and_a_note_of_it() -> None:
    file = wrapped(
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    made = Case(file).made()
    assert ObjectKind.PRESENTATION not in made.files
    assert "no_presentation_of_colour" in made.found.notes
    assert b"no_presentation_of_colour" in made.manifest


def test_an_outline_in_square_pixels_is_brought_to_the_files_size() -> None:
    case = Case(wrapped(rows=96, columns=80))
    content = case.content
    tall = cv2.resize(case.mask, (80, 192), interpolation=cv2.INTER_NEAREST_EXACT)
    data = cv2.imencode(".png", tall)[1].tobytes()
    (outline,) = content.outlines
    changed = outline.model_copy(update={"rows": 192, "bytes": len(data)})
    _, archive = object_set.archive(
        source.read(case.file),
        content.model_copy(update={"outlines": [changed]}),
        case.jpeg,
        [data],
        PDF,
    )
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        segmented = dcmread(io.BytesIO(packed.read("seg.dcm")))
    assert segmented.pixel_array.shape == (96, 80)
    assert np.array_equal(segmented.pixel_array, case.mask > 0)

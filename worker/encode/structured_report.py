"""The result as a Comprehensive 3D SR by TID 1500: measurements, verdict and texts, all coded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard

from worker.contract.contents.object_content import ModelUsed, ObjectKind, Outcome, Tracked
from worker.contract.measurements import Extent, Measurements
from worker.encode import codes
from worker.encode.parts import Outlined, Parts, moment, stamp

_SUMMARIES: Final = {
    Outcome.FOUND: codes.WITH_FINDINGS,
    Outcome.NONE_FOUND: codes.WITHOUT_FINDINGS,
    Outcome.NOT_ANALYSED: codes.NO_ALGORITHM,
}


def make(parts: Parts, segmentation: Segmentation | None) -> Comprehensive3DSR:
    """The document. `segmentation` holds the outlines, in their order; None where there is none."""
    report = MeasurementReport(
        observation_context=_observers(parts),
        procedure_reported=codes.CHEST_X_RAY,
        imaging_measurements=_groups(parts, segmentation),
        title=standard.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept(parts.content.language, "RFC5646", parts.content.language)
        ),
        referenced_images=[parts.image] if _is_described(parts.image) else None,
    )
    for line in (parts.content.research, f"Case {parts.content.case}"):
        report[0].ContentSequence.append(_comment(line))
    signed = parts.content.signed
    made = Comprehensive3DSR(
        evidence=[parts.image, *([segmentation] if segmentation is not None else [])],
        content=report[0],
        is_complete=signed is not None,
        is_final=signed is not None,
        is_verified=signed is not None,
        verifying_observer_name=_name(signed.name) if signed else None,
        verifying_organization=signed.organization[:64] if signed else None,
        previous_versions=_before(parts) or None,
        coding_schemes=[codes.scheme()],
        specific_character_set="ISO_IR 192",
        **parts.named(ObjectKind.STRUCTURED_REPORT),
    )
    if signed is not None:
        at = moment(signed.at).strftime("%Y%m%d%H%M%S+0000")
        made.VerifyingObserverSequence[0].VerificationDateTime = at
    stamp(made, parts)
    return made


def _is_described(image: Dataset) -> bool:
    """Whether the picture's header has what an entry of the image library (TID 1603) states."""
    return "PatientOrientation" in image and "ImagerPixelSpacing" in image


def _observers(parts: Parts) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=parts.content.device_uid,
        name="Pleura",
        manufacturer_name="Pleura",
        model_name="Pleura",
        serial_number=parts.serial_number,
    )
    signed = parts.content.signed
    person = None
    if signed is not None:
        named = PersonObserverIdentifyingAttributes(
            name=_name(signed.name), organization_name=signed.organization[:64]
        )
        person = ObserverContext(standard.DCM.Person, named)
    return ObservationContext(
        observer_person_context=person,
        observer_device_context=ObserverContext(standard.DCM.Device, device),
    )


def _groups(parts: Parts, segmentation: Segmentation | None) -> list[Any]:
    """One group for what the AI found, one for each outline by a reader, one for the finding."""
    numbered = list(enumerate(parts.outlines, 1)) if segmentation is not None else []
    by_ai = [(number, one) for number, one in numbered if one.is_ai]
    groups = [_ai(parts, segmentation, *(by_ai[0] if by_ai else (0, None)))]
    for number, one in numbered:
        if not one.is_ai:
            groups.append(_drawn(parts, segmentation, number, one))
    if parts.content.reader is not None:
        groups.append(_finding(parts))
    return groups


def _ai(
    parts: Parts, segmentation: Segmentation | None, number: int, outlined: Outlined | None
) -> Any:
    ai, reader = parts.content.ai, parts.content.reader
    is_found = ai.outcome is Outcome.FOUND
    evaluations = [QualitativeEvaluation(codes.SUMMARY, _SUMMARIES[ai.outcome])]
    if not is_found:
        evaluations.append(QualitativeEvaluation(codes.LOOKED_FOR, codes.PNEUMOTHORAX))
    if reader is not None and reader.assessment is not None:
        value = codes.ASSESSMENTS[reader.assessment.value]
        evaluations.append(QualitativeEvaluation(codes.ASSESSMENT, value))
    measured = list[Measurement]()
    if ai.probability is not None:
        measured.append(_number(codes.CERTAINTY, 100 * ai.probability, codes.PERCENT))
    measured += _measurements(ai.measurements if is_found else None)
    group = _group(
        parts,
        ai.tracked,
        segmentation,
        number if outlined is not None else 0,
        finding_type=codes.PNEUMOTHORAX if is_found else None,
        algorithm_id=_algorithm(ai.model) if ai.model else None,
        finding_sites=_sites(ai.measurements if is_found else None),
        measurements=measured or None,
        qualitative_evaluations=evaluations,
    )
    return _with_texts(group, [ai.headline, *ai.reasons, *ai.notes])


def _drawn(parts: Parts, segmentation: Any, number: int, outlined: Outlined) -> Any:
    group = _group(
        parts,
        outlined.about.tracked,
        segmentation,
        number,
        finding_type=codes.PNEUMOTHORAX,
        finding_sites=_sites(outlined.about.measurements),
        measurements=_measurements(outlined.about.measurements) or None,
    )
    return _with_texts(group, [outlined.about.label])


def _finding(parts: Parts) -> Any:
    """What the reader states of the exam."""
    reader = parts.content.reader
    assert reader is not None
    evaluations = []
    if reader.finding is not None:
        value = codes.READER_FINDINGS[reader.finding.value]
        evaluations.append(QualitativeEvaluation(codes.READER_FINDING, value))
    is_seen = reader.finding is not None and reader.finding.value in codes.SIDES
    if not is_seen:
        evaluations.append(QualitativeEvaluation(codes.LOOKED_FOR, codes.PNEUMOTHORAX))
    group = _group(
        parts,
        reader.tracked,
        None,
        0,
        finding_type=codes.PNEUMOTHORAX if is_seen else None,
        qualitative_evaluations=evaluations,
    )
    return _with_texts(group, reader.texts)


def _group(
    parts: Parts, tracked: Tracked, segmentation: Segmentation | None, number: int, **stated: Any
) -> Any:
    """A group about a segment of the segmentation; about the picture where `number` is 0."""
    common = {
        "tracking_identifier": TrackingIdentifier(uid=tracked.uid, identifier=tracked.identifier),
    } | stated
    if segmentation is None or not number:
        image = SourceImageForMeasurementGroup.from_source_image(parts.image)
        return MeasurementsAndQualitativeEvaluations(source_images=[image], **common)
    region = ReferencedSegmentationFrame(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        frame_number=number,
        segment_number=number,
        source_image=SourceImageForSegmentation.from_source_image(parts.image),
    )
    # The number of the segment alone: beside it none of a frame may stand (PS3.3 C.18.4).
    for item in region:
        for reference in item.get("ReferencedSOPSequence", ()):
            if "ReferencedSegmentNumber" in reference:
                del reference.ReferencedFrameNumber
    return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=region, **common)


def _algorithm(model: ModelUsed) -> AlgorithmIdentification:
    parameters = [
        f"SHA-256 of the weights: {model.sha256}",
        f"Operating point: {model.operating_point}" if model.operating_point else "",
        _threshold("Threshold of the picture", model.image_threshold),
        _threshold("Threshold of the outline", model.pixel_threshold),
        f"Size floor: {model.floor}" if model.floor else "",
    ]
    return AlgorithmIdentification(
        name=model.name,
        version=model.version,
        parameters=[one for one in parameters if one],
        family=codes.ARTIFICIAL_INTELLIGENCE,
    )


def _threshold(name: str, value: float | None) -> str:
    return "" if value is None else f"{name}: {value:.4g}"


def _measurements(measured: Measurements | None) -> list[Measurement]:
    """Areas and lengths, in mm only where the pixel spacing is known."""
    if measured is None or not measured.area_px:
        return []
    found = [_number(codes.AREA, measured.area_px, codes.PIXEL)]
    if measured.area_mm2 is not None:
        found.append(_number(codes.AREA, measured.area_mm2, codes.SQUARE_MILLIMETRE))
    if measured.distance_mm is not None:
        found.append(_number(codes.DISTANCE, measured.distance_mm, codes.MILLIMETRE))
    elif measured.distance_px is not None:
        found.append(_number(codes.DISTANCE, measured.distance_px, codes.PIXEL))
    for extent in measured.extents or ():
        found += _of_side(extent)
    return found


def _of_side(extent: Extent) -> Iterable[Measurement]:
    site = [FindingSite(codes.PLEURA, laterality=codes.SIDES[extent.side])]
    if extent.fraction is not None and extent.border_found:
        yield _number(codes.AIR_SHARE, 100 * extent.fraction, codes.PERCENT, site)
    for name, concept in codes.LEVELS.items():
        level = getattr(extent, name)
        if level is not None and level.mm is not None:
            yield _number(concept, level.mm, codes.MILLIMETRE, site)
        elif level is not None:
            yield _number(concept, level.px, codes.PIXEL, site)
    for name, concept in codes.INDICES.items():
        index = getattr(extent, name)
        if index.applies and index.percent is not None and extent.border_found:
            yield _number(concept, index.percent, codes.PERCENT, site)


def _number(
    name: CodedConcept, value: float, unit: CodedConcept, sites: list[FindingSite] | None = None
) -> Measurement:
    # At most 16 characters (DS), and more digits than any measurement is good for.
    return Measurement(name=name, value=float(f"{value:.7g}"), unit=unit, finding_sites=sites)


def _sites(measured: Measurements | None) -> list[FindingSite] | None:
    if measured is None or measured.side is None:
        return None
    return [FindingSite(codes.PLEURA, laterality=codes.SIDES[measured.side])]


def _with_texts(group: Any, texts: Iterable[str]) -> Any:
    for line in texts:
        group[0].ContentSequence.append(_comment(line))
    return group


def _comment(line: str) -> TextContentItem:
    return TextContentItem(codes.COMMENT, line, RelationshipTypeValues.CONTAINS)


def _name(name: str) -> str:
    """A person's name as one component: the record does not state which part is the family's."""
    plain = " ".join("".join(c if c not in "\\^=" else " " for c in name).split())
    return f"{plain[:64]}^"


def _before(parts: Parts) -> list[Dataset]:
    """The document that this one replaces, as far as a reference needs it."""
    found = []
    for one in parts.content.before:
        if one.kind is ObjectKind.STRUCTURED_REPORT:
            found.append(referred(parts.image, one.sop_class, one.series, one.instance))
    return found


def referred(image: Dataset, sop_class: str, series: str, instance: str) -> Dataset:
    """An object of the picture's study that is not at hand, to be referred to."""
    other = Dataset()
    other.SOPClassUID, other.SOPInstanceUID = sop_class, instance
    other.StudyInstanceUID, other.SeriesInstanceUID = image.StudyInstanceUID, series
    return other

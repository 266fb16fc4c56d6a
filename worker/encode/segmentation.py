"""The outlines as a Segmentation of the picture's own pixels."""

from __future__ import annotations

from typing import Final

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PlaneOrientationSequence
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)

from worker.contract.contents.object_content import ObjectKind
from worker.encode import codes
from worker.encode.parts import MANUFACTURER, Outlined, Parts, further_uid, plain, stamp

# A radiograph has no thickness; readers of segmentations ask for one.
_THICKNESS: Final = 1.0
_IN_PLANE: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def make(parts: Parts) -> Segmentation:
    """One segment for each outline, the model's first; the caller has seen that there is one."""
    masks = np.stack([one.mask > 0 for one in parts.outlines], axis=-1)
    made = Segmentation(
        source_images=[parts.image],
        pixel_array=masks[np.newaxis],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(parts, n, o) for n, o in enumerate(parts.outlines, 1)],
        content_description=plain(parts.content.research)[:64],
        content_label="PNEUMOTHORAX",
        content_creator_name=f"{MANUFACTURER}^",
        omit_empty_frames=True,
        **parts.named(ObjectKind.SEGMENTATION),
    )
    _place(made, parts)
    stamp(made, parts)
    return made


def _place(made: Segmentation, parts: Parts) -> None:
    """What readers ask of a segmentation, though a radiograph has no place in the patient.

    OHIF hangs without an orientation of the plane, highdicom refuses pixels without thickness.
    """
    made.PatientOrientation = parts.image.get("PatientOrientation", "")
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", _IN_PLANE)
    if "PixelMeasuresSequence" in shared:
        shared.PixelMeasuresSequence[0].SliceThickness = _THICKNESS
    own = further_uid(made.SOPInstanceUID, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = own


def _segment(parts: Parts, number: int, outlined: Outlined) -> SegmentDescription:
    model = parts.content.ai.model if outlined.is_ai else None
    algorithm = None
    if model is not None:
        algorithm = AlgorithmIdentificationSequence(
            name=model.name[:64], family=codes.ARTIFICIAL_INTELLIGENCE, version=model.version
        )
    kind = SegmentAlgorithmTypeValues.AUTOMATIC if model else SegmentAlgorithmTypeValues.MANUAL
    return SegmentDescription(
        segment_number=number,
        segment_label=outlined.about.label[:64],
        segmented_property_category=codes.ABNORMAL,
        segmented_property_type=codes.PNEUMOTHORAX,
        algorithm_type=kind,
        algorithm_identification=algorithm,
        tracking_uid=outlined.about.tracked.uid,
        tracking_id=outlined.about.tracked.identifier,
        anatomic_regions=[codes.PLEURA],
    )

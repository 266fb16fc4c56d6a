"""A presentation state that draws the outlines as graphics and leaves all else to the viewer.

It has no window: applied, the reader's own stays.
"""

from __future__ import annotations

from typing import Final

import highdicom
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)

from worker.contract.contents.object_content import ObjectKind
from worker.encode.parts import MANUFACTURER, Outlined, Parts, plain, rings, stamp

# CIELab of the colours in which the pages draw the outlines.
_AI: Final = CIELabColor(66.0, -42.0, -2.0)
_READER: Final = CIELabColor(74.0, 22.0, 71.0)
# How far a line may be from the outline, in pixels: nobody sees it.
_TOLERANCE: Final = 0.5


def make(parts: Parts) -> GrayscaleSoftcopyPresentationState:
    """The state; the caller has seen that there is an outline and that the picture is grey."""
    layers, annotations = list[GraphicLayer](), list[GraphicAnnotation]()
    for number, outlined in enumerate(parts.outlines, 1):
        layer = GraphicLayer(
            "AI_OUTLINE" if outlined.is_ai else f"READER_{number}",
            order=number,
            description=plain(outlined.about.label)[:64],
            display_color=_AI if outlined.is_ai else _READER,
        )
        layers.append(layer)
        annotations.append(
            GraphicAnnotation(
                referenced_images=[parts.image],
                graphic_layer=layer,
                graphic_objects=_lines(outlined),
                text_objects=[_caption(parts, outlined, number)],
            )
        )
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=[parts.image],
        content_label="PNEUMOTHORAX",
        content_description=plain(parts.content.research)[:64],
        content_creator_name=f"{MANUFACTURER}^",
        graphic_layers=layers,
        graphic_annotations=annotations,
        presentation_lut_transformation=highdicom.PresentationLUTTransformation(
            presentation_lut_shape=_shape(parts)
        ),
        **parts.named(ObjectKind.PRESENTATION),
    )
    made.Laterality = ""  # of the body part: none is stated where the header states none
    stamp(made, parts)
    return made


def _shape(parts: Parts) -> str:
    """Of a picture whose lowest value is white the state says so: it is applied in its place."""
    return "INVERSE" if parts.image.PhotometricInterpretation == "MONOCHROME1" else "IDENTITY"


def _lines(outlined: Outlined) -> list[GraphicObject]:
    return [
        GraphicObject(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=ring,
            units=AnnotationUnitsValues.PIXEL,
            tracking_id=outlined.about.tracked.identifier,
            tracking_uid=outlined.about.tracked.uid,
        )
        for ring in rings(outlined.mask, _TOLERANCE)
    ]


def _caption(parts: Parts, outlined: Outlined, number: int) -> TextObject:
    """What the line is, by which model, in a corner of the picture."""
    model = parts.content.ai.model
    by = f" – {model.name} {model.version}" if outlined.is_ai and model else ""
    bottom = 0.98 - 0.04 * (number - 1)
    return TextObject(
        text_value=plain(f"{outlined.about.label}{by}. {parts.content.research}"),
        units=AnnotationUnitsValues.DISPLAY,
        bounding_box=(0.02, bottom - 0.04, 0.98, bottom),
    )

"""Readers' outlines on the case page: the versions, and the newest one's size by the model's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from portal.access import Actor, Permission
from portal.languages import _, pgettext
from portal.reading.case_records import StudyView
from portal.studies.reader_outlines import OutlineView, as_seen
from portal.studies.stored_results import hemithorax_share
from portal.web.present import wording


@dataclass(frozen=True)
class OutlineLine:
    """One version. Texts are empty where there is nothing to compare with."""

    id: UUID
    author: str
    when: datetime
    area: str
    dice_model: str
    dice_before: str
    note: str


@dataclass(frozen=True)
class OutlinePanel:
    """The outlines of the picture that is shown, the newest first, and who is editing.

    `measures`: name, the reader's value and the model's. `draft`: a sentence, "" for none.
    """

    lines: list[OutlineLine]
    measures: list[tuple[str, str, str]]
    note: str
    draft: str
    may_edit: bool


def panel(view: StudyView, actor: Actor) -> OutlinePanel:
    """The panel for this person."""
    shown = view.picture.instance_id
    versions = [one for one in view.outlines if one.instance_id == shown]
    measured = (view.picture.prediction.measurements if view.picture.prediction else None) or {}
    newest = versions[-1] if versions else None
    return OutlinePanel(
        lines=[_line(one) for one in reversed(versions)],
        measures=_measures(newest, measured),
        note=_note(newest),
        draft=_draft(view, actor),
        may_edit=actor.may(Permission.REVIEW_WRITE),
    )


def viewer(view: StudyView, actor: Actor) -> dict[str, Any]:
    """For static/js/editor: addresses, and the version to draw."""
    shown = view.picture.instance_id
    ids = [one.outline_id for one in view.outlines if one.instance_id == shown]
    base = f"/studies/{view.study_id}/outline"
    return {
        "url": base,
        "newest": str(ids[-1]) if ids else None,
        "mayEdit": actor.may(Permission.REVIEW_WRITE),
        "measuring": bool(ids) and _newest(view.outlines, shown).measuring == "waiting",
    }


def drawn(view: StudyView) -> str:
    """What a review of this page names as the outlines that it has shown."""
    newest = {one.instance_id: one.outline_id for one in view.outlines}
    return as_seen(newest.values())


def _newest(outlines: Sequence[OutlineView], picture: UUID) -> OutlineView:
    return [one for one in outlines if one.instance_id == picture][-1]


def _line(one: OutlineView) -> OutlineLine:
    measured = one.measurements or {}
    if one.pixels:
        area = wording.area(measured.get("area_mm2"), one.pixels)
    else:
        area = _("nothing outlined")
    return OutlineLine(
        id=one.outline_id,
        author=one.author,
        when=one.created,
        area=area,
        dice_model=_dice(one.dice_model),
        dice_before=_dice(one.dice_before),
        note=_("kept when another reader took over") if one.kept else "",
    )


def _dice(value: float | None) -> str:
    return "" if value is None else wording.fixed(value, 2)


def _measures(newest: OutlineView | None, model: dict[str, Any]) -> list[tuple[str, str, str]]:
    if newest is None:
        return []
    mine, known = newest.measurements or {}, newest.measurements is not None
    waiting = "–" if known or newest.measuring == "failed" else "…"
    pairs = [
        (_("Side"), where_of(mine), where_of(model)),
        (_("Share of the hemithorax"), _share(mine), _share(model)),
        (_("Greatest distance"), _distance(mine), _distance(model)),
        (pgettext("measure", "Area"), _area(mine), _area(model)),
    ]
    return [(name, own or waiting, other or "–") for name, own, other in pairs if own or other]


def _note(newest: OutlineView | None) -> str:
    if newest is None or newest.measuring == "done":
        return ""
    if newest.measuring == "failed":
        return _("The outline could not be measured. An administrator can try again.")
    return _("The outline is being measured.")


def where_of(measured: dict[str, Any]) -> str:
    """Side and zones in words; "" where nothing is outlined."""
    return wording.where(
        measured.get("side"),
        measured.get("zones", ()),
        assumed=bool(measured.get("side_assumed")),
        thirds=measured.get("zones_by") is None,
    )


def _share(measured: dict[str, Any]) -> str:
    found = hemithorax_share(measured) if measured.get("area_px") else None
    return wording.share(found[1]) if found else ""


def _distance(measured: dict[str, Any]) -> str:
    return wording.length(measured.get("distance_mm"), measured.get("distance_px"))


def _area(measured: dict[str, Any]) -> str:
    pixels = measured.get("area_px")
    return wording.area(measured.get("area_mm2"), pixels) if pixels else ""


def _draft(view: StudyView, actor: Actor) -> str:
    shown = view.picture.instance_id
    found = next((one for one in view.outline_drafts if one.instance_id == shown), None)
    if found is None:
        return ""
    if found.editor_id == actor.user_id:
        return _("You have an unfinished outline: E goes on with it.") if found.is_drawn else ""
    if found.is_held:
        return _("%(name)s is editing this outline.", name=found.editor)
    if found.is_drawn:
        return _("%(name)s has an unfinished outline.", name=found.editor)
    return ""

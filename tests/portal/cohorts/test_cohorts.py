"""Cohorts: frozen whole or not at all, the same splits again, tombstones after a purge."""

import csv
import hashlib
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks
from sqlalchemy import select

from ml.datasets import rle
from ml.images import overlay, reader
from ml.preparation import phantom
from portal.audit.verification import verify
from portal.cohorts import folder as folders
from portal.cohorts import freezing, upkeep
from portal.cohorts.folder import BadFolder
from portal.cohorts.freezing import Frozen
from portal.cohorts.selection import Filters
from portal.governance import purges
from portal.models import (
    AiShown,
    Cohort,
    ModelVersion,
    Prediction,
    PurgeReason,
    RetractionReason,
    Study,
    TeamChoices,
)
from portal.reading.reviews import add_review
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.jobs import prediction_of
from tests.support.outlines.pages import Page
from tests.support.second_reads.readers import ask, colleague, state
from worker.contract import outline_runs

ROWS, COLUMNS = 256, 224
CANARY = "CANARY^ZEBRA"


def film(
    clinic: Clinic, number: int, *, finding: str = "right", found: bool = True, **tags: Any
) -> UUID:
    """A phantom that was rendered, analysed and read."""
    drawn = phantom.draw(number, "right", 30, rows=ROWS, columns=COLUMNS)
    data = tagged(phantom.dicom(drawn), PatientName=CANARY, **tags)
    picture = reader.read(data)
    study = clinic.submit(data, now=after(seconds=number)).study_id
    ticket = clinic.claim(clinic.job(study).id)
    assert ticket is not None
    clinic.store(
        ticket,
        pixels=picture.canonical(),
        preview=reader.preview(picture),
        thumb=reader.thumb(picture),
    )
    follower = clinic.finish(ticket, {"facts": picture.facts()})
    assert follower is not None
    ticket = clinic.claim(follower)
    assert ticket is not None
    mask = drawn.mask if found else np.zeros_like(drawn.mask)
    clinic.store(ticket, probability=bytes(16), mask=overlay.mask_png(mask))
    measured = {"area_px": int(mask.sum()), "side": "right" if found else None}
    band = "likely" if found else "none_found"
    clinic.finish(ticket, {"prediction": prediction_of(band=band, measurements=measured)})
    if finding:
        with clinic.session as session:
            add_review(
                session, clinic.vault, clinic.mate, study, finding=finding, comment=CANARY, now=NOW
            )
    return study


def tagged(data: bytes, **tags: Any) -> bytes:
    import io

    import pydicom

    read = pydicom.dcmread(io.BytesIO(data))
    for name, value in tags.items():
        setattr(read, name, value)
    out = io.BytesIO()
    read.save_as(out)
    return out.getvalue()


def drawn_by(clinic: Clinic, study: UUID, actor: Any, mask: Any, now: datetime = NOW) -> None:
    """An outline by a reader."""
    page = Page(clinic, study, actor)
    page.begin(now)
    page.save(runs_of(mask), now=now, size=(ROWS, COLUMNS))


def runs_of(mask: Any) -> bytes:
    flat = np.concatenate([[0], mask.ravel().view(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat)).reshape(-1, 2)
    return outline_runs.encode([(int(a), int(b)) for a, b in edges], ROWS, COLUMNS)


def freeze(clinic: Clinic, place: Path, name: str = "trial", **options: Any) -> Frozen:
    filters = options.pop("filters", Filters(clinic.mate.team_id))
    options = {"looked": True} | options
    with clinic.session as session:
        return freezing.freeze(session, clinic.vault, name, place, filters, NOW, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def box(top: int, left: int) -> Any:
    mask = np.zeros((ROWS, COLUMNS), np.bool_)
    mask[top : top + 60, left : left + 40] = True
    return mask


def test_a_cohort_holds_pictures_masks_tables_and_nobodys_name(
    clinic: Clinic, tmp_path: Path
) -> None:
    agreed = film(clinic, 1)
    corrected = film(clinic, 2)
    film(clinic, 3, finding="none", found=False)
    film(clinic, 4, finding="left")  # a finding that nobody has outlined
    film(clinic, 5, finding="")  # not read
    drawn_by(clinic, corrected, clinic.mate, box(20, 30))
    place = tmp_path / "cohort"
    done = freeze(clinic, place)
    assert (done.pictures, done.labelled, done.left_out) == (4, 3, {})
    manifest = json.loads((place / "manifest.json").read_bytes())
    labels = [one["label"] for one in manifest["pictures"]]
    assert labels == ["ai_outline", "reader_outline", "none_found", "not_labelled"]
    assert manifest["exams"][0]["reviews"][0]["models_seen"][0]["name"] == "pleura-lite2"
    for name, stated in manifest["files"].items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == stated["sha256"]
    everything = b"".join(one.read_bytes() for one in place.rglob("*") if one.is_file())
    for secret in (CANARY, "ZEBRA", agreed.hex, str(agreed), "Test mate", "mate@example.org"):
        assert secret.encode() not in everything
    texts = {one["ImageId"]: one["EncodedPixels"] for one in rows_of(place / "siim.csv")}
    coco = json.loads((place / "coco.json").read_bytes())
    assert len(coco["images"]) == 3
    assert sorted(texts.values())[0] == "-1"
    for name, text in texts.items():
        mask = cv2.imread(str(place / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0
        assert mask.shape == (ROWS, COLUMNS)
        wide = cv2.resize(
            mask.astype(np.uint8), (1024, 1024), interpolation=cv2.INTER_NEAREST_EXACT
        )
        assert (rle.decode(text, 1024, 1024) == (wide > 0)).all()
    corrected_name = manifest["pictures"][1]["id"]
    found = {one["id"]: one["file_name"] for one in coco["images"]}
    for one in coco["annotations"]:
        size = one["segmentation"]["size"]
        packed = coco_masks.frPyObjects(one["segmentation"], *size)
        mask = coco_masks.decode(packed) > 0
        assert one["area"] == int(mask.sum())
        assert one["bbox"] == coco_masks.toBbox(packed).tolist()
        if Path(found[one["image_id"]]).stem == corrected_name:
            assert (mask == box(20, 30)).all()


def test_each_readers_mask_is_apart(clinic: Clinic, tmp_path: Path) -> None:
    study = film(clinic, 2)
    from dataclasses import replace

    from portal.models import Role
    from tests.support.people import add_person

    with clinic.session as session:
        second = add_person(session, Role.READER, "second@example.org", name="Second", team="Here")
        session.commit()
    other = replace(clinic.mate, user_id=second.id)
    drawn_by(clinic, study, clinic.mate, box(20, 30))
    drawn_by(clinic, study, other, box(90, 60), after(minutes=1))
    place = tmp_path / "cohort"
    freeze(clinic, place)
    folders_ = sorted((place / "reader-masks").iterdir())
    assert len(folders_) == 2
    masks = [cv2.imread(str(next(one.iterdir())), 0) > 0 for one in folders_]
    for wanted in (box(20, 30), box(90, 60)):
        assert any((mask == wanted).all() for mask in masks)


def labels(place: Path) -> list[str]:
    manifest = json.loads((place / "manifest.json").read_bytes())
    return [str(one["label"]) for one in manifest["pictures"]]


def test_what_a_reader_erased_is_nothing_to_learn_from(clinic: Clinic, tmp_path: Path) -> None:
    erased, drawn_first = film(clinic, 1), film(clinic, 2)
    nothing = np.zeros((ROWS, COLUMNS), np.bool_)
    drawn_by(clinic, erased, clinic.mate, nothing)
    drawn_by(clinic, drawn_first, clinic.mate, box(20, 30))
    drawn_by(clinic, drawn_first, colleague(clinic, "second"), nothing, after(minutes=1))
    freeze(clinic, tmp_path / "cohort")
    assert labels(tmp_path / "cohort") == ["not_labelled", "not_labelled"]


def test_a_draft_that_was_taken_over_hides_no_outline_of_its_author(
    clinic: Clinic, tmp_path: Path
) -> None:
    study = film(clinic, 1)
    drawn_by(clinic, study, clinic.mate, box(20, 30))
    again = Page(clinic, study, clinic.mate)
    again.begin(after(minutes=1))
    again.draft(runs_of(box(90, 60)), now=after(minutes=1), size=(ROWS, COLUMNS))
    Page(clinic, study, colleague(clinic, "second")).begin(after(minutes=2), take_over=True)
    assert [one.kept for one in again.versions()] == [False, True]
    place = tmp_path / "cohort"
    freeze(clinic, place)
    assert labels(place) == ["reader_outline"]
    for folder in ("masks", "reader-masks/*"):
        (mask,) = (cv2.imread(str(one), 0) > 0 for one in place.glob(f"{folder}/*.png"))
        assert (mask == box(20, 30)).all()


def test_an_outline_that_the_reader_did_not_see_is_no_label(clinic: Clinic, tmp_path: Path) -> None:
    film(clinic, 1)
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=AiShown.AFTER_VERDICT))
        session.commit()
    film(clinic, 2)
    place = tmp_path / "cohort"
    freeze(clinic, place)
    assert labels(place) == ["ai_outline", "not_labelled"]
    manifest = json.loads((place / "manifest.json").read_bytes())
    seen = [one["reviews"][0]["models_seen"] for one in manifest["exams"]]
    assert [len(models) for models in seen] == [1, 0]
    # Nor that of a model whose results came after the reader had agreed with another's.
    with clinic.session as session:
        first = session.scalars(select(Prediction).order_by(Prediction.created)).first()
        assert first is not None
        other = ModelVersion(name="other", version="2", sha256="cd" * 32, created=NOW)
        session.add(other)
        session.flush()
        session.add(
            Prediction(
                **{
                    column.key: getattr(first, column.key)
                    for column in Prediction.__table__.columns
                    if column.key not in ("id", "model_id", "created")
                },
                model_id=other.id,
                created=after(days=1),
            )
        )
        session.commit()
    freeze(clinic, tmp_path / "later")
    assert labels(tmp_path / "later") == ["not_labelled", "not_labelled"]


def test_a_retracted_result_is_marked_and_no_label(clinic: Clinic, tmp_path: Path) -> None:
    film(clinic, 1)
    with clinic.session as session:
        (model,) = session.scalars(select(ModelVersion))
        model.retracted_at, model.retraction_reason = NOW, RetractionReason.INCIDENT
        session.commit()
    place = tmp_path / "cohort"
    freeze(clinic, place)
    assert labels(place) == ["not_labelled"]
    (picture,) = json.loads((place / "manifest.json").read_bytes())["pictures"]
    assert picture["prediction"]["model"]["retracted"] == RetractionReason.INCIDENT.value


def test_a_patient_keeps_the_fold_and_versions_count_on(clinic: Clinic, tmp_path: Path) -> None:
    film(clinic, 1, PatientID="P1")
    freeze(clinic, tmp_path / "one")
    film(clinic, 2, PatientID="P1")
    film(clinic, 3, PatientID="P2")
    done = freeze(clinic, tmp_path / "two")
    assert (done.cohort.version, done.patients) == (2, 2)
    first = json.loads((tmp_path / "one" / "splits.json").read_bytes())["patients"]
    second = json.loads((tmp_path / "two" / "splits.json").read_bytes())["patients"]
    assert first.items() <= second.items()
    index = rows_of(tmp_path / "two" / "index.csv")
    assert len({(one["patient"], one["fold"]) for one in index}) == 2
    # An earlier version's folds go first, such as after a merge of patients.
    splits = tmp_path / "one" / "splits.json"
    (patient,) = first
    moved = {"folds": 5, "patients": {patient: (first[patient] + 1) % 5}}
    data = folders.as_json(moved)
    splits.write_bytes(data)
    with pytest.raises(BadFolder, match="not as it was frozen"):
        freeze(clinic, tmp_path / "three", after=tmp_path / "one")
    assert not (tmp_path / "three").exists()


def test_a_purge_leaves_a_tombstone(clinic: Clinic, tmp_path: Path) -> None:
    gone, stays = film(clinic, 1, PatientID="P1"), film(clinic, 2, PatientID="P2")
    place = tmp_path / "cohort"
    freeze(clinic, place)
    before = json.loads((place / "manifest.json").read_bytes())
    with clinic.session as session:
        purges.purge(
            session, clinic.vault, None, gone, after(days=1), reason=PurgeReason.PATIENT_REQUEST
        )
    with clinic.session as session:
        found = upkeep.check(session, clinic.vault, place)
        assert (found.is_known, found.problems, len(found.purged)) == (True, [], 1)
        assert upkeep.purge(session, clinic.vault, place, NOW) == found.purged
        (name,) = found.purged
        again = upkeep.check(session, clinic.vault, place)
        assert (again.is_known, again.problems, again.purged) == (True, [], [])
        assert upkeep.purge(session, clinic.vault, place, NOW) == []
        assert verify(session).is_whole
    assert json.loads((place / "manifest.json").read_bytes()) == before
    assert list(place.rglob(f"{name}*")) == []
    for table in ("siim.csv", "index.csv", "coco.json"):
        assert name not in (place / table).read_text()
    assert len(json.loads((place / "splits.json").read_bytes())["patients"]) == 1
    stones = json.loads((place / "tombstones.json").read_bytes())
    assert stones["pictures"] == [name]
    done = freeze(clinic, tmp_path / "next")
    assert done.pictures == 1
    assert json.loads((tmp_path / "next" / "manifest.json").read_bytes())["tombstones"] == [name]
    assert stays


@pytest.mark.parametrize("left", ["nothing done", "tables written", "files removed"])
def test_a_stop_in_the_middle_of_a_removal_is_made_good(
    clinic: Clinic, tmp_path: Path, left: str
) -> None:
    gone = film(clinic, 1, PatientID="P1")
    film(clinic, 2, PatientID="P2")
    place, whole = tmp_path / "cohort", tmp_path / "whole"
    freeze(clinic, place)
    shutil.copytree(place, whole)
    with clinic.session as session:
        purges.purge(session, clinic.vault, None, gone, after(days=1), reason=PurgeReason.OTHER)
    with clinic.session as session:
        (name,) = upkeep.purge(session, clinic.vault, place, NOW)
    after_it = {one: one.read_bytes() for one in place.rglob("*") if one.is_file()}
    # As if it had stopped after the tombstones were written, and what was done by then.
    for file in whole.rglob("*"):
        is_table = file.parent == whole
        if file.is_file() and left != ("tables written" if is_table else "files removed"):
            (place / file.relative_to(whole)).parent.mkdir(exist_ok=True)
            shutil.copy(file, place / file.relative_to(whole))
    with clinic.session as session:
        found = upkeep.check(session, clinic.vault, place)
        assert found.purged == [name]
        assert found.problems
        assert upkeep.purge(session, clinic.vault, place, NOW) == [name]
        found = upkeep.check(session, clinic.vault, place)
        assert (found.problems, found.purged) == ([], [])
    assert {one: one.read_bytes() for one in place.rglob("*") if one.is_file()} == after_it


def test_a_stop_before_the_tombstones_is_made_good(clinic: Clinic, tmp_path: Path) -> None:
    gone = film(clinic, 1, PatientID="P1")
    place, whole = tmp_path / "cohort", tmp_path / "whole"
    freeze(clinic, place)
    shutil.copytree(place, whole)
    with clinic.session as session:
        purges.purge(session, clinic.vault, None, gone, after(days=1), reason=PurgeReason.OTHER)
    with clinic.session as session:
        (name,) = upkeep.purge(session, clinic.vault, place, NOW)
    (whole / "tombstones.json.new").write_text("{")
    with clinic.session as session:
        assert upkeep.purge(session, clinic.vault, whole, NOW) == [name]
        assert upkeep.check(session, clinic.vault, whole).problems == []


def test_a_removal_takes_no_change_of_a_table_with_it(clinic: Clinic, tmp_path: Path) -> None:
    gone = film(clinic, 1, PatientID="P1")
    film(clinic, 2, PatientID="P2")
    place = tmp_path / "cohort"
    freeze(clinic, place)
    with clinic.session as session:
        purges.purge(session, clinic.vault, None, gone, after(days=1), reason=PurgeReason.OTHER)
    labels = (place / "siim.csv").read_bytes()
    (place / "siim.csv").write_bytes(labels + b"another,-1\n")
    with clinic.session as session:
        with pytest.raises(BadFolder, match=r"siim\.csv: changed"):
            upkeep.purge(session, clinic.vault, place, NOW)
        assert not (place / "tombstones.json").exists()
        (place / "siim.csv").write_bytes(labels)
        assert len(upkeep.purge(session, clinic.vault, place, NOW)) == 1
        # Nor do tombstones that were written by somebody else.
        table = (place / "siim.csv").read_bytes() + b"another,-1\n"
        (place / "siim.csv").write_bytes(table)
        stones = json.loads((place / "tombstones.json").read_bytes())
        stones["rewritten"]["siim.csv"] = hashlib.sha256(table).hexdigest()
        (place / "tombstones.json").write_bytes(folders.as_json(stones))
        found = upkeep.check(session, clinic.vault, place)
        assert found.problems == ["tombstones.json: changed"]


def test_a_changed_file_is_named(clinic: Clinic, tmp_path: Path) -> None:
    film(clinic, 1)
    place = tmp_path / "cohort"
    freeze(clinic, place)
    image = next((place / "images").iterdir())
    image.write_bytes(flipped(image.read_bytes()))
    (place / "more.txt").write_text("x")
    (place / "index.csv").unlink()
    with clinic.session as session:
        found = upkeep.check(session, clinic.vault, place)
    assert found.problems == [
        f"images/{image.name}: changed",
        "index.csv: missing",
        "more.txt: not of this cohort",
    ]
    (place / "manifest.json").write_text('{"format": "pleura-cohort"}')
    with clinic.session as session, pytest.raises(BadFolder):
        upkeep.check(session, clinic.vault, tmp_path)


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "-a", "a" * 61])
def test_a_name_that_is_none_is_refused(clinic: Clinic, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadFolder):
        freeze(clinic, tmp_path / "cohort", name)


def test_what_is_in_the_way_is_left_alone(clinic: Clinic, tmp_path: Path) -> None:
    film(clinic, 1)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "full", tmp_path / "no" / "where"):
        with pytest.raises(BadFolder):
            freeze(clinic, place)
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir() if "being" in one.name) == []
    with clinic.session as session:
        assert session.scalars(select(Cohort)).all() == []


def test_a_disk_that_is_full_leaves_nothing(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(clinic, 1)
    written = 0

    def full(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(28, "No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(OSError, match="No space"):
        freeze(clinic, tmp_path / "cohort")
    assert written > 3
    assert not (tmp_path / "cohort").exists()
    assert not any("being" in one.name for one in tmp_path.iterdir())
    with clinic.session as session:
        assert session.scalars(select(Cohort)).all() == []


def test_only_the_teams_exams_of_the_days_that_were_asked_for(
    clinic: Clinic, tmp_path: Path
) -> None:
    study = film(clinic, 1)
    with clinic.session as session:
        arrived = session.get_one(Study, study).created
    for number, (filters, count) in enumerate(
        [
            (Filters(clinic.mate.team_id, since=arrived), 1),
            (Filters(clinic.mate.team_id, until=arrived), 0),
            (Filters(clinic.outsider.team_id), 0),
        ]
    ):
        done = freeze(clinic, tmp_path / str(number), f"n{number}", filters=filters)
        assert done.pictures == count


def test_what_may_hold_text_stays_out_until_somebody_has_looked(
    clinic: Clinic, tmp_path: Path
) -> None:
    film(clinic, 1, BurnedInAnnotation="YES")
    assert freeze(clinic, tmp_path / "a", looked=False).left_out == {"look_first": 1}
    assert freeze(clinic, tmp_path / "b").pictures == 1


def test_what_waits_for_another_reader_is_left_out_until_it_ends(
    clinic: Clinic, tmp_path: Path
) -> None:
    second, waiting = colleague(clinic, "second"), film(clinic, 1)
    film(clinic, 2)
    ask(clinic, clinic.mate, waiting)
    first = freeze(clinic, tmp_path / "one")
    assert (first.pictures, first.left_out) == (1, {"second_read": 1})
    state(clinic, second, waiting, "none", after(minutes=1))
    assert freeze(clinic, tmp_path / "two").left_out == {"second_read": 1}  # a third decides
    third = colleague(clinic, "third")
    state(clinic, third, waiting, "right", after(minutes=2))
    assert freeze(clinic, tmp_path / "three").pictures == 2

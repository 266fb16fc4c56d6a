"""Objects of results: the newest set, for whom may read the report that it was made of."""

import io
from typing import Any
from uuid import UUID

import pytest
from pydicom import dcmread
from sqlalchemy import select

from portal.access import Actor
from portal.ai_models import registry
from portal.dicomweb import file_parts, instances
from portal.dicomweb.records import ExamInstances, Served
from portal.governance import purges
from portal.models import (
    AiShown,
    Blob,
    BlobKind,
    Job,
    JobKind,
    ModelVersion,
    PurgeReason,
    RetractionReason,
    TeamChoices,
)
from tests.portal.reports.test_objects import analysed, full, sign
from tests.support.clinic import Clinic, after
from tests.support.hostile_files.damage import flipped
from tests.support.second_reads.readers import ask as ask_for_second
from tests.support.second_reads.readers import colleague, state


def of_exam(clinic: Clinic, study: UUID, actor: Actor | None = None) -> ExamInstances:
    with clinic.session as session:
        return instances.of_exams(session, clinic.vault, actor or clinic.mate, [study])[study]


def results(clinic: Clinic, study: UUID, actor: Actor | None = None) -> list[Served]:
    return [one for one in of_exam(clinic, study, actor).served if one.is_result]


def test_results_stand_behind_the_picture_with_their_own_uids(clinic: Clinic) -> None:
    study = analysed(clinic)
    assert [one.is_result for one in of_exam(clinic, study).served] == [False]
    made = full(clinic, study)
    found = of_exam(clinic, study).served
    assert [one.is_result for one in found] == [False, *[True] * 5]
    assert [one.modality for one in found[1:]] == ["SR", "SEG", "OT", "PR", "DOC"]
    for one in found[1:]:
        data = file_parts.file_of(clinic.vault, one)
        stored = dcmread(io.BytesIO(data))
        assert stored.Modality == one.modality
        assert stored == made[f"picture-1-{one.member}"]
        uids = stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID
        assert uids == (one.study_uid, one.series_uid, one.sop_uid)
        header = file_parts.header_of(clinic.vault, one)
        assert header.elements["00080060"]["Value"] == [one.modality]


def test_the_newest_set_replaces_the_one_before(clinic: Clinic) -> None:
    study = analysed(clinic)
    full(clinic, study)
    first = {one.sop_uid for one in results(clinic, study)}
    sign(clinic, study, "none", reason="skin_fold")
    full(clinic, study, after(minutes=5))
    second = results(clinic, study)
    assert {one.modality for one in second} == {"SR", "SEG", "OT", "PR", "DOC", "KO"}
    assert not first & {one.sop_uid for one in second}


@pytest.mark.parametrize(
    ("policy", "own", "sees"),
    [
        (AiShown.WITH_PICTURE, False, True),
        (AiShown.AFTER_VERDICT, False, False),
        (AiShown.AFTER_VERDICT, True, False),  # a colleague's report stays, and holds the AI
        (AiShown.NEVER, True, False),
    ],
)
def test_who_may_not_see_the_ai_gets_no_result(
    clinic: Clinic, policy: AiShown, own: bool, sees: bool
) -> None:
    study = analysed(clinic)
    full(clinic, study)
    other = colleague(clinic, "second")
    assert len(results(clinic, study, other)) == 5
    with clinic.session as session:
        session.merge(TeamChoices(team_id=clinic.mate.team_id, ai_shown=policy))
        session.commit()
    if own and policy is AiShown.AFTER_VERDICT:
        state(clinic, other, study, "right", after(minutes=2))
        sees = True  # once they have stated their own
    assert (len(results(clinic, study, other)) == 5) is sees
    assert len(of_exam(clinic, study, other).served) == (6 if sees else 1)


def test_a_second_reader_gets_no_result_of_the_first_read(clinic: Clinic) -> None:
    study = analysed(clinic)
    state(clinic, clinic.mate, study, "right")
    full(clinic, study)
    ask_for_second(clinic, clinic.mate, study)
    second = colleague(clinic, "second")
    assert len(results(clinic, study)) == 5
    assert results(clinic, study, second) == []
    assert len(of_exam(clinic, study, second).served) == 1


def test_a_result_that_was_withdrawn_since_is_left_out(clinic: Clinic) -> None:
    study = analysed(clinic)
    full(clinic, study)
    with clinic.session as session:
        model = session.scalars(select(ModelVersion)).one()
        reason = RetractionReason.WRONG_RESULTS.value
        registry.retract(session, clinic.admin, model.id, reason, after(minutes=3))
    assert results(clinic, study) == []
    full(clinic, study, after(minutes=5))
    # The new ones state that it counts as not analysed.
    assert {one.modality for one in results(clinic, study)} == {"SR", "OT", "DOC"}


def test_a_damaged_archive_leaves_the_picture(clinic: Clinic) -> None:
    study = analysed(clinic)
    full(clinic, study)
    with clinic.session as session:
        name = session.scalars(
            select(Blob.name)
            .join(Job, Job.id == Blob.job_id)
            .where(Job.kind == JobKind.ENCODE, Blob.kind == BlobKind.REPORT)
        ).one()
    path = clinic.core.data_dir / "blobs" / name[:2] / name
    path.write_bytes(flipped(path.read_bytes()))
    found = of_exam(clinic, study)
    assert (len(found.served), found.damaged) == (1, 1)


def test_of_a_purged_exam_nothing_is_served(clinic: Clinic) -> None:
    study = analysed(clinic)
    full(clinic, study)
    for one in of_exam(clinic, study).served:
        file_parts.header_of(clinic.vault, one)  # which stay in memory
    with clinic.session as session:
        purges.purge(
            session, clinic.vault, None, study, after(days=1), reason=PurgeReason.TEST_DATA
        )
    assert of_exam(clinic, study).served == ()


def test_others_teams_find_no_exam(clinic: Clinic) -> None:
    study = analysed(clinic)
    with clinic.session as session:
        uid = of_exam(clinic, study).served[0].study_uid
        found: Any = instances.of_study(session, clinic.vault, clinic.outsider, uid)
    assert (found[0], found[1].served) == (None, ())

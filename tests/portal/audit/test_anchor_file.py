"""The file of anchors: one that is gone is no file that never was."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from portal import audit
from portal.audit import alarms, anchor_file, anchored_check, anchors
from portal.models import AuditEvent
from portal.operations import background_check
from tests.support.audit_log import copied_row, fill, link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core, make_settings


def keep(core: Core, hours: float = 1) -> Path:
    """Anchor the log as the scheduler does; the file."""
    with core.sessions() as session:
        anchor_file.keep(session, core.settings, after(hours=hours))
        file = anchors.place(session, core.settings)
    link(core)
    return file


def check(core: Core, hours: float = 1) -> anchored_check.Checked:
    with core.sessions() as session:
        return anchored_check.check(session, core.settings, after(hours=hours))


def events(core: Core) -> list[str]:
    with core.sessions() as session:
        found = session.scalars(select(AuditEvent.event).order_by(AuditEvent.seq)).all()
    return [event for event in found if event.startswith("anchors_")]


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda file: file.write_text(""),
    "replaced": lambda file: file.write_text("nothing\n"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_of_anchors_that_is_gone_is_missed_and_raises_one_alarm(
    core: Core, harm: str
) -> None:
    fill(core, 3)
    file = keep(core)
    keep(core, 1.1)
    assert events(core) == ["anchors_begun"]
    assert check(core).is_whole
    HARM[harm](file)
    found = check(core)
    assert not found.is_whole
    assert found.refused == f"the log reaches to row 4, its anchors are gone: {file} has none."
    problems = background_check.problems_of_log(core.engine, core.settings, after(hours=1))
    assert problems == [f"access log: {found.refused}"]
    keep(core, 2)
    keep(core, 3)
    assert events(core) == ["anchors_begun", "anchors_gone", "anchors_begun"]
    again = check(core, 3)
    assert again.is_whole
    assert again.reach.endswith("Anchors of before 2026-03-04 11:00 UTC are gone (see the alarm).")


def test_an_alarm_of_lost_anchors_is_shown_to_the_auditor(clinic: Clinic) -> None:
    keep(clinic.core).unlink()
    keep(clinic.core, 2)
    with clinic.session as session:
        (alarm,), total = alarms.unseen(session, clinic.auditor)
    assert (alarm.event, alarm.person, total) == ("anchors_gone", "", 1)


def test_a_file_that_cannot_be_begun_again_raises_the_alarm_once(core: Core) -> None:
    file = keep(core)
    file.unlink()
    folder = file.parent
    folder.rmdir()
    folder.write_text("")
    for hours in (2, 3):
        with pytest.raises(anchors.AnchorFailed):
            keep(core, hours)
    assert events(core) == ["anchors_begun", "anchors_gone"]
    folder.unlink()
    keep(core, 4)
    assert events(core)[2:] == ["anchors_begun"]


def test_another_place_that_is_set_is_begun_and_no_loss(core: Core, tmp_path: Path) -> None:
    keep(core)
    elsewhere = make_settings(core.data_dir, PLEURA_AUDIT_ANCHOR_FILE=str(tmp_path / "anchors"))
    with core.sessions() as session:
        anchor_file.keep(session, elsewhere, after(hours=2))
    assert events(core) == ["anchors_begun", "anchors_begun"]


def test_a_backup_that_was_restored_elsewhere_misses_no_file(core: Core) -> None:
    keep(core).unlink()
    with core.sessions() as session:
        audit.append(session, anchors.RESTORED, now=NOW)
        session.commit()
    link(core)
    assert check(core).is_whole
    keep(core, 2)
    assert events(core) == ["anchors_begun", "anchors_begun"]


def test_a_file_from_a_version_before_is_noted_with_the_next_anchor(core: Core) -> None:
    with core.sessions() as session:
        taken = anchors.take(session, NOW)
        anchors.write(taken, file=anchors.place(session, core.settings), syslog="")
    keep(core)
    assert events(core) == ["anchors_begun"]


@pytest.mark.parametrize("event", ["anchors_begun", "anchors_gone"])
@pytest.mark.parametrize("detail", ["[]", "{", "7"])
def test_a_row_about_anchors_that_cannot_be_parsed_is_found_and_stops_nothing(
    core: Core, detail: str, event: str
) -> None:
    fill(core, 3)
    file = keep(core)
    copied_row(core, event, detail, of="anchors_begun")
    found = check(core)
    assert not found.is_whole
    problems = background_check.problems_of_log(core.engine, core.settings, after(hours=1))
    assert problems[0] == f"access log: row {found.log.first_bad}: {found.log.problem}"
    lines = len(file.read_text().splitlines())
    keep(core, 2)
    assert len(file.read_text().splitlines()) == lines + 1
    file.unlink()
    keep(core, 3)
    assert events(core).count("anchors_gone") == 1 + (event == "anchors_gone"), "still missed"

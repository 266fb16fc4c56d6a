"""Anchors: a log whose tail was cut or written anew does not fit what was written elsewhere."""

import json
import socket
from pathlib import Path

import pytest
from sqlalchemy import select, text

from portal import audit
from portal.audit import anchors, chain, macs
from portal.models import AuditEvent, AuditHead, AuditLink, AuditWriter
from tests.support.audit_log import check, disarm, fill
from tests.support.clinic import after
from tests.support.core import Core


def take(core: Core, file: Path) -> anchors.Anchor:
    with core.sessions() as session:
        taken = anchors.take(session, after(hours=1))
    anchors.write(taken, file=file, syslog="")
    return taken


def compare(core: Core, file: Path) -> anchors.Anchored:
    with core.sessions() as session:
        return anchors.compare(session, file.read_text().splitlines())


def forge(core: Core, keep: int, add: int) -> None:
    """Cut the log behind row `keep` and write `add` others, as one with database and keys could."""
    disarm(core)
    with core.sessions() as session:
        key = macs.key_of(session)
        last, end = session.get(AuditEvent, keep), session.get(AuditLink, keep)
        head, writer = session.get_one(AuditHead, 1), session.get_one(AuditWriter, 1)
        session.execute(text(f"DELETE FROM audit_events WHERE seq > {keep}"))
        session.execute(text(f"DELETE FROM audit_links WHERE position > {keep}"))
        writer.count, writer.mac = keep, last.mac if last else ""
        writer.seal = macs.of_writer(key, 1, keep, writer.mac)
        head.count, head.mac = keep, end.mac if end else ""
        head.linked = json.dumps({"1": keep})
        head.seal = macs.of_head(key, keep, head.mac, head.linked)
        session.flush()
        audit.go_on_numbering(session)
        session.commit()
    with core.sessions() as session:
        for number in range(add):
            audit.append(session, "forged", now=after(minutes=number))
        session.commit()
        chain.link(session)


def test_a_log_that_goes_on_fits_all_its_anchors(core: Core, tmp_path: Path) -> None:
    file = tmp_path / "anchors"
    take(core, file)  # of an empty log
    for _ in range(3):
        fill(core)
        take(core, file)
    fill(core)
    found = compare(core, file)
    assert (found.anchors, found.problem, found.rows_after) == (4, "", 5)
    assert file.stat().st_mode & 0o077 == 0


def test_an_end_that_was_cut_off_by_means_of_the_keys_is_found(core: Core, tmp_path: Path) -> None:
    file = tmp_path / "anchors"
    fill(core, 10)
    take(core, file)
    forge(core, keep=6, add=0)
    assert check(core).is_whole  # the chain alone can't tell
    found = compare(core, file)
    assert found.first_bad == 7
    assert found.problem.startswith("4 rows that were there at 2026-03-04T10:00")


@pytest.mark.parametrize(("keep", "first_bad"), [(7, 6), (5, 6), (0, 1), (3, 1)])
def test_a_tail_written_anew_is_found_between_two_anchors(
    core: Core, tmp_path: Path, keep: int, first_bad: int
) -> None:
    """Anchors at 5 and 10 rows: the first bad row is named as exactly as they allow."""
    file = tmp_path / "anchors"
    fill(core, 5)
    take(core, file)
    fill(core, 5)
    take(core, file)
    forge(core, keep=keep, add=15 - keep)
    assert check(core).is_whole
    found = compare(core, file)
    assert found.first_bad == first_bad
    assert "are not those that were there" in found.problem


def test_a_line_that_was_changed_or_invented_is_refused(core: Core, tmp_path: Path) -> None:
    file = tmp_path / "anchors"
    fill(core)
    taken = take(core, file)
    read = json.loads(taken.line())
    read["pleura_anchor"]["seq"] = 4
    for line, reason in (
        (json.dumps(read), "not written by this portal"),
        ('{"pleura_anchor": {"seq": 1}}', "can't be read"),
        ('{"pleura_anchor": 7}', "can't be read"),
    ):
        file.write_text(f"Mar  4 host pleura: {taken.line()}\n{line}\n")
        with pytest.raises(anchors.AnchorFailed, match=f"Line 2 .*{reason}"):
            compare(core, file)


def test_a_line_that_was_cut_off_is_counted_and_the_next_one_is_whole(
    core: Core, tmp_path: Path
) -> None:
    """As a full disk leaves it: no reason to refuse every check from then on."""
    file = tmp_path / "anchors"
    fill(core)
    line = take(core, file).line()
    file.write_text(f"{line}\n{line[:40]}")
    take(core, file)
    found = compare(core, file)
    assert (found.anchors, found.unread, found.problem) == (2, 1, "")


def test_anchors_lie_beside_the_data_folder_each_portals_in_a_file_of_its_own(core: Core) -> None:
    fill(core)
    with core.sessions() as session:
        file = anchors.place(session, core.settings)
        assert file.parent == core.data_dir.parent / "data-anchors"
        audit.bind(core.engine, b"another portal's key")
        assert anchors.place(session, core.settings) != file
        chosen = core.settings.model_copy(update={"audit_anchor_file": Path("/x/y")})
        assert anchors.place(session, chosen) == Path("/x/y")


def test_other_lines_of_a_syslog_file_are_passed_over(core: Core, tmp_path: Path) -> None:
    fill(core)
    with core.sessions() as session:
        line = anchors.take(session, after(hours=1)).line()
    file = tmp_path / "syslog"
    file.write_text(f"Mar  4 10:00 host cron: hello\nMar  4 10:00 host pleura: {line}\n")
    found = compare(core, file)
    assert (found.anchors, found.problem, found.last_row) == (1, "", 5)


def test_an_anchor_reaches_syslog_by_socket_and_by_udp(core: Core, quick_path: Path) -> None:
    fill(core)
    with core.sessions() as session:
        taken = anchors.take(session, after(hours=1))
    path = quick_path / "log"
    for family, address in ((socket.AF_UNIX, str(path)), (socket.AF_INET, ("127.0.0.1", 0))):
        with socket.socket(family, socket.SOCK_DGRAM) as listener:
            listener.settimeout(10)
            listener.bind(address)
            name = (
                str(path)
                if family == socket.AF_UNIX
                else (f"127.0.0.1:{listener.getsockname()[1]}")
            )
            anchors.write(taken, file=None, syslog=name)
            assert taken.line() in listener.recv(4096).decode()


def test_what_cannot_be_written_is_reported(core: Core, tmp_path: Path) -> None:
    with core.sessions() as session:
        taken = anchors.take(session, after(hours=1))
    (tmp_path / "file").touch()
    with pytest.raises(
        anchors.AnchorFailed, match=r"can't be written.*; syslog .* can't be reached"
    ):
        anchors.write(taken, file=tmp_path / "file" / "x", syslog=str(tmp_path / "no-socket"))


def test_an_anchor_holds_nothing_about_anybody(core: Core, tmp_path: Path) -> None:
    fill(core)
    taken = take(core, tmp_path / "anchors")
    with core.sessions() as session:
        last = session.scalars(select(AuditLink).order_by(AuditLink.position.desc()).limit(1)).one()
    assert json.loads(taken.line()) == {
        "pleura_anchor": {
            "seq": 5,
            "mac": last.mac,
            "at": "2026-03-04T10:00:00+00:00",
            "signature": taken.signature,
        }
    }

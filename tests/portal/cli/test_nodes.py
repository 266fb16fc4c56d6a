"""What the commands about DICOM nodes and HL7 nodes do alike, as who runs a portal uses them."""

from pathlib import Path

import pytest

from tests.portal.cli.test_commands import folder, run

__all__ = ["folder"]
NAMED = {"dicom": ("CT_1",), "hl7": ("RIS", "HOSP")}
BOTH = pytest.mark.parametrize("kind", list(NAMED))


@BOTH
def test_a_node_is_changed_switched_off_and_on(folder: Path, kind: str) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    assert run(folder, kind, "nodes").stdout == f"No {kind.upper()} node was added yet.\n"
    named = NAMED[kind]
    added = (kind, "add-node", *named, "--team", "Radiology", "--from", "10.1.2.0/24")
    assert run(folder, *added, "--name", "The first").returncode == 0
    again = run(folder, *added)
    assert (again.returncode, again.stderr.startswith("Another node has this")) == (1, True)
    fingerprint = "ab" * 32
    changed = ("--from", "10.1.3.0/24", "--name", "Ours", "--fingerprint", fingerprint)
    assert run(folder, kind, "change-node", *named, *changed).returncode == 0
    assert run(folder, kind, "switch-off-node", *named).returncode == 0
    listed = run(folder, kind, "nodes").stdout
    words = ("  off  ", "  Radiology  ", "from 10.1.3.0/24", "  TLS", "  Ours")
    assert all(word in listed for word in words), listed
    assert run(folder, kind, "switch-on-node", *named).returncode == 0
    assert run(folder, kind, "change-node", *named, "--fingerprint", "").returncode == 0
    listed = run(folder, kind, "nodes").stdout
    assert "  on  " in listed
    assert "TLS" not in listed


@pytest.mark.parametrize(
    ("kind", "action", "message"),
    [
        ("dicom", "switch-off-node", "no node of this AE title"),
        ("hl7", "switch-off-node", "no node of this application and facility"),
        ("dicom", "change-node", "no node of this AE title"),
        ("hl7", "change-node", "no node of this application and facility"),
        ("dicom", "alive", "No DICOM listener has given a sign"),
        ("hl7", "alive", "No HL7 listener has given a sign"),
    ],
)
def test_what_can_not_be_done_has_a_reason(
    folder: Path, kind: str, action: str, message: str
) -> None:
    named = ["NOBODY"] * len(NAMED[kind]) if action != "alive" else []
    done = run(folder, kind, action, *named)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@BOTH
def test_a_node_belongs_to_a_team_that_is_there(folder: Path, kind: str) -> None:
    given = ("--team", "Nobody's", "--from", "10.0.0.1")
    done = run(folder, kind, "add-node", *NAMED[kind], *given)
    assert (done.returncode, done.stderr) == (1, "There is no team of this name.\n")


@BOTH
def test_the_listener_needs_a_port_and_readable_certificates(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    command, prefix = f"{kind}-listener", f"PLEURA_{kind.upper()}"
    assert f"{prefix}_PORT" in run(folder, command).stderr
    port = {f"{prefix}_PORT": "0"}
    one = run(folder, command, **port, **{f"{prefix}_KEY_FILE": "/key.pem"})
    assert "must be given together" in one.stderr
    path = tmp_path / "none.pem"
    path.write_bytes(b"no certificate")
    files = {f"{prefix}_{name}_FILE": str(path) for name in ("CERTIFICATE", "KEY", "CA")}
    unreadable = run(folder, command, **port, **files)
    assert "can't be read" in unreadable.stderr
    assert "Traceback" not in unreadable.stderr

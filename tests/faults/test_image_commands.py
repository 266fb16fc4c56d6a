"""Every command that belongs to an image does its work there, every other one says what it lacks.

As in `test_images`, the processes see the distributions of an image's list alone. An image's
commands share one process: starting it takes longer than most of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from ml.__main__ import COMMANDS as OF_ML
from portal.cli.commands import COMMANDS as OF_PORTAL
from portal.settings.secret_files import new_backup_key
from tests.support import core
from tests.support.clinic import open_clinic
from tests.support.image_packages import hidden
from tests.support.paths import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

# What is done where pictures are read; training, its reports and its exports need more packages.
OF_WORKERS = {"predict", "phantom", "fetch", "card", "drift", "evaluate", "shares"}
LOCAL = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@dataclass
class Done:
    """What a command did; `code` is an exception's name where it raised one."""

    code: int | str
    out: str
    err: str


class Image:
    """One process with the packages of an image, for commands that run one after the other."""

    def __init__(self, name: str, **environment: str) -> None:
        self.name, self.environment = name, environment
        self._commands: list[tuple[str, tuple[str, ...], dict[str, str]]] = []

    def then(self, module: str, *words: str, **environment: str) -> None:
        """The next command: `module`'s main with these words."""
        self._commands.append((f"{module}.__main__", words, environment))

    def run(self) -> list[Done]:
        """What each of them did."""
        process = subprocess.run(
            [sys.executable, str(Path(hidden.__file__).with_name("several.py"))],
            cwd=ROOT,
            env={**LOCAL, **self.environment, **hidden.environment(self.name)},
            input=json.dumps(self._commands),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr
        return [Done(*one) for one in json.loads(process.stdout.splitlines()[-1])]


def is_a_refusal(done: Done, beginning: str) -> bool:
    """Whether a command ended with one sentence that begins so, and nothing else."""
    is_one = done.err.startswith(beginning) and done.err.count("\n") == 1
    return done.code not in (0, None) and is_one and not done.out


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("worker-cpu", "openvino"),
        pytest.param("worker-gpu", "torch", marks=pytest.mark.torch),
    ],
)
def test_a_worker_s_image_draws_reads_and_predicts(tmp_path: Path, name: str, engine: str) -> None:
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    image, drawn, results = Image(name), tmp_path / "drawn", tmp_path / "results"
    for command in OF_ML:
        image.then("ml", command, "--help")
    image.then("ml", "phantom", "--out", str(drawn), "--count", "1")
    image.then(
        *("ml", "predict", str(drawn / "phantom-001.dcm"), "--out", str(results)),
        *("--engine", engine, "--device", "cpu"),
    )
    image.then("ml", "card")
    image.then("portal", "check")
    *helped, made, predicted, card, check = image.run()
    for command, done in zip(OF_ML, helped, strict=True):
        if command in OF_WORKERS:
            assert (done.code, done.err) == (0, ""), command
        elif done.code != 0:
            assert is_a_refusal(done, f"{command} needs "), (command, done)
    assert made.code == 0, made.err
    assert predicted.code == 0, predicted.err
    assert list(results.rglob("*.json"))
    assert card.code == 0, card.err
    assert "operating point" in card.out
    assert is_a_refusal(check, "portal: it needs "), check


# In this order: some need what the one before has made. With each what it prints.
OF_THE_IMAGE: list[tuple[tuple[str, ...], str]] = [
    (("migrate",), "The database is at revision "),
    (("upgrade",), "0 studies of a version before"),
    (("create-admin", "--if-none"), ""),
    (("create-admin", "--email", "other@example.org"), "/join/"),
    (("token", "create", "--user", "owner@example.org", "--scope", "studies:read"), ""),
    (("token", "list", "--user", "owner@example.org"), "command line"),
    (("worker-token", "create", "reader", "--queue", "render"), ""),
    (("worker-token", "list"), "reader"),
    (("model", "list"), ""),
    (("rotate-keys",), "now wraps 1 studies, 1 pictures"),
    (("vault", "verify"), "Everything is intact."),
    (("retention",), "Nothing is due."),
    (("cohort", "list"), "No cohort was frozen yet."),
    (("dicom", "nodes"), "No DICOM node was added yet."),
    (("dicom", "refused"), "Nothing was refused in the last thirty days."),
    (("dicom", "sends"), "Nothing waits to be sent, and nothing failed."),
    (("hl7", "nodes"), "No HL7 node was added yet."),
    (("report-targets", "list"), "No report target was added yet."),
    (("sweep",), ""),
    (("audit", "anchor"), "Anchored at row "),
    (("audit", "verify"), "The access log is whole"),
    (("audit", "export"), "study_submitted"),
    (("new-key-ring",), "{"),
    (("new-backup-key",), ""),
    (("settings", "--json"), "PLEURA_DATA_DIR"),
    (("backup", "FILE"), "Backed up "),
    (("purge", "CASE", "--reason", "patient_request"), "Looked again: no key"),
    (("restore", "FILE"), "Restored: counts, files and the end of the access log"),
]
# Those that find something here, with how their answer begins.
FINDING = {
    "sweep --alive": "For a minute nothing was done by: ",
    "doctor": "",
    "check": "Production would refuse to start:\n",
    "dicom alive": "",
    "dicom-listener": "Set PLEURA_DICOM_PORT, such as 11112.",
    "dicom-sender": "Set PLEURA_DICOM_PORT, such as 11112",
    "hl7 alive": "",
    "hl7-listener": "Set PLEURA_HL7_PORT, such as 2575.",
    "report-sender": "Set PLEURA_HL7_PORT, such as 2575:",
    "up --no-open": "Pleura can't start: its workers need cv2, ",
    "demo --no-open": "Pleura can't start: its workers need cv2, ",
}


def test_every_command_of_the_portal_is_tried() -> None:
    tried = {words[0] for words, _ in OF_THE_IMAGE} | {line.split()[0] for line in FINDING}
    assert tried == {command.name for command in OF_PORTAL}


def done_by_the_portal(folder: Path) -> dict[str, Done]:
    """What each command did in the portal's image, over one case with a result."""
    data = folder / "data"
    url = f"sqlite:///{data / 'pleura.db'}"
    core.migrate(core.make_settings(data, DATABASE_URL=url))
    opened = core.open_core(data, url)
    case = str(open_clinic(opened).done())
    opened.engine.dispose()
    key = folder / "backup.key"
    key.write_text(new_backup_key(), "ascii")
    key.chmod(0o600)
    named = {"FILE": str(folder / "portal.backup"), "CASE": case}
    elsewhere = {
        "PLEURA_DATA_DIR": str(folder / "restored"),
        "PLEURA_KEY_RING_FILE": str(next(data.rglob("*ring*"))),
        "DATABASE_URL": f"sqlite:///{folder / 'restored' / 'pleura.db'}",
    }
    image = Image(
        "portal",
        PLEURA_ENV="test",
        PLEURA_DATA_DIR=str(data),
        DATABASE_URL=url,
        REDIS_URL="redis://127.0.0.1:1/0",  # nobody listens there
        PLEURA_BACKUP_KEY_FILE=str(key),
    )
    lines = {" ".join(words): words for words, _ in OF_THE_IMAGE}
    lines |= {line: tuple(line.split()) for line in FINDING}
    for words in lines.values():
        environment = elsewhere if words[0] == "restore" else {}
        image.then("portal", *(named.get(word, word) for word in words), **environment)
    for command in OF_ML:
        image.then("ml", command, "--help")
    for words in (("alive",), ("render",), ("segment",)):
        image.then("worker", *words)
    lines |= {f"ml {command}": () for command in OF_ML}
    lines |= {f"worker {queue}": () for queue in ("alive", "render", "segment")}
    return dict(zip(lines, image.run(), strict=True))


@pytest.fixture(scope="module")
def of_the_portal(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    return done_by_the_portal(tmp_path_factory.mktemp("portal"))


@pytest.mark.parametrize(
    ("words", "printed"), OF_THE_IMAGE, ids=[" ".join(words) for words, _ in OF_THE_IMAGE]
)
def test_the_portal_s_image_does_what_its_commands_do(
    of_the_portal: dict[str, Done], words: tuple[str, ...], printed: str
) -> None:
    done = of_the_portal[" ".join(words)]
    assert (done.code, done.err) == (0, "")
    assert printed in done.out


@pytest.mark.parametrize("line", FINDING)
def test_what_the_portal_s_image_finds_or_cannot_do_is_a_sentence(
    of_the_portal: dict[str, Done], line: str
) -> None:
    done = of_the_portal[line]
    assert done.code == 1, done
    assert done.err.startswith(FINDING[line])
    assert "Traceback" not in done.err


def test_other_images_commands_are_refused_in_the_portal_s(
    of_the_portal: dict[str, Done],
) -> None:
    for line, done in of_the_portal.items():
        program, _, command = line.partition(" ")
        if program == "ml" and done.code != 0:
            assert is_a_refusal(done, f"{command} needs "), (line, done)
        if program == "worker":
            assert is_a_refusal(done, "worker: "), (line, done)
    assert of_the_portal["ml predict"].code == 1

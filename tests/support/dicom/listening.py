"""A listener over a clinic's core, nodes that may send to it, and DCMTK's programs as senders."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from portal.dicom_network import listener, nodes
from portal.models import DicomNode
from portal.services import Services
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock, make_settings

TITLE = "MODALITY"
OURS = "PLEURA"


def settings_of(clinic: Clinic, **environ: str) -> Any:
    """The settings of a listener over this core, at a free port."""
    url = clinic.core.engine.url.render_as_string(hide_password=False)
    given = {"DATABASE_URL": url, "PLEURA_DICOM_PORT": "0", "PLEURA_DICOM_FREE_MB": "0"}
    return make_settings(clinic.core.data_dir, **(given | environ))


@contextmanager
def listening(
    clinic: Clinic, clock: Callable[[], Any] | None = None, **environ: str
) -> Iterator[listener.Listener]:
    """A listener until the end of the block."""
    settings = settings_of(clinic, **environ)
    services = Services.open(settings, clock or Clock())
    with listener.listening(services, clinic.core.engine, settings.dicom) as listens:
        yield listens
    services.broker.close()


def add_node(clinic: Clinic, team_id: UUID | None = None, **stated: Any) -> DicomNode:
    """A node of the owner's team that may send from this machine."""
    given: dict[str, Any] = {
        "name": "Room 1",
        "ae_title": TITLE,
        "team_id": team_id or clinic.owner.team_id,
        "networks": "127.0.0.1",
    }
    with clinic.session as session:
        return nodes.add(session, clinic.admin, nodes.Described(**(given | stated)), NOW)


def program(name: str) -> str:
    """Where one of DCMTK's programs is; the test skips without."""
    found = shutil.which(name)
    if found is None:
        pytest.skip("DCMTK is not installed")
    return found


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's programs to its end."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def call(
    listens: listener.Listener, name: str, *arguments: object, title: str = TITLE, to: str = OURS
) -> subprocess.CompletedProcess[str]:
    """Call the listener with one of DCMTK's programs."""
    of_titles = ("-aet", title, "-aec", to)
    before = [one for one in arguments if not isinstance(one, Path)]
    files = [one for one in arguments if isinstance(one, Path)]
    return run(name, *of_titles, *before, "127.0.0.1", listens.port, *files)


def as_path(folder: Path, data: bytes, name: str = "picture.dcm") -> Path:
    """A file to send."""
    path = folder / name
    path.write_bytes(data)
    return path

"""What the version before (0.1, schema 0006) left on disk: a fixture made by its own code.

`tests/fixtures/version-0.1.tar.gz` holds a data folder (SQLite database, encrypted files, key
ring), an encrypted backup of it, `contents.json` (ids of the studies by what is special about
them, ids of people, the backup's key) and `make.py`, the script that made all of it with that
version. The pictures are synthetic and belong to nobody.

The studies: `frontal` and `lateral` are two pictures of one StudyInstanceUID, which that version
stored as two cases, each with a review; `prior` is of the same patient, `other_issuer` has the same
patient ID from another issuer; `twin_first` and `twin_second` are different pictures of one
SOPInstanceUID; `png` has no header; `failed`, `waiting`, `held` and `purged` are what they are
called. `prior` was opened once by emergency access.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.support.paths import ROOT

ARCHIVE = ROOT / "tests" / "fixtures" / "version-0.1.tar.gz"


@dataclass(frozen=True)
class VersionBefore:
    """The unpacked fixture."""

    data_dir: Path
    backup: Path
    backup_key: str
    studies: dict[str, UUID]
    people: dict[str, UUID]

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.data_dir / 'pleura.db'}"

    @property
    def key_ring(self) -> str:
        """The text of the key ring."""
        return (self.data_dir / "keys" / "key_ring.json").read_text("utf-8")


def unpack(folder: Path) -> VersionBefore:
    """A copy of the fixture in a folder, for one test to change."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "version-0.1"
    contents = json.loads((root / "contents.json").read_text("utf-8"))
    (root / "var").chmod(0o700)
    return VersionBefore(
        data_dir=root / "var",
        backup=root / "portal.backup",
        backup_key=contents["backup_key"],
        studies={name: UUID(study_id) for name, study_id in contents["studies"].items()},
        people={name: UUID(user_id) for name, user_id in contents["people"].items()},
    )

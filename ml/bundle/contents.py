"""What one file holds that a training machine without network needs, and how it is read.

A zip: pictures as grey JPEG and masks as PNG, both canonical (see
ml.preprocessing.transforms.canonical), the catalogue, recipes, ImageNet weights in half precision,
packages as wheels, and this package's own code, so that Python runs the file itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import BadInput

if TYPE_CHECKING:
    from ml.datasets.catalogue import Record
    from ml.datasets.dataset import Pictures

FORMAT = "pleura-bundle-1"
MANIFEST, RECORDS, IMAGENET = "manifest.json", "records.csv", "imagenet/efficientnet-lite2.pt"
RECIPES, WHEELS = "recipes/", "wheels/"
PICTURES, MASKS = "pictures/", "masks/"
# Python runs a zip by this file: `python FILE --minutes 10`.
START = "__main__.py"
STARTER = """import sys
from ml.__main__ import main
sys.exit(main(["train", "--bundle", sys.argv[0], *sys.argv[1:]]))
"""


@dataclass(frozen=True)
class Opened:
    """A bundle whose small parts lie in a folder, while its pictures stay in the zip.

    Nothing but Python is needed until `use_packages` was called.
    """

    archive: zipfile.ZipFile
    folder: Path
    manifest: dict[str, Any]

    def use_packages(self) -> None:
        """Make the packages importable that the bundle has; they take precedence."""
        for wheel in sorted((self.folder / WHEELS).glob("*.whl")):
            sys.path.insert(0, str(wheel))

    def recipe(self, name: str = "") -> Path:
        """A recipe's file by its name, or the first one; BadInput where there is none such."""
        names = [str(one) for one in self.manifest["recipes"]]
        if name and name not in names:
            raise BadInput(f"the bundle has no recipe {name!r}: {', '.join(names)}")
        return self.folder / RECIPES / f"{name or names[0]}.toml"

    @property
    def imagenet(self) -> Path | None:
        """The encoder's weights, where a recipe of the bundle wants them."""
        path = self.folder / IMAGENET
        return path if path.is_file() else None

    def pictures(self, records: list[Record]) -> Pictures:
        """Decode the pictures of these records, and their masks."""
        from ml.datasets.dataset import Pictures

        # A ZipFile is read by one thread at a time; decoding takes the time.
        pictures = [self.archive.read(f"{PICTURES}{record.id}.jpg") for record in records]
        names = [f"{MASKS}{record.id}.png" if record.outlined else "" for record in records]
        masks = [self.archive.read(name) if name else b"" for name in names]
        with ThreadPoolExecutor() as pool:
            return Pictures(
                records,
                [one for one in pool.map(_decoded, pictures) if one is not None],
                list(pool.map(_decoded, masks)),
            )


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """A bundle, its small parts unpacked for as long as it is open.

    BadInput where the file is no bundle, or an incomplete one; OSError where there is no file.
    """
    before = list(sys.path)
    with ExitStack() as open_parts:
        folder = Path(open_parts.enter_context(tempfile.TemporaryDirectory()))
        try:
            archive = open_parts.enter_context(zipfile.ZipFile(path))
            manifest = json.loads(archive.read(MANIFEST))
            for name in archive.namelist():
                if name in (RECORDS, IMAGENET) or name.startswith((RECIPES, WHEELS)):
                    archive.extract(name, folder)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise BadInput(f"{path} is no bundle, or is incomplete: {error}") from error
        if manifest.get("format") != FORMAT:
            raise BadInput(f"{path} is a bundle of another version: make it again")
        try:
            yield Opened(archive, folder, manifest)
        finally:
            sys.path[:] = before


def _decoded(data: bytes) -> Any:
    import cv2
    import numpy as np

    if not data:
        return None
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise BadInput("a picture of the bundle can't be decoded: make it again")
    return np.asarray(picture, dtype=np.uint8)

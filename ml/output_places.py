"""Whether a command's outputs can be written, found out before its work.

A command may take hours; a folder in the place of its file is a sentence at its beginning.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ml.errors import BadInput


def check_folder(folder: Path, *, make: bool = True) -> None:
    """Make a folder that files can be written into; BadInput names it and the reason.

    Without `make` a folder that was not there is gone again afterwards.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # by writing: permissions alone do not show a read-only or full disk
        for one in () if make else missing:
            one.rmdir()
    except (FileExistsError, NotADirectoryError) as error:
        above = (folder, *folder.parents)
        found = next((one for one in above if one.exists() and not one.is_dir()), folder)
        raise BadInput(f"{found} is a file, and a folder is needed there") from error
    except OSError as error:
        raise BadInput(f"{folder} cannot be written into: {error.strerror}") from error


def check_file(file: Path) -> None:
    """Make the folder of a file that can be written; BadInput names it and the reason.

    A file that is there stays as it is.
    """
    if file.is_dir():
        raise BadInput(f"{file} is a folder, and a file is to be written there")
    check_folder(file.parent)
    try:
        if file.exists():
            file.open("ab").close()
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error

"""Try the containers for real: build the images, bring docker-compose.yml up, use and break it.

    python -m deploy.try_installation --pictures FOLDER [options] [PART ...]

For podman on Debian (podman, runc or crun, netavark, aardvark-dns, catatonit, mmdebstrap), as root,
with podman-compose from PyPI, in the environment of `make test`. Everything it makes is named
pleura-trial and stays until --remove. To run before each release.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from deploy.trial import containers, images, parts
from deploy.trial.shell import Broken, say


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.try_installation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"which to try, in this order: {', '.join(parts.ALL)} (default: all)",
    )
    parser.add_argument(
        "--pictures", type=Path, help="folder with at least 150 different chest X-rays (DICOM)"
    )
    parser.add_argument("--port", type=int, default=8000, help="the portal's, and four above it")
    parser.add_argument("--load", type=int, default=40, help="pictures sent beside faults (40)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the faults (1)")
    parser.add_argument("--compose", default="podman-compose", help="its command")
    parser.add_argument("--runtime", default="", help="podman's runtime, such as runc")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "pleura-trial",
        help="for secrets and settings of the trial",
    )
    parser.add_argument(
        "--public-images", action="store_true", help="use the public images of Python and servers"
    )
    parser.add_argument("--suite", default="bookworm", help="Debian's, for the stand-in images")
    parser.add_argument(
        "--sources",
        type=Path,
        default=Path("/etc/apt/sources.list.d/debian.sources"),
        help="apt's sources for them",
    )
    parser.add_argument(
        "--build-volume",
        action="append",
        default=[],
        metavar="HERE:THERE:ro",
        help="given to `podman build`: pip's settings, certificates, a folder of wheels",
    )
    parser.add_argument("--no-build", action="store_true", help="use the images of the last run")
    parser.add_argument("--build-only", nargs="*", metavar="TARGET", help="build these, then end")
    parser.add_argument(
        "--go-on",
        type=int,
        metavar="N",
        help="use the installation that is there, and pictures after the first N",
    )
    parser.add_argument("--remove", action="store_true", help="remove containers and volumes")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """0 if everything held, 1 with a sentence if not."""
    chosen = options().parse_args(arguments)
    unknown = set(chosen.parts) - set(parts.ALL)
    if unknown:
        options().error(f"there is no part {', '.join(sorted(unknown))}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    containers.prepare_engine(chosen.folder, chosen.runtime)
    running = containers.Installation(
        chosen.folder, chosen.port, chosen.compose, stand_ins=not chosen.public_images
    )
    try:
        if chosen.remove:
            running.down(volumes=True)
            return 0
        if not chosen.no_build or chosen.build_only:
            _build(chosen)
        if chosen.build_only is None:
            _try(chosen, running)
    except Broken as broken:
        sys.stderr.write(f"BROKEN: {broken}\n")
        return 1
    return 0


def _build(chosen: argparse.Namespace) -> None:
    print("images", flush=True)
    if not chosen.public_images:
        images.make_stand_ins(chosen.sources, chosen.suite)
    base = "" if chosen.public_images else images.PYTHON
    images.build(chosen.build_only or list(images.OURS), base, chosen.build_volume)


def _try(chosen: argparse.Namespace, running: containers.Installation) -> None:
    if chosen.pictures is None:
        options().error("--pictures is needed")
    pictures = iter(sorted(chosen.pictures.glob("*.dcm"))[chosen.go_on or 0 :])
    trial = parts.Trial(running, pictures, chosen.seed, chosen.load)
    wanted = chosen.parts or list(parts.ALL)
    if chosen.go_on is not None:
        trial.program = parts.technologist(running)
        wanted = [name for name in wanted if name != "first"]
    elif "first" not in wanted:
        wanted = ["first", *wanted]  # the others need its people
    for name, part in parts.ALL.items():
        if name in wanted:
            print(f"{name}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
            began = time.monotonic()
            part(trial)
            say(f"held, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())

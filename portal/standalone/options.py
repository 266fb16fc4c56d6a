"""The options of `python -m portal up` and `demo`."""

import argparse
from dataclasses import dataclass
from typing import Final

DEFAULT_PORT: Final = 8000


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    open_browser: bool = False
    render_workers: int = 1
    segment_workers: int = 1
    dicom: bool = False
    hl7: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port; a free one when it is taken"
    )
    parser.add_argument(
        "--open",
        dest="open_browser",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="open the page in a browser",
    )
    parser.add_argument("--render-workers", type=int, default=1, choices=range(1, 17), metavar="N")
    parser.add_argument("--segment-workers", type=int, default=1, choices=range(1, 17), metavar="N")
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="listen for DICOM too, at PLEURA_DICOM_PORT (11112)",
    )
    parser.add_argument(
        "--hl7",
        action="store_true",
        help="listen for HL7 too, at PLEURA_HL7_PORT (2575), and send reports",
    )


def options_of(parsed: argparse.Namespace) -> Options:
    """The options out of the parsed command line."""
    names = Options.__dataclass_fields__
    return Options(**{name: getattr(parsed, name) for name in names})

"""`python -m portal demo`: a portal with something to look at.

Owns the example content: synthetic X-rays, and a few real ones where a data folder lies beside the
repository. They are sent through the API like any others. No account with a known password is made:
the sender's is random and forgotten, people come in by the links that are printed.
"""

from __future__ import annotations

import csv
import http.client
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.accounts import api_tokens, invitations
from portal.errors import Invalid
from portal.models import Role, Study, User
from portal.settings import Settings
from portal.vault import Vault

TEAM = "Demo"
SENDER = "sender@demo.invalid"
GUESTS = ((Role.TECHNOLOGIST, "technologist@demo.invalid"), (Role.READER, "reader@demo.invalid"))
PHANTOMS = 12
# Two of three have a pneumothorax, wide enough for the shipped model to find all of them.
PHANTOM_OPTIONS = ("--seed", "11", "--width-mm", "25", "45")
REAL_WITH, REAL_WITHOUT = 4, 2
# Research data that may lie beside the repository, never inside it.
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "siim"

PrintLine = Callable[[str], None]


def fill(settings: Settings, address: str, print_line: PrintLine) -> None:
    """Fill the portal at that address with pictures, once, and print the guests' links."""
    now = datetime.now(UTC)
    engine = database.open_engine(settings)
    audit.bind(engine, Vault(settings).audit_key())
    with (
        tempfile.TemporaryDirectory(prefix="pleura-demo-") as folder,
        database.sessions(engine)() as session,
    ):
        for role, email in GUESTS:
            token = _invite(session, f"Demo {role}", email, role, now)
            if token:
                print_line(f"sign in as a demo {role}, once:  {address}/join/{token}")
        sender = _sender(session, now)
        if _has_sent(session, sender):
            print_line("the demo pictures were sent before")
        else:
            drawn = draw(Path(folder), print_line)
            key = _key(session, sender, datetime.now(UTC))
            sent = sum(_send(address, key, path, print_line) for path in [*drawn, *_real_ones()])
            print_line(
                f"{sent} X-rays were sent ({len(drawn)} synthetic); results follow in seconds"
            )
            print_line(
                "the synthetic ones are drawn, with large pneumothoraces and nothing else: they "
                "show how Pleura works, not how well it finds"
            )
    engine.dispose()


def draw(folder: Path, print_line: PrintLine, count: int = PHANTOMS) -> list[Path]:
    """Synthetic X-rays, drawn by a program of their own: the portal makes no pixels."""
    today = datetime.now().astimezone().strftime("%Y%m%d")  # older exams would wait behind others
    command = [sys.executable, "-m", "ml", "phantom", "--out", str(folder), "--study-date", today]
    done = subprocess.run(  # our own program  # noqa: S603  # nosec B603
        [*command, "--count", str(count), *PHANTOM_OPTIONS],
        capture_output=True,
        process_group=0,
        check=False,
    )
    if done.returncode != 0:
        print_line("no synthetic X-rays could be drawn (is `.[worker-cpu]` installed?)")
    return sorted(folder.glob("*.dcm"))


def _invite(session: Session, name: str, email: str, role: Role, now: datetime) -> str | None:
    """A link for a guest; None when that guest has an account already."""
    try:
        _, token = invitations.invite(
            session, None, name=name, email=email, role=role, team=TEAM, now=now
        )
    except Invalid:
        return None
    return token


def _sender(session: Session, now: datetime) -> User:
    """The account that sends the pictures; sign-in with it is not possible."""
    known = session.scalar(select(User).where(User.email == SENDER))
    session.commit()
    if known is not None:
        return known
    link = _invite(session, "Demo sender", SENDER, Role.TECHNOLOGIST, now)
    assert link is not None, "it was looked for before"
    return invitations.accept_invitation(session, link, password=secrets.token_urlsafe(40), now=now)


def _has_sent(session: Session, sender: User) -> bool:
    study = session.scalar(select(Study.id).where(Study.uploaded_by == sender.id).limit(1))
    session.commit()
    return study is not None


def _key(session: Session, sender: User, now: datetime) -> str:
    _, raw = api_tokens.create_token(
        session,
        sender,
        scopes=["studies:write"],
        name="demo",
        lifetime=timedelta(hours=1),
        now=now,
    )
    return raw


def _real_ones() -> Iterator[Path]:
    """A few files of the data folder, with and without the finding, where it is there."""
    index = REAL / "index.csv"
    if not index.is_file():
        return
    wanted = {"1": REAL_WITH, "0": REAL_WITHOUT}
    with index.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            path, label = REAL / row["file"], row["pneumothorax"]
            if path.suffix == ".dcm" and wanted.get(label, 0) > 0 and path.is_file():
                wanted[label] -= 1
                yield path


def _send(address: str, key: str, path: Path, print_line: PrintLine) -> bool:
    """Send one file through the API; whether it was taken."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="picture.dcm"\r\n'
        "Content-Type: application/dicom\r\n\r\n"
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        connection.request(
            "POST",
            "/api/v1/studies",
            body,
            {
                "Authorization": f"Bearer {key}",
                "Content-Type": f"multipart/form-data; boundary={boundary}",
            },
        )
        answer = connection.getresponse()
        if answer.status == http.client.ACCEPTED:
            return True
        print_line(
            f"a demo picture was refused: {json.loads(answer.read()).get('code', answer.status)}"
        )
    except (OSError, ValueError) as error:
        print_line(f"a demo picture could not be sent: {type(error).__name__}")
    finally:
        connection.close()
    return False

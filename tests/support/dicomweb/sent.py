"""Requests of STOW-RS in tests, and their answers taken apart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from pydicom.dataset import Dataset
from werkzeug.test import TestResponse

from tests.support.people import Person
from tests.support.portal_app import make_token

BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def body_of(files: Sequence[bytes], boundary: str = BOUNDARY, head: str | None = None) -> bytes:
    """The parts of a body; `head`: the lines before each."""
    lines = "Content-Type: application/dicom\r\n" if head is None else head
    parts = [f"--{boundary}\r\n{lines}\r\n".encode() + one + b"\r\n" for one in files]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


@dataclass
class Answered:
    """The answer, and what it holds read by pydicom."""

    response: TestResponse

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def held(self) -> Dataset:
        assert self.response.content_type == "application/dicom+json", self.response.text
        return Dataset.from_json(json.loads(self.response.data))

    @property
    def stored(self) -> list[str]:
        return [str(one.ReferencedSOPInstanceUID) for one in self._items("ReferencedSOPSequence")]

    @property
    def failed(self) -> dict[str, int]:
        return {
            str(one.ReferencedSOPInstanceUID): int(one.FailureReason)
            for one in self._items("FailedSOPSequence")
        }

    @property
    def others(self) -> list[int]:
        return [int(one.FailureReason) for one in self._items("OtherFailuresSequence")]

    @property
    def reasons(self) -> list[str]:
        return [
            one.partition('"')[2].rstrip('"') for one in self.response.headers.getlist("Warning")
        ]

    def _items(self, name: str) -> Sequence[Any]:
        found = self.held.get(name)
        return found if found is not None else []


class Sends:
    """A program that stores, with a token of a person or with none."""

    def __init__(self, app: Flask, person: Person | None, *scopes: str) -> None:
        self.client = app.test_client()
        self.token = make_token(app, person, *(scopes or ("dicomweb:write",))) if person else ""

    def store(self, *files: bytes, study: str = "") -> Answered:
        """Store files, of one study where it is named."""
        return self.send(body_of(files), study=study)

    def send(self, body: bytes, kind: str = RELATED, study: str = "", **headers: str) -> Answered:
        """Send a body as it is."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        path = f"/dicomweb/studies/{study}" if study else "/dicomweb/studies"
        answer = self.client.post(path, data=body, headers=given | headers, content_type=kind)
        return Answered(answer)

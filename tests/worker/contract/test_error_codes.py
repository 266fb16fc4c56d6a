"""worker.contract.error_codes: the readers' codes are among them, and all fit the contract."""

import ast
from pathlib import Path

from ml.images import picture
from worker.contract.error_codes import ErrorCode
from worker.contract.job import Failure

READERS = sorted(Path(picture.__file__).parent.glob("*.py"))


def test_every_code_of_ml_images_is_known() -> None:
    codes = {
        argument.value
        for reader in READERS
        for call in ast.walk(ast.parse(reader.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Unreadable"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    codes |= set(picture._SENTENCES)
    assert len(codes) > 8
    assert codes <= set(ErrorCode)


def test_every_code_can_be_reported() -> None:
    for code in ErrorCode:
        assert Failure.parse({"code": code, "kind": "permanent"}).code == code

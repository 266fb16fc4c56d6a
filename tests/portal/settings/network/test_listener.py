"""What the settings of every listener have in common."""

from pathlib import Path

import pytest

from portal.settings import SettingsError
from tests.support.core import make_settings

BOTH = pytest.mark.parametrize("kind", ["dicom", "hl7"])


def environ(kind: str, **given: str) -> dict[str, str]:
    return {f"PLEURA_{kind.upper()}_{name}": value for name, value in given.items()}


@BOTH
def test_without_a_port_there_is_no_listener(tmp_path: Path, kind: str) -> None:
    given = environ(kind, HOST="127.0.0.1")
    assert getattr(make_settings(tmp_path, **given), kind) is None


@BOTH
def test_tls_needs_certificate_key_and_authorities(tmp_path: Path, kind: str) -> None:
    files = {f"{name}_FILE": f"/{name}.pem" for name in ("CERTIFICATE", "KEY", "CA")}
    found = getattr(make_settings(tmp_path, **environ(kind, PORT="0", **files)), kind)
    assert found.tls_files == (Path("/CERTIFICATE.pem"), Path("/KEY.pem"), Path("/CA.pem"))
    for name in files:
        some = {other: path for other, path in files.items() if other != name}
        with pytest.raises(SettingsError) as refused:
            make_settings(tmp_path, **environ(kind, PORT="0", **some))
        prefix = f"PLEURA_{kind.upper()}"
        expected = (
            f"{prefix}_CERTIFICATE_FILE, {prefix}_KEY_FILE and {prefix}_CA_FILE must be given "
            "together."
        )
        assert refused.value.problems == [expected]


@BOTH
def test_without_tls_it_has_no_files(tmp_path: Path, kind: str) -> None:
    found = getattr(make_settings(tmp_path, **environ(kind, PORT="0")), kind)
    assert (found.tls_files, found.host, found.port) == (None, "127.0.0.1", 0)

"""The settings of the HL7 listener: without TLS only at a loopback, or where that was chosen."""

from pathlib import Path

import pytest

from portal.settings import SettingsError
from tests.support.core import make_settings

FILES = {f"PLEURA_HL7_{name}_FILE": "/x.pem" for name in ("CERTIFICATE", "KEY", "CA")}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PLEURA_HL7_HOST": "::1"},
        {"PLEURA_HL7_HOST": "localhost"},
        {"PLEURA_HL7_HOST": "0.0.0.0", **FILES},
        {"PLEURA_HL7_HOST": "0.0.0.0", "PLEURA_HL7_PLAIN": "yes"},
    ],
)
def test_it_listens_by_tls_at_a_loopback_or_where_plain_was_chosen(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    found = make_settings(tmp_path, PLEURA_HL7_PORT="2575", **environ).hl7
    assert found is not None
    assert (found.tls_files is not None) == ("PLEURA_HL7_KEY_FILE" in environ)
    assert found.max_message_bytes == 512 * 1024


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"PLEURA_HL7_HOST": "0.0.0.0"}, "PLEURA_HL7_PLAIN=yes"),
        ({"PLEURA_HL7_HOST": "10.0.0.1"}, "no loopback"),
        ({"PLEURA_HL7_APPLICATION": "A|B"}, "PLEURA_HL7_APPLICATION must be"),
        ({"PLEURA_HL7_FACILITY": "Ü"}, "PLEURA_HL7_FACILITY must be"),
        ({"PLEURA_HL7_MAX_MESSAGE_KB": "0"}, "PLEURA_HL7_MAX_MESSAGE_KB"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(
    tmp_path: Path, environ: dict[str, str], text: str
) -> None:
    with pytest.raises(SettingsError) as error:
        make_settings(tmp_path, PLEURA_HL7_PORT="2575", **environ)
    assert any(text in problem for problem in error.value.problems)

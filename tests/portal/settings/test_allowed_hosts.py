"""The list of hosts that the portal may call."""

from pathlib import Path

import pytest

from portal.settings import Settings, SettingsError
from portal.settings.allowed_hosts import Host, parse


def test_no_host_is_listed_by_default(tmp_path: Path) -> None:
    environ = {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(tmp_path)}
    assert Settings.from_env(environ).outgoing_hosts == ()
    environ["PLEURA_OUTGOING_HOSTS"] = "private:pacs.example.org:8443"
    assert Settings.from_env(environ).outgoing_hosts == (
        Host("pacs.example.org", 8443, private=True),
    )
    environ["PLEURA_OUTGOING_HOSTS"] = "https://pacs.example.org/"
    with pytest.raises(SettingsError, match=r"^PLEURA_OUTGOING_HOSTS must list .*name"):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    "text", ["*", "*.example.org", "a b_c", "x:0", "x:70000", "evil:x", ":443", "a..b", "ä.org"]
)
def test_a_list_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse(text)

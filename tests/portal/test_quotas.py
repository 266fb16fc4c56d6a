"""Quotas: what one person and one address may use in a time, and the answer beyond it."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portal.models import Role
from portal.quotas import QuotaReached, Quotas
from portal.services import redis_client
from portal.web.security import body_check
from tests.portal.formats.test_zip_archive import pack
from tests.support.core import Clock, make_settings
from tests.support.pictures import picture
from tests.support.portal_app import (
    csrf_of,
    make_app,
    make_person,
    make_study,
    make_token,
    sign_in,
)

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


def quotas(folder: Path, redis_url: str = "", **limits: int) -> Quotas:
    """The quotas of a portal with these limits."""
    given = {f"PLEURA_{name.upper()}": str(amount) for name, amount in limits.items()}
    return Quotas(make_settings(folder, **given), redis_client(redis_url))


@pytest.fixture(params=["alone", "redis"])
def redis(request: pytest.FixtureRequest) -> str:
    """The address of Redis, or none."""
    if request.param == "alone":
        return ""
    address: str = request.getfixturevalue("redis_url")
    _empty(address)
    return address


def _empty(address: str) -> list[bytes]:
    """Remove the buckets; the keys that there were."""
    client = redis_client(address)
    assert client is not None
    keys = list(client.scan_iter("pleura:quota:*"))
    for key in keys:
        client.delete(key)
    return keys


def sent(counted: Quotas, times: int, person: str = "a", at: str = "10.0.0.1", **later: int) -> int:
    """How many of so many files of a kilobyte are accepted."""
    accepted = 0
    for _ in range(times):
        try:
            counted.upload(1024, person, at, NOW + timedelta(**later))
            accepted += 1
        except QuotaReached:
            pass
    return accepted


def test_a_person_may_use_the_quota_at_once_and_then_as_it_empties(
    tmp_path: Path, redis: str
) -> None:
    counted = quotas(tmp_path, redis, uploads_per_hour=60)
    assert sent(counted, 100) == 60
    with pytest.raises(QuotaReached) as reached:
        counted.upload(1, "a", "10.0.0.1", NOW)
    assert 59 <= reached.value.seconds <= 61
    assert sent(counted, 100, minutes=10) == 10
    assert sent(counted, 100, person="b") == 60


def test_an_address_may_use_several_times_as_much(tmp_path: Path, redis: str) -> None:
    counted = quotas(tmp_path, redis, uploads_per_hour=10, quota_addresses=3)
    accepted = [sent(counted, 20, person=person) for person in "abcd"]
    assert accepted == [10, 10, 10, 0]
    assert sent(counted, 20, person="d", at="10.0.0.2") == 10


def test_bytes_count_and_what_is_refused_does_not(tmp_path: Path, redis: str) -> None:
    counted = quotas(tmp_path, redis, upload_mb_per_hour=1, uploads_per_hour=5)
    for _ in range(2):
        counted.upload(400 * 1024, "a", "10.0.0.1", NOW)
    with pytest.raises(QuotaReached):
        counted.upload(400 * 1024, "a", "10.0.0.1", NOW)
    assert sent(counted, 9) == 3  # of five files two were counted


def test_a_file_larger_than_the_quota_is_accepted_alone(tmp_path: Path, redis: str) -> None:
    counted = quotas(tmp_path, redis, upload_mb_per_hour=1)
    counted.upload(50 * 2**20, "a", "10.0.0.1", NOW)
    with pytest.raises(QuotaReached):
        counted.upload(1, "a", "10.0.0.1", NOW)


def test_zero_is_no_limit(tmp_path: Path, redis: str) -> None:
    counted = quotas(tmp_path, redis, uploads_per_hour=0, upload_mb_per_hour=0)
    assert sent(counted, 500) == 500


def test_what_someone_wrote_into_redis_locks_nobody_out(tmp_path: Path, redis_url: str) -> None:
    counted = quotas(tmp_path, redis_url, uploads_per_hour=5)
    client = redis_client(redis_url)
    assert client is not None
    _empty(redis_url)
    assert sent(counted, 1) == 1
    keys = _empty(redis_url)
    assert len(keys) == 4
    assert not [key for key in keys if b"10.0.0" in key]
    for key in keys:
        client.set(key, "9e99")
    assert sent(counted, 9) == 5
    for key in _empty(redis_url):
        client.lpush(key, "x")
    assert sent(counted, 9) == 5  # counted in this process instead
    _empty(redis_url)


def test_pages_and_programs_are_answered_with_how_long_to_wait(quick_path: Path) -> None:
    limits = {"UPLOADS_PER_HOUR": "2", "EXPORTS_PER_HOUR": "1", "API_CALLS_PER_MINUTE": "3"}
    settings = make_settings(quick_path, **{f"PLEURA_{k}": v for k, v in limits.items()})
    clock = Clock()
    app = make_app(settings, clock)
    reader = make_person(app, Role.READER)
    client = sign_in(app, reader)
    token = csrf_of(client)
    answers = []
    for shade in range(3):
        form = {"csrf_token": token, "file": (io.BytesIO(picture(shade)), "x.png")}
        answers.append(client.post("/studies", data=form))
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "1800"
    assert "More files were sent within an hour than are accepted" in answers[2].text
    assert "Try again in 30 minutes" in answers[2].text

    study = make_study(app, reader, shade=77)
    pages = [client.get(f"/studies/{study}/export") for _ in range(2)]
    assert [page.status_code for page in pages] == [200, 429]
    assert client.get(f"/studies/{study}/blobs/overlay").status_code == 429  # it is drawn
    assert client.get(f"/studies/{study}/blobs/preview").status_code != 429

    bearer = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    overlay = client.get(f"/api/v1/studies/{study}/overlay.png", headers=bearer)
    assert overlay.status_code == 429
    calls = [client.get("/api/v1/studies", headers=bearer) for _ in range(3)]
    assert [call.status_code for call in calls] == [200, 200, 429]
    calls = [overlay, *calls]
    problem = calls[3].get_json()
    assert problem["code"] == "quota"
    assert problem["title"] == "Too much in a short time"
    assert int(calls[3].headers["Retry-After"]) == 20
    clock.forward(seconds=20)
    assert client.get("/api/v1/studies", headers=bearer).status_code == 200


def test_a_large_request_that_is_checked_before_it_is_read_counts_once(quick_path: Path) -> None:
    app = make_app(make_settings(quick_path, PLEURA_UPLOADS_PER_HOUR="2"))
    sender = make_person(app, Role.TECHNOLOGIST)
    bearer = {"Authorization": f"Bearer {make_token(app, sender, 'studies:write')}"}

    def send(shade: int) -> list[int]:
        body = {"file": (io.BytesIO(picture(shade)), "x.png")}
        client = app.test_client()
        checked = client.post(
            "/api/v1/studies",
            headers={**bearer, "Content-Length": "300000"},
            environ_overrides={body_check.CHECK_ONLY: True},
        )
        if checked.status_code != 204:
            return [checked.status_code]
        sent = client.post(
            "/api/v1/studies",
            data=body,
            headers=bearer,
            environ_overrides={body_check.CHECKED: 300_000},
        )
        return [204, sent.status_code]

    assert [send(shade) for shade in range(3)] == [[204, 202], [204, 202], [429]]


def test_a_zip_beyond_the_quota_names_each_file(quick_path: Path) -> None:
    app = make_app(make_settings(quick_path, PLEURA_UPLOADS_PER_HOUR="3"))
    client = sign_in(app, make_person(app, Role.TECHNOLOGIST))
    archive = pack(*((f"{shade}.png", picture(shade)) for shade in range(4)))
    answer = client.post(
        "/studies",
        data={"csrf_token": csrf_of(client), "file": (io.BytesIO(archive), "x.zip")},
        headers={"Accept": "application/json"},
    )
    files = answer.get_json()["files"]
    assert [file["outcome"] for file in files] == ["received", "received", "refused", "refused"]
    assert files[3]["code"] == "quota"
    assert "again in" in files[3]["detail"]

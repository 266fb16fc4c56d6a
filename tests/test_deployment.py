"""Dockerfile and docker-compose.yml: what can be checked of them without an engine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.settings import Settings as PortalSettings
from portal.standalone import embedded_redis
from tests.support.paths import ROOT
from tests.support.wait import until
from worker.settings import VARIABLES as WORKER_VARIABLES
from worker.settings import Settings as WorkerSettings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
WORKERS = ("render", "segment", "segment-gpu")
ONE_SHOT = {"migrate"}

# Where the key ring is, which `rotate-keys` has to write anew.
KEYS = "/var/lib/pleura-keys"
# Variables that name a file which is no secret.
ITS_OWN_FILES = {
    *("PLEURA_AUDIT_ANCHOR_FILE", "PLEURA_CA_FILE", "PLEURA_TLS_CA_FILE"),
    # In the folder of certificates, which is mounted.
    *("PLEURA_DICOM_CERTIFICATE_FILE", "PLEURA_DICOM_KEY_FILE", "PLEURA_DICOM_CA_FILE"),
    *("PLEURA_HL7_CERTIFICATE_FILE", "PLEURA_HL7_KEY_FILE", "PLEURA_HL7_CA_FILE"),
}
NO_SECRETS = {variable.name for variable in PortalSettings.describe() if not variable.secret}

OURS = {"migrate", "portal", "scheduler", "dicom", "dicom-sender", "hl7", "report-sender"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def stages() -> dict[str, str]:
    """The Dockerfile's stages by name, each with its own lines."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_house_has_every_room() -> None:
    expected = {"postgres", "redis", *OURS, *WORKERS}
    assert set(SERVICES) == expected


@every_service
def test_a_service_is_watched_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        waiting = [other for other in SERVICES.values() if name in other.get("depends_on", {})]
        assert waiting
        for other in waiting:
            assert other["depends_on"][name]["condition"] == "service_completed_successfully"
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"


@every_service
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]


@every_service
def test_an_image_is_pinned_by_tag(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/-]+:[0-9][\w.-]*", image), image


@every_service
def test_no_secret_stands_in_the_environment(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if any(word in key for word in ("PASSWORD", "SECRET", "TOKEN", "KEY", "REDIS_URL")):
            assert key.endswith("_FILE") or key in NO_SECRETS, key
        if key in ITS_OWN_FILES or str(value).startswith(f"{KEYS}/"):
            continue
        if key.endswith("_FILE"):
            secret = str(value).removeprefix("/run/secrets/")
            assert secret in SERVICES[name]["secrets"], key


@every_service
def test_what_it_names_is_declared(name: str) -> None:
    service = SERVICES[name]
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (source[0] == "." and (ROOT / source).is_dir())


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_build_target_exists_and_does_not_run_as_root(name: str) -> None:
    target = SERVICES[name]["build"]["target"]
    found = stages()
    assert target in found
    assert re.search(r"^USER pleura$", found[target], flags=re.MULTILINE)
    assert "HEALTHCHECK" in found[target]


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_variables_are_ones_of_the_program(name: str) -> None:
    portal = {variable.name for variable in PortalSettings.describe()}
    known = set(WORKER_VARIABLES) if name in WORKERS else portal
    for key in SERVICES[name]["environment"]:
        assert key in known or key.removesuffix("_FILE") in known, key


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_holds_two_secrets_and_reaches_two_neighbours(name: str) -> None:
    service = SERVICES[name]
    assert sorted(service["secrets"]) == ["redis_worker_url", "worker_token"]
    assert service["networks"] == ["work"]
    assert COMPOSE["networks"]["work"]["internal"] is True
    neighbours = {other for other, its in SERVICES.items() if "work" in its["networks"]}
    assert neighbours - set(WORKERS) == {
        "redis",
        "portal",
        "scheduler",
        "dicom",
        "dicom-sender",
        "hl7",
        "report-sender",
    }
    # A worker of its own machine has no volume; models are read by those who compute with them.
    models = ["models:/var/lib/pleura/models:ro"] if name != "render" else []
    assert service.get("volumes", []) == models


def test_the_key_ring_can_be_replaced_by_whoever_needs_it_and_nobody_else_has_it() -> None:
    holders = {name for name, its in SERVICES.items() if f"keys:{KEYS}" in its.get("volumes", [])}
    assert holders == OURS
    for name in holders:
        ring = Path(SERVICES[name]["environment"]["PLEURA_KEY_RING_FILE"])
        assert str(ring.parent) == KEYS, "a file that is mounted by itself can't be replaced"
        assert f"keys:{KEYS}:ro" not in SERVICES[name]["volumes"]
    # A new volume takes its owner from the image's folder.
    assert re.search(rf"install -d -m 0700 -o pleura [^&]*{KEYS}[ \n]", stages()["base"])
    seeded = {name for name, its in SERVICES.items() if "key_ring" in its["secrets"]}
    assert seeded == {"migrate"}


def test_the_anchors_of_the_log_have_a_volume_of_their_own() -> None:
    for name in ("portal", "scheduler"):
        folder = Path(SERVICES[name]["environment"]["PLEURA_AUDIT_ANCHOR_FILE"]).parent
        assert f"anchors:{folder}" in SERVICES[name]["volumes"]
    assert "anchors" in COMPOSE["volumes"]
    assert re.search(rf"install -d -m 0700 -o pleura [^&]*{folder}", stages()["base"])


def test_the_first_key_ring_gets_into_its_volume_and_a_newer_one_stays(tmp_path: Path) -> None:
    shell, flag, script = SERVICES["migrate"]["command"]
    secret, ring, program = tmp_path / "secret", tmp_path / "keys" / "ring", tmp_path / "python"
    secret.write_text("first")
    ring.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o700)
    script = script.replace("$$", "$").replace("/run/secrets/key_ring", str(secret))
    environment = {"PLEURA_KEY_RING_FILE": str(ring), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def migrate() -> str:
        done = subprocess.run(
            [shell, flag, script], env=environment, capture_output=True, text=True, check=True
        )
        calls = ["-m portal migrate", "-m portal upgrade", "-m portal model add-shipped"]
        assert done.stdout.splitlines() == calls
        assert ring.stat().st_mode & 0o777 == 0o600
        assert list(ring.parent.iterdir()) == [ring]
        return ring.read_text()

    assert migrate() == "first"
    secret.write_text("another")
    assert migrate() == "first"


@pytest.fixture
def compose_redis(tmp_path: Path) -> Iterator[Callable[[str], redis.Redis]]:
    """The server of `docker-compose.yml`, started by its own command; a client for each user."""
    shell, flag, script = SERVICES["redis"]["command"]
    for name in ("redis_password", "redis_worker_password"):
        (tmp_path / name).write_text(f"word-of-{name}")
    program, socket = tmp_path / "redis-server", tmp_path / "redis.sock"
    server = embedded_redis.find_binary()
    listen = f"--port 0 --unixsocket {socket} --dir {tmp_path}"
    program.write_text(f'#!/bin/sh\nexec {server} "$@" {listen}\n')
    program.chmod(0o700)
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    script = script.replace("/tmp/users.acl", str(tmp_path / "users.acl"))
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL)
    secret = {"pleura": "redis_password", "worker": "redis_worker_password"}

    def client(user: str) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(socket),
            username=user,
            password=f"word-of-{secret[user]}",
            retry=Retry(NoBackoff(), 0),
        )

    until(lambda: socket.exists() or process.poll() is not None)
    yield client
    process.terminate()
    process.wait()


def test_redis_gives_workers_the_queues_and_the_portal_the_rest(
    compose_redis: Callable[[str], redis.Redis],
) -> None:
    portal, worker = compose_redis("pleura"), compose_redis("worker")
    portal.set("throttle:somebody:tries", 5)
    portal.publish("anything", "1")
    worker.lpush("segment", "1")
    assert worker.brpop(["segment", "segment\x06\x163"], timeout=1) == (b"segment", b"1")
    worker.sadd("_kombu.binding.render", "1")
    for command in (
        ("GET", "throttle:somebody:tries"),
        ("DEL", "throttle:somebody:tries"),
        ("SET", "anything", "1"),
        ("SUBSCRIBE", "anything"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "SETUSER", "worker", "~*"),
    ):
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|ACL"):
            worker.execute_command(*command)
    nobody = redis.Redis(unix_socket_path=portal.connection_pool.connection_kwargs["path"])
    with pytest.raises(redis.AuthenticationError):
        nobody.ping()


def test_a_worker_reaches_the_same_keys_with_and_without_docker() -> None:
    script = SERVICES["redis"]["command"][2]
    assert " ".join(f"~{pattern}" for pattern in embedded_redis.WORKER_KEYS) in script


def test_portal_and_listener_are_reached_from_outside_and_only_from_this_host() -> None:
    published = {name: its["ports"] for name, its in SERVICES.items() if "ports" in its}
    assert published == {
        "portal": ["127.0.0.1:${PLEURA_PORT:-8000}:8000"],
        "dicom": ["${PLEURA_DICOM_PUBLISHED:-127.0.0.1:11112}:11112"],
        "hl7": ["${PLEURA_HL7_PUBLISHED:-127.0.0.1:2575}:2575"],
    }
    assert COMPOSE["networks"]["record"]["internal"] is True


def test_a_worker_accepts_the_address_that_it_is_given() -> None:
    given = {name: str(value) for name, value in SERVICES["render"]["environment"].items()}
    secrets = {"REDIS_URL": "redis://redis/0", "PLEURA_WORKER_TOKEN": "x"}
    plain = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        for name, value in given.items()
        if not name.endswith("_FILE")
    }
    settings = WorkerSettings.from_env(plain | {"JOB_SECONDS": "120"} | secrets)
    assert settings.portal_url == "http://portal:8000"


def test_a_worker_is_given_time_to_end_its_job() -> None:
    environment = {
        "REDIS_URL": "redis://redis/0",
        "PLEURA_PORTAL_URL": "https://portal",
        "PLEURA_WORKER_TOKEN": "x",
    }
    hard = WorkerSettings.from_env(environment).hard_seconds
    for name in WORKERS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= hard


def test_the_gpu_worker_asks_for_a_gpu_and_starts_only_when_wanted() -> None:
    service = SERVICES["segment-gpu"]
    assert service["profiles"] == ["gpu"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert service["environment"]["PLEURA_DEVICE"] == "cuda"


def test_no_image_carries_data_keys_or_build_tools() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[1] == "*", "nothing is sent to the builder but what is named"
    for target in ("portal", "worker-cpu", "worker-gpu"):
        lines = stages()[target]
        assert "pip install" not in lines
        assert "apt-get" not in lines
        copied = re.findall(r"^COPY (?:--from=\S+ )?(.+) \S+$", lines, flags=re.MULTILINE)
        for source in " ".join(copied).split():
            assert source.startswith("/") or f"!{source.split('/')[0]}" in allowed, source
            assert source.startswith("/") or (ROOT / source).exists(), source


def test_the_portals_image_has_no_decoder_and_the_workers_no_portal() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", stages()["portal"], flags=re.MULTILINE)
    parts = [source for source in " ".join(copied).split() if source.startswith(("ml", "worker"))]
    assert parts == [
        "worker/__init__.py",
        "worker/contract",
        "worker/isolation",
        "ml/__init__.py",
        "ml/__main__.py",
        "ml/errors.py",
        "ml/runtime/__init__.py",
        "ml/runtime/model_store.py",
    ]
    for target in ("worker-cpu", "worker-gpu"):
        assert not re.search(r"^COPY portal ", stages()[target], flags=re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        [
            "-c",
            "import portal.server.application, portal.cli.commands, portal.operations.scheduler",
        ],
        ["-m", "ml", "fetch", "--help"],
    ],
    ids=["portal", "fetch"],
)
def test_the_portals_image_holds_every_module_that_it_imports(
    tmp_path: Path, command: list[str]
) -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) (\S+)$", stages()["portal"], flags=re.MULTILINE)
    for sources, target in lines:
        for source in sources.split():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target)
            else:
                (tmp_path / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    # Only the interpreter's own packages and the image's files.
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("docker is not installed")
    version = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if version.returncode != 0:
        pytest.skip("docker has no compose plugin here")
    command = [docker, "compose", "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    environment = {"PLEURA_BASE_URL": "https://xray.example", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


LISTS = ("portal", "worker-cpu", "worker-gpu", "run", "test", "train")


def pins(text: str) -> dict[str, str]:
    """Each package's version, by its name as PyPI compares names."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!-]+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@pytest.mark.parametrize("name", LISTS)
def test_every_package_of_a_list_has_hashes_and_the_tested_version(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert len(entries) > 20
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
    tested = pins((ROOT / "constraints.txt").read_text())
    # Of other machines, or what pip's own list leaves out.
    elsewhere = {"async-timeout", "brotlicffi", "colorama", "httpx2-jsfetch"}
    elsewhere |= {"setuptools", "tzdata"}
    for package, version in pins(text).items():
        assert tested.get(package) == version or package in elsewhere, package


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("portal", ("build", "portal", "s3")),
        ("worker-cpu", ("build", "worker-cpu", "worker", "serve")),
        ("worker-gpu", ("build", "worker-gpu", "worker", "serve")),
        ("train", ("build", "train", "many", "onnx", "oracle", "serve")),
        ("run", ("build", "portal", "embedded", "worker-cpu", "worker", "serve")),
        ("test", ("build", "portal", "embedded", "worker-cpu", "worker", "serve", "test", "lint")),
    ],
)
def test_a_list_holds_all_that_its_parts_ask_for(name: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = pins((ROOT / "requirements" / f"{name}.txt").read_text())
    for extra in extras:
        for wanted in project["optional-dependencies"][extra]:
            package = re.split(r"[\[<>=~! ]", wanted)[0].lower()
            assert package == "pleura" or package in listed, f"run `make lock`: {package}"


def test_nothing_is_installed_without_hashes() -> None:
    for text in (MAKEFILE.partition("\nlock:")[0] + MAKEFILE.partition("\nsbom:")[2], DOCKERFILE):
        for line in text.splitlines():
            if re.search(r"pip install|\$\(PIP\)", line) and "PIP :=" not in line:
                assert "--require-hashes" in line or "--no-deps" in line, line


def test_images_are_built_from_hashed_lists() -> None:
    for target in ("portal", "worker-cpu", "worker-gpu"):
        lines = stages()[f"build-{target}"]
        assert f"pip install --require-hashes -r requirements/{target}.txt" in lines
        assert "pip install --no-deps --no-build-isolation -e ." in lines
    assert "!requirements" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_bill_of_materials_names_what_runs_with_its_licence(tmp_path: Path) -> None:
    """The command of `make sbom`, on an environment that holds the papers of some packages."""
    pytest.importorskip("cyclonedx_py")
    venv.create(tmp_path / "env")
    (site,) = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    packages = ("flask", "cryptography", "sqlalchemy", "pydicom", "openvino")
    for package in packages:
        papers = importlib.metadata.distribution(package)._path  # type: ignore[attr-defined]
        shutil.copytree(papers, site / Path(papers).name)
    (recipe,) = re.findall(r"bin/cyclonedx-py (.*?)\s-o\s", MAKEFILE.replace("\\\n", ""))
    out = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", *recipe.split(), "-o", str(out)]
    call = [*command, str(tmp_path / "env" / "bin" / "python")]
    subprocess.run(call, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads(out.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "pleura"
    named = {re.sub(r"[-_.]+", "-", part["name"]).lower(): part for part in bill["components"]}
    assert set(named) == set(packages)
    for package in packages:
        assert named[package]["purl"].startswith(f"pkg:pypi/{package}@")
        assert named[package]["licenses"]

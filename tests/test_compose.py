"""What `docker compose up` on an empty host needs: settings, secrets, models, networks, order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from portal.settings import Settings, production_problems, secret_files
from tests.support.paths import ROOT
from tests.test_deployment import COMPOSE, DOCKERFILE, SERVICES, WORKERS, pins, stages
from worker.settings import VARIABLES as WORKER_VARIABLES

OURS = ("portal", "scheduler", "migrate", "dicom", "dicom-sender", "hl7", "report-sender")
SECRETS_SCRIPT = ROOT / "deploy" / "make_secrets.sh"
# A command that an image would have to hold.
NOT_PASSED = {"PLEURA_KEY_RING_COMMAND", "PLEURA_KEY_RING_STORE_COMMAND"}
# To scheduler and migration nobody signs in, no worker calls them, and neither makes backups.
OF_THE_PORTAL_ALONE = {
    "PLEURA_WORKER_TOKEN",
    "PLEURA_BACKUP_KEY",
    "PLEURA_LOCAL_SIGN_IN",
    *(one.name for one in Settings.describe() if one.name.startswith("PLEURA_OIDC_")),
}
# The migration sends no notifications.
NOT_OF_THE_MIGRATION = {
    one.name
    for one in Settings.describe()
    if one.name.startswith(("PLEURA_SMTP_", "PLEURA_WEBHOOK_"))
}
# Neither listens for DICOM nor calls its nodes.
OF_DICOM = {one.name for one in Settings.describe() if one.name.startswith("PLEURA_DICOM_")}
# Two processes speak HL7.
OF_HL7 = {one.name for one in Settings.describe() if one.name.startswith("PLEURA_HL7_")}
# PostgreSQL and Redis, the signature and the bucket: production does not start without them.
OF_ALL_OURS = {"database_url", "redis_url", "secret_key", "bucket_key_id", "bucket_secret"}
SECRETS_OF = {
    "postgres": {"postgres_password"},
    "redis": {"redis_password", "redis_worker_password"},
    "migrate": OF_ALL_OURS | {"key_ring"},
    "portal": OF_ALL_OURS
    | {"worker_token", "backup_key", "oidc_client_secret", "smtp_password", "webhook_secret"},
    "dicom": OF_ALL_OURS,
    "dicom-sender": OF_ALL_OURS,
    "hl7": OF_ALL_OURS,
    "report-sender": OF_ALL_OURS,
    "scheduler": OF_ALL_OURS | {"smtp_password", "webhook_secret"},
    **{name: {"redis_worker_url", "worker_token"} for name in WORKERS},
}
# A worker of the compose file reaches no host of models, has its models in a volume and its name
# from its container, and Redis without TLS.
NOT_PASSED_TO_WORKERS = {
    "PLEURA_MODEL_HOSTS",
    "PLEURA_WEIGHTS",
    "PLEURA_WORKER_NAME",
    "PLEURA_TLS_CA_FILE",
}


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service]["environment"].items()}


@pytest.mark.parametrize("service", OURS)
def test_every_setting_of_the_portal_can_be_given(service: str) -> None:
    given = {name.removesuffix("_FILE") for name in environment(service)} | set(
        environment(service)
    )
    missing = {one.name for one in Settings.describe()} - given - NOT_PASSED
    expected = {
        "portal": OF_HL7,
        "scheduler": OF_THE_PORTAL_ALONE | OF_DICOM | OF_HL7,
        "migrate": OF_THE_PORTAL_ALONE | NOT_OF_THE_MIGRATION | OF_DICOM | OF_HL7,
        "dicom": OF_THE_PORTAL_ALONE | NOT_OF_THE_MIGRATION | OF_HL7,
        "dicom-sender": OF_THE_PORTAL_ALONE | NOT_OF_THE_MIGRATION | OF_HL7,
        "hl7": OF_THE_PORTAL_ALONE | NOT_OF_THE_MIGRATION | OF_DICOM,
        "report-sender": OF_THE_PORTAL_ALONE | NOT_OF_THE_MIGRATION | OF_DICOM,
    }[service]
    assert missing == expected, "name them in docker-compose.yml, or here with the reason"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_has_no_secret_that_it_does_not_need(service: str) -> None:
    assert set(SERVICES[service]["secrets"]) == SECRETS_OF[service]


@pytest.mark.parametrize("service", WORKERS)
def test_every_setting_of_a_worker_can_be_given(service: str) -> None:
    given = {name.removesuffix("_FILE") for name in environment(service)}
    more = {
        "render": {"PLEURA_DEVICE", "PLEURA_BATCH", "PLEURA_ENGINE", "PLEURA_PRECISION"},
        "segment": {"PLEURA_BATCH"},
        "segment-gpu": set[str](),
    }[service]
    assert set(WORKER_VARIABLES) - given - NOT_PASSED_TO_WORKERS <= more


@pytest.mark.parametrize("service", [*OURS, *WORKERS])
def test_a_setting_comes_from_the_variable_of_its_name(service: str) -> None:
    for name, value in environment(service).items():
        taken = re.findall(r"\$\{(\w+)", value)
        assert taken in ([], [name]), name


def test_what_nobody_has_set_leaves_the_portals_defaults() -> None:
    """An empty text counts as not given; no default is written a second time."""
    for name, value in environment("portal").items():
        default = re.search(r"\$\{\w+:-(.*)\}", value)
        if default is not None and name not in ("JOB_SECONDS", "PLEURA_TRUSTED_PROXIES"):
            assert default[1] == "", name


def make_secrets(folder: Path) -> str:
    command = ["sh", str(SECRETS_SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("service", OURS)
def test_the_script_makes_every_secret_and_production_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    assert {path.name for path in folder.iterdir()} == set(COMPOSE["secrets"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    held = {path.name: path.read_text() for path in folder.iterdir()}
    assert secret_files.key_ring_weakness(held["key_ring"]) is None
    assert secret_files.is_key(held["backup_key"])
    assert held["postgres_password"] in held["database_url"]
    assert len(set(held.values())) == len(held) - 3, "four are empty, the others differ"

    for name in list(os.environ):
        if name.startswith(("PLEURA_", "DATABASE_", "REDIS_")):
            monkeypatch.delenv(name)
    for path in folder.iterdir():
        if path.name not in SERVICES[service]["secrets"] and path.name != "key_ring":
            path.unlink()
    for name, value in environment(service).items():
        filled = re.sub(r"\$\{\w+(?::-(.*?)|:\?.*?)?\}", lambda found: found[1] or "", value)
        filled = filled.replace("/run/secrets", str(folder))
        monkeypatch.setenv(
            name, filled.replace("/var/lib/pleura-keys/key_ring", f"{folder}/key_ring")
        )
    monkeypatch.setenv("PLEURA_BASE_URL", "https://xray.example")
    if service in ("hl7", "report-sender"):  # which speaks TLS, or plain where that was chosen
        assert [one.split()[0] for one in production_problems()] == ["PLEURA_HL7_HOST"]
        monkeypatch.setenv("PLEURA_HL7_PLAIN", "yes")
    assert production_problems() == []


def test_the_script_leaves_what_is_there_and_makes_what_an_update_needs(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "backup_key").unlink()
    assert make_secrets(folder).splitlines()[:-1] == [f"made {folder}/backup_key"]
    after = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"backup_key"}


def test_a_secret_that_is_made_for_an_address_needs_no_quoting(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        make_secrets(folder)
        for name in ("postgres_password", "redis_password", "redis_worker_password"):
            assert re.fullmatch(r"[\w-]{43}", (folder / name).read_text(), re.ASCII)


def test_models_that_the_portal_has_fetched_reach_the_workers_without_a_network() -> None:
    folder = f"{environment('portal')['PLEURA_DATA_DIR']}/models"
    for service in OURS:
        assert f"models:{folder}" in SERVICES[service]["volumes"]
    for service in ("segment", "segment-gpu"):
        assert SERVICES[service]["volumes"] == [f"models:{folder}:ro"]
        assert environment(service)["PLEURA_MODELS"] == folder
    # A new volume takes its owner from the image's folder.
    assert re.search(rf"install -d -m 0700 -o pleura [^&]* {folder}\b", stages()["base"])


def test_whoever_calls_other_systems_has_a_way_to_them_and_workers_have_none() -> None:
    assert "internal" not in (COMPOSE["networks"]["edge"] or {})
    for service in OURS:
        assert "edge" in SERVICES[service]["networks"], service
    for service in set(SERVICES) - set(OURS):
        for network in SERVICES[service]["networks"]:
            assert COMPOSE["networks"][network]["internal"] is True, service


def test_a_database_that_is_only_being_made_is_not_healthy() -> None:
    """Its first start answers on its socket alone; the migration comes by TCP."""
    test = SERVICES["postgres"]["healthcheck"]["test"]
    assert test[test.index("-h") + 1] == "127.0.0.1"


def test_a_new_database_keeps_checksums_by_which_damaged_pages_are_found() -> None:
    assert "--data-checksums" in SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()


def test_a_scheduler_that_hangs_is_not_healthy() -> None:
    """`portal check` looked at settings and schema, by a process of its own."""
    test = SERVICES["scheduler"]["healthcheck"]["test"]
    assert test[1:] == ["python", "-m", "portal", "sweep", "--alive"]


def test_a_tmpfs_needs_no_option_that_podman_lacks() -> None:
    """podman 4 refuses uid= and gid=, and mode= does not count where the folder exists."""
    for name, service in SERVICES.items():
        assert service.get("tmpfs", []) in ([], ["/tmp"]), name


def test_the_driver_of_the_gpu_worker_is_that_of_its_cuda() -> None:
    listed = pins((ROOT / "requirements" / "worker-gpu.txt").read_text("utf-8"))
    # NVIDIA's table of the least driver for each major version of CUDA.
    cuda = listed["nvidia-cuda-runtime"].partition(".")[0]
    driver = {"12": "525", "13": "580"}[cuda]
    for document in ("docker-compose.yml", "docs/operation.md"):
        text = (ROOT / document).read_text("utf-8")
        assert f"series {driver} or newer (CUDA {cuda})" in text, document


def test_packages_are_installed_before_the_program_is_copied() -> None:
    """Else each change of the program installs all packages anew, 8 GB of them for a GPU."""
    for target in ("portal", "worker-cpu", "worker-gpu"):
        before, _, _ = stages()[f"build-{target}"].partition("--require-hashes")
        assert re.findall(r"^COPY (.*)$", before, flags=re.MULTILINE) == [
            f"requirements/{target}.txt requirements/"
        ]
    assert "COPY" not in stages()["build"]


def test_the_portals_image_makes_the_shipped_model_active(tmp_path: Path) -> None:
    """The model's card is in the image, its weights are not."""
    lines = re.findall(r"^COPY (?!--from)(.+) (\S+)$", stages()["portal"], flags=re.MULTILINE)
    for sources, target in lines:
        for source in sources.split():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target)
            else:
                (tmp_path / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    assert "COPY --from=build-portal /app/ml/weights ml/weights" in stages()["portal"]
    shutil.copytree(ROOT / "ml" / "weights", tmp_path / "ml" / "weights")
    (reduce,) = re.findall(r"^ && (find ml/weights .*)$", DOCKERFILE, flags=re.MULTILINE)
    subprocess.run(["sh", "-c", reduce], cwd=tmp_path, check=True)
    files = [path for path in (tmp_path / "ml" / "weights").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"CURRENT", "card.json"}

    def portal(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "portal", *words],
            cwd=tmp_path,
            env={"PATH": "", "PYTHONPATH": str(tmp_path), "PLEURA_DATA_DIR": str(tmp_path / "var")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    portal("migrate")
    portal("upgrade")
    name = (ROOT / "ml" / "weights" / "CURRENT").read_text().strip()
    card: dict[str, Any] = json.loads((ROOT / "ml" / "weights" / name / "card.json").read_text())
    said = portal("model", "add-shipped")
    assert said == f"{card['name']} {card['version']} is active from the next job on.\n"
    listed = portal("model", "list")
    assert listed.startswith(f"{card['sha256'][:12]}  active ")
    assert listed.rstrip().endswith("balanced")


def test_the_trial_of_the_installation_names_no_host_of_this_place() -> None:
    for path in (ROOT / "deploy").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            hosts = re.findall(r"https?://([\w.-]+)", path.read_text("utf-8"))
            assert {host for host in hosts if "." in host and not host.startswith("127.")} <= {
                "xray.example"
            }, path.name


def test_the_trial_tries_what_the_compose_file_holds() -> None:
    from deploy.trial import containers, parts

    # A GPU, and what is asked for by its profile, are not tried.
    untried = {"segment-gpu", "dicom", "dicom-sender", "hl7", "report-sender"}
    assert {*containers.ORDER, *untried} == set(SERVICES)
    assert set(parts.PARTS) == set(SERVICES) - {"migrate", *untried}


def test_the_stand_in_for_the_database_takes_every_setting_of_the_compose_file() -> None:
    entry = (ROOT / "deploy" / "trial" / "postgres_entry.sh").read_text("utf-8")
    for name in SERVICES["postgres"]["environment"]:
        assert re.search(rf"\$\{{?{name}\b", entry), name


def test_the_copy_that_podman_reads_is_the_compose_file(tmp_path: Path) -> None:
    from deploy.trial.containers import Installation

    running = Installation(tmp_path, 8000, "podman-compose", stand_ins=False)
    running.write()
    made = yaml.safe_load((tmp_path / "compose.yml").read_text("utf-8"))
    for name, service in SERVICES.items():
        differs = {
            key
            for key in {*service, *made["services"][name]}
            if service.get(key) != made["services"][name].get(key)
        }
        allowed = {"build", "depends_on", "volumes", "ports"}
        if name == "segment-gpu":
            allowed |= {"deploy", "profiles", "environment"}
        assert differs <= allowed, name

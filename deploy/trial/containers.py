"""The containers of `docker-compose.yml` under podman: started in order, killed, restarted.

podman-compose reads a copy of the file. What differs in the copy: no images are built; paths are
absolute; nothing waits for a health check, because podman runs these by systemd, which a container
host need not have (they are run here instead); the GPU worker may compute on the CPU.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.trial.images import ROOT
from deploy.trial.shell import Broken, measured, require, run, wait

PROJECT = "pleura-trial"
URL = "https://xray.example"
# Each needs those before it.
ORDER = ("postgres", "redis", "migrate", "portal", "scheduler", "render", "segment")
_WITHOUT_SYSTEMD = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def prepare_engine(folder: Path, runtime: str) -> None:
    """Podman's settings for this process and all that it starts."""
    if Path("/run/systemd/system").is_dir() and not runtime:
        return
    lines = _WITHOUT_SYSTEMD + (f'runtime = "{runtime}"\n' if runtime else "")
    file = folder / "containers.conf"
    # The limits of a container may not be higher than those of who starts it.
    file.write_text(
        f'{lines}\n[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=9000:9000"]\n'
    )
    os.environ["CONTAINERS_CONF"] = str(file)
    os.environ["DISABLE_HC_SYSTEMD"] = "true"


@dataclass
class Installation:
    """One installation, in `folder`, its portal at a port of this machine."""

    folder: Path
    port: int
    compose: str
    stand_ins: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the portal is reached without its proxy."""
        return f"http://127.0.0.1:{self.port}"

    def write(self) -> None:
        """Write the compose file's copy and `.env`."""
        made = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
        services: dict[str, Any] = made["services"]
        services["portal"]["ports"] = [f"127.0.0.1:{self.port}:8000"]
        services["portal-2"] = copy.deepcopy(services["portal"])
        services["portal-2"]["ports"] = [f"127.0.0.1:{self.port + 1}:8000"]
        # As `--scale portal=2` does: one name for both.
        services["portal-2"]["networks"] = {
            "edge": {},
            "record": {},
            "work": {"aliases": ["portal"]},
        }
        services["scheduler-2"] = copy.deepcopy(services["scheduler"])
        for name in ("render-2", "segment-2", "segment-3"):
            services[name] = copy.deepcopy(services[name.partition("-")[0]])
        gpu = services["segment-gpu"]
        del gpu["deploy"], gpu["profiles"]
        gpu["environment"]["PLEURA_DEVICE"] = "cpu"
        if self.stand_ins:  # has the servers of both, and no entry of its own
            services["postgres"]["entrypoint"] = ["sh", "/entry.sh"]
        for service in services.values():
            service.pop("depends_on", None)
            service.pop("build", None)
            service["volumes"] = [self._absolute(one) for one in service.get("volumes", [])]
            if "edge" in service["networks"] and self.hosts:
                service["extra_hosts"] = self.hosts
        for name, secret in made["secrets"].items():
            secret["file"] = str(self.folder / "secrets" / name)
        (self.folder / "compose.yml").write_text(yaml.safe_dump(made, sort_keys=False), "utf-8")
        settings = {"PLEURA_BASE_URL": URL, **self.settings}
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.folder / ".env").write_text("".join(lines), "utf-8")

    def _absolute(self, volume: str) -> str:
        source, colon, rest = volume.partition(":")
        if not source.startswith("."):
            return volume
        target = self.folder / "certificates"
        target.mkdir(exist_ok=True)
        return f"{target}{colon}{rest}"

    def up(self, *services: str) -> None:
        """Start services anew, one after the other, each as soon as the one before is ready."""
        for name in services:
            run("podman", "rm", "-f", "-i", "-t", "20", self.container(name))
            self._compose("up", "-d", "--no-build", "--no-recreate", name)
            if name == "migrate":
                code = run("podman", "wait", self.container(name))
                require(code == "0", f"migrate ended with {code}:\n{self.logs(name)}")
            elif name in ("postgres", "redis") or name.startswith("portal"):
                self.wait_healthy(name)

    def down(self, *, volumes: bool) -> None:
        """Remove the containers, and with `volumes` what they have stored."""
        names = run("podman", "ps", "-aq", "--filter", f"name=^{PROJECT}_").split()
        if names:
            run("podman", "rm", "-f", "-t", "5", *names)
        if volumes:
            for name in run("podman", "volume", "ls", "-q").split():
                if name.startswith(f"{PROJECT}_"):
                    run("podman", "volume", "rm", "-f", name)

    def container(self, service: str) -> str:
        """Its container's name."""
        return f"{PROJECT}_{service}_1"

    def logs(self, service: str, lines: int = 15) -> str:
        """The last lines that it has written."""
        words = ["podman", "logs", "--tail", str(lines), self.container(service)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def is_healthy(self, service: str) -> bool:
        """Whether its health check succeeds now."""
        words = ["podman", "healthcheck", "run", self.container(service)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def wait_healthy(self, service: str, seconds: float = 180.0) -> float:
        """Wait for its health check; the seconds that it took."""
        try:
            return wait(f"{service} is healthy", lambda: self.is_healthy(service), seconds)
        except Broken as broken:
            raise Broken(f"{broken}\n{self.logs(service)}") from None

    def execute(self, service: str, *words: str, text: str | None = None) -> str:
        """Run a command in its container; its output."""
        return run("podman", "exec", "-i", self.container(service), *words, text=text)

    def manage(self, *words: str) -> str:
        """A command of the portal."""
        return self.execute("portal", "python", "-m", "portal", *words)

    def restart(self, service: str) -> None:
        """Stop it in order and start it again."""
        run("podman", "restart", "-t", "20", self.container(service))

    def kill(self, service: str) -> None:
        """End its first process by SIGKILL from outside; what starts it again is its policy."""
        before = self._inspect(service, "{{.State.Pid}}")
        os.kill(int(before), signal.SIGKILL)

        def runs_again() -> bool:
            return self._inspect(service, "{{.State.Pid}}") not in (before, "0", "")

        wait(f"{service} was started again by its restart policy", runs_again, 60)

    def stop(self, service: str) -> None:
        """Stop it, until `up`."""
        run("podman", "stop", "-t", "20", self.container(service))

    def count(self, table: str) -> int:
        """The rows of a table."""
        query = f"select count(*) from {table}"  # of this program's own names
        words = ("psql", "-h", "/run/postgresql", "-U", "pleura", "-d", "pleura", "-Atc", query)
        return int(self.execute("postgres", *words))

    def _inspect(self, service: str, form: str) -> str:
        words = ("podman", "inspect", "--format", form, self.container(service))
        return run(*words, check=False)

    def _compose(self, *words: str) -> None:
        command = [
            *self.compose.split(),
            "--in-pod",
            "false",
            "-p",
            PROJECT,
            "-f",
            str(self.folder / "compose.yml"),
        ]
        done = subprocess.run(
            [*command, *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        lines = (done.stdout + done.stderr).strip().splitlines()[-15:]
        require(done.returncode == 0, "\n".join([f"compose {' '.join(words)} failed:", *lines]))


def start(installation: Installation, settings: Mapping[str, str] | None = None) -> None:
    """Secrets, files, then all services in their order."""
    installation.folder.mkdir(parents=True, exist_ok=True)
    run("sh", str(ROOT / "deploy" / "make_secrets.sh"), str(installation.folder / "secrets"))
    installation.settings = dict(settings or {})
    installation.write()
    with measured("all services"):
        installation.up(*ORDER)

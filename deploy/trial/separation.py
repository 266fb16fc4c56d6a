"""What the containers keep apart: networks, secrets, users, and the process that decodes a file."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from deploy.trial.containers import Installation
from deploy.trial.images import ROOT
from deploy.trial.shell import require, run, say
from tests.support.isolation.decoder_attacks import SECRET

# Name and port of a neighbour: can a container connect to it?
_CONNECT = """
import json, socket, sys
found = {}
for name, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((name, port), 3).close()
        found[name] = "reached"
    except OSError as error:
        found[name] = type(error).__name__
routes = open("/proc/net/route").read().splitlines()[1:]
found["a way outside"] = "yes" if any(r.split()[1] == "00000000" for r in routes) else "no"
print(json.dumps(found))
"""
_NEIGHBOURS = [("postgres", 5432), ("redis", 6379), ("portal", 8000)]


def networks(running: Installation) -> None:
    """Workers reach Redis and the portal, not PostgreSQL and not the outside."""
    for service in ("render", "segment", "scheduler"):
        asked = json.dumps(_NEIGHBOURS)
        found = json.loads(running.execute(service, "python", "-c", _CONNECT, asked))
        say(f"{service}: {', '.join(f'{name} {answer}' for name, answer in found.items())}")
        require(found["redis"] == found["portal"] == "reached", f"{service} reaches too little")
        if service != "scheduler":
            require(found["postgres"] != "reached", f"{service} reaches the database")
            require(found["a way outside"] == "no", f"{service} reaches the outside")


def containers(running: Installation) -> None:
    """No root, nothing to write but /tmp and volumes, no capability, no secret but its own."""
    for service in ("portal", "scheduler", "render", "segment"):
        status = running.execute(service, "cat", "/proc/self/status")
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user = lines["Uid"].split()[0]
        secrets = running.execute(service, "ls", "/run/secrets").split()
        writable = subprocess.run(
            ["podman", "exec", running.container(service), "touch", "/app/written"],
            capture_output=True,
            check=False,
        )
        say(
            f"{service}: user {user}, capabilities {lines['CapEff'].strip()}, no new privileges "
            f"{lines['NoNewPrivs'].strip()}, secrets {' '.join(secrets)}"
        )
        require(user == "10001", f"{service} runs as {user}")
        require(int(lines["CapEff"], 16) == 0, f"{service} has capabilities")
        require(writable.returncode != 0, f"{service} can change its program")


def decoder() -> None:
    """A decoder that was taken over, in a container like the render worker's: what it gets."""
    words = ["podman", "run", "--rm", "--read-only", "--cap-drop=all", "--network=none"]
    words += ["--security-opt=no-new-privileges", "--init", "--tmpfs=/tmp"]
    words += [f"--volume={ROOT / 'tests'}:/app/tests:ro", f"--env=HELD={SECRET.decode()}"]
    words += ["--env=OMP_NUM_THREADS=1", "pleura-worker-cpu:0.1.0"]
    printed = run(*words, "python", "-m", "tests.support.isolation.attacked_worker", "all")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    got = {name: answer["got"] for name, answer in found["answers"].items() if "got" in answer}
    say(f"layers that are missing in a container: {'; '.join(found['missing']) or 'none'}")
    say(f"{len(found['answers'])} attacks on the worker, {len(got)} got something: {got or ''}")

"""The parts of the trial, in their order; each prints what it saw and raises Broken."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from deploy.trial import containers, faults, outside, people, separation
from deploy.trial.containers import Installation
from deploy.trial.images import ROOT
from deploy.trial.people import Browser, Program
from deploy.trial.shell import require, say, wait

PARTS = ("postgres", "redis", "portal", "scheduler", "render", "segment")


@dataclass
class Trial:
    """One run: the installation, pictures that were not sent yet, and who sends them."""

    running: Installation
    pictures: Iterator[Path]
    seed: int
    load: int
    program: Program | None = None
    sent: list[str] = field(default_factory=list)

    def take(self, count: int) -> list[Path]:
        """So many pictures that were not sent before."""
        found = list(islice(self.pictures, count))
        require(len(found) == count, "there are too few pictures in --pictures")
        return found

    def sender(self) -> Program:
        """The technologist's program."""
        if self.program is None:
            raise AssertionError("the part `first` comes before")
        return self.program


def first(trial: Trial) -> None:
    """An empty host to the first results: nothing but the steps of the README."""
    running = trial.running
    began = time.monotonic()
    admin = _begin(trial, {})
    listed = running.manage("model", "list")
    say(f"models: {listed}")
    require(" active " in listed, "no model is active")
    reader = people.invite(admin, running, "reader")
    studies = [trial.sender().upload(picture) for picture in trial.take(5)]
    found = trial.sender().results(studies)
    say(f"first results {time.monotonic() - began:.0f} s after the start of an empty host")
    for case in found.values():
        prediction = case["prediction"]
        model = prediction["model"]
        say(
            f"{case['rows']} × {case['columns']}: {prediction['band']} "
            f"{prediction['probability']}, {prediction['quality']['verdict']}, {model['name']} "
            f"{model['version']}, {prediction['operating_point']}"
        )
    require(reader.send("GET", f"/studies/{studies[0]}").status_code == 200, "no case page")
    for service in PARTS:
        require(running.is_healthy(service), f"{service} is not healthy")
    trial.sent += studies


def _begin(trial: Trial, settings: dict[str, str]) -> Browser:
    """Everything anew: an installation with these settings, its admin, a technologist's token."""
    running = trial.running
    running.down(volumes=True)
    containers.start(running, settings)
    admin = people.first_admin(running)
    people.invite(admin, running, "technologist")
    trial.program, trial.sent = technologist(running), []
    return admin


def technologist(running: Installation) -> Program:
    """The program of a technologist who is there, with a new token."""
    token = people.token(running, "technologist", "studies:write", "studies:read")
    return Program(running.address, token)


def restarts(trial: Trial) -> None:
    """Each part is killed -9 and restarted while pictures come in; then everything at once."""
    running, sender = trial.running, trial.sender()
    chance = faults.shuffled(PARTS, trial.seed)
    faults.under_load(running, sender, trial.take(trial.load), chance)
    faults.under_load(
        running, sender, trial.take(trial.load), [("restart", "redis"), ("kill", "redis")] * 4
    )
    running.down(volumes=False)
    running.up(*containers.ORDER)
    sender.results(trial.sent)
    say("containers removed and made anew: the cases are there")
    trial.sent += [sender.upload(picture) for picture in trial.take(1)]
    sender.results(trial.sent)


def apart(trial: Trial) -> None:
    """What the containers keep apart."""
    separation.networks(trial.running)
    separation.containers(trial.running)
    separation.decoder()


def slow(trial: Trial) -> None:
    """Clients that send half requests."""
    faults.slow_clients(trial.running, trial.sender(), trial.take(1)[0])


def model(trial: Trial) -> None:
    """A model that no image holds is added and promoted; workers find it in their volume."""
    running, given = trial.running, "/var/lib/pleura/given"
    running.execute("portal", "mkdir", "-p", given)
    for name, content in _another_model().items():
        words = ("dd", "status=none", f"of={given}/{name}")
        container = running.container("portal")
        subprocess.run(["podman", "exec", "-i", container, *words], input=content, check=True)
    say(running.manage("model", "add", given))
    sha256 = hashlib.sha256(_another_model()["model.xml"]).hexdigest()
    say(running.manage("model", "promote", sha256))
    case = trial.sender().upload(trial.take(1)[0])
    used = trial.sender().results([case])[case]["prediction"]["model"]
    say(f"the next result is of {used['name']} {used['version']}")
    require(used["sha256"] == sha256, "another model was used")


def _another_model() -> dict[str, bytes]:
    """The shipped model under another name, with another checksum: a line more in its graph."""
    weights = ROOT / "ml" / "weights"
    folder = weights / (weights / "CURRENT").read_text("utf-8").strip()
    card = json.loads((folder / "card.json").read_text("utf-8"))
    files = {name: (folder / name).read_bytes() for name in card["files"]}
    files["model.xml"] += b"\n"
    card["name"] = "another"
    card["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card["sha256"] = card["files"]["model.xml"]
    return {**files, "card.json": json.dumps(card).encode()}


def backup(trial: Trial) -> None:
    """A backup by the key of `secrets/`, read to its end."""
    running = trial.running
    file = "/tmp/pleura.backup"
    say(running.manage("backup", file).splitlines()[-1])
    say(running.manage("restore", file, "--check").splitlines()[-1])
    found = running.manage("doctor")
    say(found.replace("\n", "\n  "))
    require("pages are not checked" not in found, "the database was made without checksums")


def gpu(trial: Trial) -> None:
    """The GPU worker's image, computing on the CPU here, instead of the CPU worker."""
    running = trial.running
    running.stop("segment")
    try:
        running.up("segment-gpu")
        case = trial.sender().upload(trial.take(1)[0])
        found = trial.sender().results([case])[case]["prediction"]
        say(f"{found['band']} {found['probability']} in {found['seconds']} s")
        say(f"the log: {running.logs('segment-gpu', 3).strip()}")
        wait("segment-gpu is healthy", lambda: running.is_healthy("segment-gpu"))
        running.stop("segment-gpu")
    finally:
        running.up("segment")


def scale(trial: Trial) -> None:
    """Two portals, five workers, two schedulers, one of which is killed."""
    running, sender = trial.running, trial.sender()
    more = ("portal-2", "scheduler-2", "render-2", "segment-2", "segment-3")
    running.up(*more)
    both = Program(f"http://127.0.0.1:{running.port + 1}", sender.token)
    studies = [sender.upload(picture) for picture in trial.take(5)]
    studies += [both.upload(picture) for picture in trial.take(5)]
    both.results(studies)
    say("ten pictures by two portals have their results")
    running.stop("scheduler")
    chance = [("kill", "scheduler-2"), ("kill", "portal"), ("kill", "segment-2")]
    faults.under_load(running, both, trial.take(trial.load), chance)
    for service in more:
        running.stop(service)
    running.up("scheduler")


def sign_on(trial: Trial) -> None:
    """Single sign-on at an issuer whose certificate an authority of one's own has signed."""
    running = trial.running
    with outside.issuer(running, running.port + 3) as (settings, provider):
        running.settings |= settings
        running.write()
        running.up("portal")
        outside.sign_in(running, provider)


def s3(trial: Trial) -> None:
    """The encrypted files in a bucket of an S3 server: a new installation."""
    running = trial.running
    with outside.s3_server(running, running.port + 2) as settings:
        _begin(trial, settings)
        studies = [trial.sender().upload(picture) for picture in trial.take(5)]
        trial.sender().results(studies)
        chance = [("kill", "portal"), ("kill", "scheduler"), ("restart", "render")]
        faults.under_load(running, trial.sender(), trial.take(10), chance)
        say(running.manage("vault", "verify").splitlines()[-1])


ALL: dict[str, Callable[[Trial], None]] = {
    "first": first,
    "apart": apart,
    "slow": slow,
    "model": model,
    "backup": backup,
    "restarts": restarts,
    "scale": scale,
    "gpu": gpu,
    "sign-on": sign_on,
    "s3": s3,
}

"""What the portal reaches outside: an S3 server and an issuer, both on this machine.

They listen at the gateway of the network `edge`; the issuer has a name in the containers' hosts
file. Needs the test environment: moto, and the test issuer of `tests/support`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.trial.containers import PROJECT, URL, Installation
from deploy.trial.people import Browser
from deploy.trial.shell import require, run, say
from tests.support.servers.tls_front import Authority
from tests.support.sign_in import identity_provider

_BUCKET, _ISSUER = "pleura-trial", "login.xray.example"
SIGN_ON = {
    "PLEURA_OIDC_ISSUER": f"https://{_ISSUER}:PORT",
    "PLEURA_OIDC_CLIENT_ID": identity_provider.CLIENT,
    "PLEURA_OIDC_ROLES": "xray-readers=reader@Radiology",
    "PLEURA_CA_FILE": "/certificates/Test_authority.pem",
}


def gateway() -> str:
    """This machine's address in the network `edge`."""
    found = json.loads(run("podman", "network", "inspect", f"{PROJECT}_edge"))
    return str(found[0]["subnets"][0]["gateway"])


@contextmanager
def s3_server(running: Installation, port: int) -> Iterator[dict[str, str]]:
    """An S3 server with an empty bucket; the settings that name it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address=gateway(), port=port, verbose=False)
    server.start()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{gateway()}:{port}",
            region_name="us-east-1",
            aws_access_key_id="trial",
            aws_secret_access_key="trial",  # pragma: allowlist secret
        )
        client.create_bucket(Bucket=_BUCKET)
        for name in ("bucket_key_id", "bucket_secret"):
            (running.folder / "secrets" / name).write_text("trial", "utf-8")
        # By its address: moto takes the first part of a host's name for a bucket.
        yield {
            "PLEURA_BUCKET": f"s3://{_BUCKET}/files",
            "PLEURA_BUCKET_ENDPOINT": f"http://{gateway()}:{port}",
        }
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET)
        sizes = [one["Size"] for page in pages for one in page.get("Contents", ())]
        say(f"the bucket holds {len(sizes)} encrypted files, {sum(sizes) / 1e6:.1f} MB")
        require(len(sizes) > 0, "nothing was stored in the bucket")
    finally:
        server.stop()


@contextmanager
def issuer(
    running: Installation, port: int
) -> Iterator[tuple[dict[str, str], identity_provider.Provider]]:
    """An issuer behind TLS, its certificate signed by an authority of the installation's own."""
    folder = running.folder / "certificates"
    folder.mkdir(exist_ok=True)
    authority = Authority.make(folder)
    authority.file.chmod(0o644)
    context = authority.issue(_ISSUER)
    url = f"https://{_ISSUER}:{port}"
    (running.folder / "secrets" / "oidc_client_secret").write_text(
        identity_provider.SECRET, "utf-8"
    )
    running.hosts.append(f"{_ISSUER}:{gateway()}")
    with identity_provider.serve((gateway(), port), url, context) as provider:
        provider.claims = {
            "sub": "maria-1",
            "email": "maria@xray.example",
            "email_verified": True,
            "name": "Maria",
            "groups": ["xray-readers"],
        }
        settings = {name: value.replace("PORT", str(port)) for name, value in SIGN_ON.items()}
        yield settings, provider


def sign_in(running: Installation, provider: identity_provider.Provider) -> None:
    """A person comes by the issuer, sets up a second factor, and sees the worklist."""
    browser = Browser(running.address)
    away = browser.send("GET", "/sign-in/sso")
    require(away.status_code == 303, f"the way to the issuer answered {away.status_code}")
    provider.now = time.time()
    back = provider.authorize(away.headers["location"])
    page = browser.send("GET", back.removeprefix(URL))
    require(page.status_code == 200, f"the way back answered {page.status_code}: {page.text[:300]}")
    require(re.search(r"url=/enrol", page.text) is not None, "no second factor was asked for")
    browser.post("/enrol", {"begin": "1"})
    browser.enrol()
    require(browser.send("GET", "/worklist").status_code == 200, "the worklist is not shown")
    say("a reader signed in by the issuer, set up a second factor and saw the worklist")

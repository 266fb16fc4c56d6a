"""Sealing and opening files of the vault against keeping the same files in plain.

    python benchmarks/portal/vault.py [--rounds 20] [--megabytes 1 8 32] [--folder DIR]

For each size, in turn within each round: random bytes are kept as a plain file (temporary file,
fsync, rename, as the vault does) and read back; copied with `shutil.copyfile`, without any fsync;
and put into the vault (AES-256-GCM, then the same writing) and got out of it. Reads come from the
system's cache. Printed are medians in MB/s and what the vault takes in multiples of the plain way.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from portal.models import BlobKind
from portal.settings import Settings
from portal.vault import Vault
from portal.vault.blob_store import FolderStorage

KIND = BlobKind.PIXELS


def seconds(work: Callable[[], object]) -> float:
    """What it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_round(vault: Vault, plain: FolderStorage, folder: Path, size: int) -> dict[str, float]:
    """Seconds of each way to keep and to read one file."""
    data = secrets.token_bytes(size)
    key, _ = vault.new_data_key(uuid4())
    blob, name = uuid4(), f"{uuid4().hex}-1"
    source, copy = folder / "source", folder / "copy"
    source.write_bytes(data)
    took = {
        "plain_write": seconds(lambda: plain.write(name, data)),
        "copyfile": seconds(lambda: shutil.copyfile(source, copy)),
        "vault_put": seconds(lambda: vault.put(key, blob_id=blob, kind=KIND, attempt=1, data=data)),
        "plain_read": seconds(lambda: plain.read(name)),
    }
    sealed = f"{blob.hex}-1"
    began = time.perf_counter()
    opened = vault.get(key, blob_id=blob, kind=KIND, name=sealed)
    took["vault_get"] = time.perf_counter() - began
    if opened != data:
        raise SystemExit("what came out of the vault is not what went in")
    plain.remove(name)
    vault.destroy(sealed)
    return took


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=20, help="files of each size (20)")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 8, 32], help="their sizes")
    parser.add_argument("--folder", type=Path, help="on which disk (the temporary folder's)")
    chosen = parser.parse_args()
    if chosen.rounds < 2 or not all(1 <= size <= 512 for size in chosen.megabytes):
        parser.error("--rounds from 2, --megabytes from 1 to 512")
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as made:
        folder = Path(made)
        environ = {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder / "vault")}
        vault, plain = Vault(Settings.from_env(environ)), FolderStorage(folder / "plain")
        for megabytes in chosen.megabytes:
            took = defaultdict(list)
            for _ in range(chosen.rounds):
                for name, value in one_round(vault, plain, folder, megabytes * 2**20).items():
                    took[name].append(value)
            middle = {name: statistics.median(values) for name, values in took.items()}
            speeds = {
                f"{name}_mb_s": round(megabytes * 2**20 / 1e6 / session, 1)
                for name, session in middle.items()
            }
            result[f"{megabytes} MiB"] = {
                **speeds,
                "put_over_plain_write": round(middle["vault_put"] / middle["plain_write"], 2),
                "get_over_plain_read": round(middle["vault_get"] / middle["plain_read"], 2),
            }
    sys.stdout.write(json.dumps({"rounds": chosen.rounds, **result}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

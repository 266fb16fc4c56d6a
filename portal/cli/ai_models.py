"""`python -m portal model`: the registry of models, and what their predictions stored."""

import argparse
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.ai_models import cards, registry
from portal.errors import Conflict, Invalid
from portal.models import Instance, ModelState, ModelVersion, OperatingPoint, Prediction
from portal.operations import first_start
from portal.operations.context import Failed, now, open_portal, print_line
from portal.settings import Settings
from portal.settings.process_environment import child_environment
from portal.studies import stored_results

_DAYS_MAX: Final = 36_500


def model_options(parser: argparse.ArgumentParser) -> None:
    """The actions of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="check a model and add its card as a candidate")
    add.add_argument("source", help="folder, ZIP file, file://, https:// or gdrive:ID")
    add.add_argument("--sha256", default="", help="checksum of the ZIP file; for a folder optional")
    add.set_defaults(act=_add)
    shipped = actions.add_parser(
        "add-shipped",
        help="make this version's own model the active one, unless another was chosen",
    )
    shipped.set_defaults(act=_add_shipped)
    actions.add_parser("list", help="every known model").set_defaults(act=_list)
    promote = actions.add_parser("promote", help="make a model the active one from the next job on")
    promote.add_argument("sha256", help="the model's sha256, or its beginning")
    promote.add_argument(
        "--operating-point", choices=[point.value for point in OperatingPoint], default="balanced"
    )
    promote.add_argument(
        "--override",
        default="",
        metavar="REASON",
        help="promote it although its card is worse than the active model's, for this reason",
    )
    promote.set_defaults(act=_promote)
    statistics = actions.add_parser(
        "statistics",
        help="what a model's predictions stored of pictures and answers, for `ml drift`",
        description="One JSON line for each prediction, oldest first; nothing in it names a case.",
    )
    statistics.add_argument("sha256", help="the model's sha256, or its beginning")
    statistics.add_argument("--days", type=float, default=30, help="how far back (default 30)")
    statistics.set_defaults(act=_statistics)


def _add(chosen: argparse.Namespace) -> int:
    settings = Settings.from_env()
    source = str(Path(chosen.source).resolve()) if Path(chosen.source).exists() else chosen.source
    card = fetch_card(source, chosen.sha256.lower(), settings)
    with open_portal(settings) as (session, _vault, _engine):
        try:
            model = registry.add(
                session, card, source=source, archive_sha256=chosen.sha256.lower(), now=now()
            )
        except Invalid as bad:
            raise Failed(bad.message) from None
        print_line(f"{model.name} {model.version} is a candidate: {model.sha256}")
        for problem in cards.problems_of(model.card):
            print_line(f"It can't be promoted. {problem}")
    return 0


def _add_shipped(_chosen: argparse.Namespace) -> int:
    name = first_start.register_shipped(Settings.from_env())
    print_line(
        f"{name} is active from the next job on." if name else "The models stay as they are."
    )
    return 0


def fetch_card(source: str, sha256: str, settings: Settings) -> Any:
    """The card of a model; `ml.runtime.model_store` fetches and checks it in its own process."""
    done = subprocess.run(  # our own program  # noqa: S603  # nosec B603
        [
            *(sys.executable, "-m", "ml", "fetch", "--into", str(settings.data_dir / "models")),
            *(f"--host={host}" for host in settings.model_hosts or ("",)),
            *(("--sha256", sha256) if sha256 else ()),
            *("--", source),
        ],
        # Python's own variable for the authorities of https.
        env=child_environment({"SSL_CERT_FILE": str(settings.ca_file)} if settings.ca_file else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["the model could not be fetched"]
        raise Failed(lines[-1].removeprefix("fetch: "))
    try:
        return json.loads(done.stdout)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        raise Failed("the model's card can't be read as JSON") from None


def _list(_chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        for model in session.scalars(select(ModelVersion).order_by(ModelVersion.created)):
            point = model.operating_point.value if model.state is ModelState.ACTIVE else ""
            print_line(
                f"{model.sha256[:12]}  {model.state.value:9}  {model.name} {model.version}  {point}"
            )
    return 0


def _promote(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        model = _meant(session, chosen.sha256.lower())
        try:
            registry.promote(
                *(session, None, model.id, now()),
                point=OperatingPoint(chosen.operating_point),
                override=chosen.override,
            )
        except Conflict as conflict:
            hint = " (--override REASON)" if conflict.code == "worse_than_active" else ""
            raise Failed(conflict.message + hint) from None
        except Invalid as bad:
            raise Failed(bad.message) from None
        print_line(f"{model.name} {model.version} is active from the next job on.")
    return 0


def _statistics(chosen: argparse.Namespace) -> int:
    if not 0 < chosen.days <= _DAYS_MAX:
        raise Failed(f"--days lies between 0 and {_DAYS_MAX}.")
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        model = _meant(session, chosen.sha256.lower())
        wanted = (
            select(Prediction, Instance)
            .join(Instance, Instance.id == Prediction.instance_id)
            .where(
                Prediction.model_id == model.id,
                Prediction.created >= now() - timedelta(days=chosen.days),
            )
        )
        for one, picture in session.execute(
            wanted.order_by(Prediction.created).execution_options(yield_per=500)
        ):
            measured = stored_results.measurements(one, picture) or {}
            print_line(
                json.dumps(
                    {
                        "model": {"sha256": model.sha256},
                        "statistics": one.statistics,
                        "probability": one.probability,
                        "view": picture.view.value,
                        "quality": {"verdict": one.quality_verdict.value},
                        "measurements": {"spacing_problem": measured.get("spacing_problem")},
                    }
                )
            )
    return 0


def _meant(session: Session, beginning: str) -> ModelVersion:
    found = [
        model
        for model in session.scalars(select(ModelVersion))
        if len(beginning) >= 6 and model.sha256.startswith(beginning)
    ]
    if len(found) != 1:
        raise Failed("No model has a sha256 with this beginning, or several have (give 6 or more).")
    return found[0]

"""The columns of exams and pictures that are made from a header: keyed digests, the order of
acquisition, and what stands there in plain (view, sex, ten-year age band).
"""

import json
import re
from datetime import date
from typing import Any, Final

from portal.models import Instance, Sex, Study, View
from portal.vault import Vault

_AGE: Final = re.compile(r"(\d{1,3})([DWMY])", re.ASCII)
_PER_YEAR: Final = {"Y": 1, "M": 12, "W": 52, "D": 365}
_OLDEST: Final = 90  # everybody from there on is in one band


def describe_study(
    vault: Vault,
    study: Study,
    phi: dict[str, str],
    keys: dict[str, str],
    acquired: int | None,
) -> None:
    """Fill the columns of an exam from the header of its first picture (see `intake.Upload`)."""
    study.study_uid_key = keyed(vault, "study_uid", keys)
    study.patient_id_key = _searched(vault, "patient_id", keys)
    study.patient_key = None
    if keys.get("patient_id"):
        study.patient_key = patient_key(vault, keys.get("issuer", ""), keys["patient_id"])
    study.accession_key = _searched(vault, "accession", keys)
    study.acquired = None if acquired is None else vault.acquired(acquired)
    study.sex, study.age_band = Sex.of(phi.get("sex")), age_band(phi)


def describe_picture(
    vault: Vault, instance: Instance, keys: dict[str, str], header: dict[str, Any]
) -> None:
    """Fill the columns of a picture from its header."""
    instance.series_uid_key = keyed(vault, "series_uid", keys)
    instance.view = View.of(header.get("view"))
    acquired = header.get("acquired")
    instance.acquired = None if acquired is None else vault.acquired(acquired)


def patient_key(vault: Vault, issuer: str, patient_id: str) -> str:
    """The digest of who issued a patient ID and the ID together, for `studies.patient_key`."""
    return vault.lookup("patient", json.dumps([issuer, patient_id]))


def number_key(vault: Vault, name: str, number: str) -> str:
    """The digest that the search looks for, the same for all spellings of one number; `name`:
    `patient_id` or `accession`.
    """
    return vault.lookup(name, folded(number))


def folded(number: str) -> str:
    """A patient ID or accession number as the search compares it: no case, no blanks around it."""
    return number.strip().casefold()


def _searched(vault: Vault, name: str, keys: dict[str, str]) -> str | None:
    """The same of one of a header's keys; None where the header has none."""
    value = keys.get(name, "")
    return number_key(vault, name, value) if folded(value) else None


def keyed(vault: Vault, name: str, keys: dict[str, str]) -> str | None:
    """The keyed digest of one of a header's keys; None where the header has none."""
    value = keys.get(name)
    return vault.lookup(name, value) if value else None


def age_band(phi: dict[str, str]) -> int | None:
    """The ten years that the patient's age lies in, as their first: 0, 10 … 90 (and above)."""
    match = _AGE.fullmatch(phi.get("age", ""))
    if match:
        years = int(match[1]) // _PER_YEAR[match[2]]
    else:
        try:
            born = date.fromisoformat(phi.get("birth_date", ""))
            taken = date.fromisoformat(phi.get("study_date", ""))
        except ValueError:
            return None
        years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return min(years // 10 * 10, _OLDEST) if years >= 0 else None

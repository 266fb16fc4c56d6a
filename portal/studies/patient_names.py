"""Search by family name: keyed digests of the name's normalised parts, in every script.

A name is what pages show: "Family, Given", with the form in another script in brackets behind it.
Its family name is found whole and by each of its words, in any case of letters and with or without
accents. Nothing else of a name can be searched for, and no digest leads back to a name.
"""

import re
import unicodedata
from typing import Final
from uuid import UUID

from sqlalchemy import exists, not_, select
from sqlalchemy.orm import Session

from portal.models import Study, StudyName
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

_FORMS: Final = re.compile(r"([^()（）]*)(?:[(（](.*)[)）])?")
# Marks above or below letters of these scripts are left out; in others they are vowels.
_UNMARKED: Final = ("LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW")
# What stands inside of a word: apostrophes, and the line that stretches Arabic ones.
_INSIDE: Final = re.compile("['`\u2018\u2019\u02bc\u0640]")
_MOST: Final = 12  # digests of one name
_AT_ONCE: Final = 200


def normalised(text: str) -> str:
    """A name as it is compared: words of letters and digits in one case, without accents."""
    found: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFKD", text.casefold()):
        if unicodedata.category(character) != "Mn":
            base = unicodedata.name(character, "")
        elif base.startswith(_UNMARKED):
            continue
        found.append(character)
    return _words(unicodedata.normalize("NFC", _INSIDE.sub("", "".join(found))))


def family_names(name: str) -> list[str]:
    """What a name can be searched by: in each script the family name, and each of its words."""
    match = _FORMS.fullmatch(name.strip())
    found: dict[str, None] = {}
    for form in match.groups() if match else (name,):
        family = normalised((form or "").split(",")[0].split("，")[0])
        for part in (family, *family.split(" ")):
            if part:
                found.setdefault(part)
    return list(found)[:_MOST]


def searched(vault: Vault, typed: str) -> str | None:
    """The digest of what was typed as a family name, also before a comma; None for no name."""
    family = normalised(re.split(r"[,，^]", typed)[0])
    return _digest(vault, family) if family else None


def rows(vault: Vault, study_id: UUID, name: str) -> list[StudyName]:
    """The rows of an exam. One without a name has a row as well, which no search finds."""
    keys = [_digest(vault, family) for family in family_names(name)] or [_digest(vault, "")]
    return [StudyName(study_id=study_id, key=key) for key in keys]


def fill(session: Session, vault: Vault) -> int:
    """Add the rows of exams from before there were any; returns of how many. An exam whose record
    does not open is left out, and tried again the next time.
    """
    done, last = 0, UUID(int=0)
    while True:
        studies = session.scalars(
            select(Study)
            .where(
                Study.id > last,
                Study.sealed_phi.is_not(None),
                not_(exists().where(StudyName.study_id == Study.id)),
            )
            .order_by(Study.id)
            .limit(_AT_ONCE)
            .with_for_update(key_share=True)
        ).all()
        for study in studies:
            try:
                data_key = sealed_fields.key_of(vault, study)
                patient = sealed_fields.open_patient(vault, data_key, study)
            except NotReadable:
                continue
            session.add_all(rows(vault, study.id, patient.patient_name))
            done += 1
        session.commit()
        if not studies:
            return done
        last = studies[-1].id


def _words(text: str) -> str:
    """Words with one space between them; vowel signs belong to words, unlike other marks."""
    kept = (c if c.isalnum() or unicodedata.category(c) in ("Mn", "Mc") else " " for c in text)
    return " ".join("".join(kept).split())


def _digest(vault: Vault, family: str) -> str:
    return vault.lookup("family_name", family)

"""Messages as hospitals' systems write them; what is left out has a usual value."""

from itertools import count

from tests.support.hl7.listening import ACCESSION, PATIENT

_numbers = count(1)


def header(
    kind: str,
    *,
    control: str | None = None,
    version: str = "2.5.1",
    charset: str = "",
    processing: str = "P",
    application: str = "RIS",
    facility: str = "HOSP",
    at: str = "20260304090000",
) -> str:
    control = f"M{next(_numbers)}" if control is None else control
    to = "|PLEURA|PLEURA|"
    last = f"|{processing}|{version}||||||{charset}"
    return f"MSH|^~\\&|{application}|{facility}{to}{at}||{kind}|{control}{last}"


def message(*segments: str, codec: str = "utf-8") -> bytes:
    return "".join(f"{one}\r" for one in segments).encode(codec)


def pid(
    name: str = "PHANTOM^ONE",
    *,
    number: str = f"{PATIENT}^^^HOSP^MR",
    born: str = "19630501",
    sex: str = "F",
) -> str:
    return f"PID|1||{number}||{name}||{born}|{sex}"


def adt(event: str = "A08", patient: str = "", *more: str, **head: str) -> bytes:
    structure = {"A08": "ADT_A01", "A31": "ADT_A05", "A40": "ADT_A39"}.get(event, "ADT_A01")
    codec = head.pop("codec", "utf-8")
    first = header(f"ADT^{event}^{structure}", **head)
    return message(first, f"EVN|{event}|20260304090000", patient or pid(), *more, codec=codec)


def merged(into: str = PATIENT, prior: str = "P-0002", **head: str) -> bytes:
    return adt("A40", pid(number=f"{into}^^^HOSP^MR"), f"MRG|{prior}^^^HOSP^MR", **head)


def orm(
    priority: str = "S",
    *,
    accession: str = ACCESSION,
    control_code: str = "NW",
    place: str = "ED^12^A",
    patient: str = "",
    **head: str,
) -> bytes:
    request = ["OBR", "1", "P77", "F77", "CXR^Chest"] + [""] * 22
    request[18] = accession
    return message(
        header("ORM^O01^ORM_O01", **head),
        patient or pid(),
        f"PV1|1|E|{place}",
        f"ORC|{control_code}|P77|F77||||^^^^^{priority}",
        "|".join(request),
    )


def omi(
    priority: str = "S",
    *,
    accession: str = ACCESSION,
    place: str = "ICU^3^B",
    patient: str = "",
    **head: str,
) -> bytes:
    return message(
        header("OMI^O23^OMI_O23", **head),
        patient or pid(),
        f"PV1|1|I|{place}",
        "ORC|NW|P78|F78",
        f"TQ1|1||||||||{priority}",
        "OBR|1|P78|F78|CXR^Chest",
        f"IPC|{accession}|RP1|1.2.3|SPS1",
    )


def oru(
    text: str = "No pneumothorax.",
    *,
    state: str = "F",
    accession: str = ACCESSION,
    patient: str = "",
    kind: str = "TX",
    **head: str,
) -> bytes:
    request = ["OBR", "1", "P77", "F77", "CXR^Chest"] + [""] * 21
    request[18], request[25] = accession, state
    lines = enumerate(text.split("\n"), 1)
    observed = (f"OBX|{i}|{kind}|R^Report||{one}||||||{state}" for i, one in lines)
    codec = head.pop("codec", "utf-8")
    return message(
        header("ORU^R01^ORU_R01", **head),
        patient or pid(),
        "|".join(request),
        *observed,
        codec=codec,
    )

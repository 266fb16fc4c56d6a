"""Reading one message: header, character set, parts, escapes, and why one can't be read."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.hl7 import messages
from portal.hl7.messages import NULL, NotTaken
from tests.support.hl7 import messages as made


def read(raw: bytes, default: str = "ASCII") -> messages.Message:
    return messages.read(messages.header_of(raw), raw, default)


def refused(raw: bytes) -> tuple[str, str]:
    with pytest.raises(NotTaken) as why:
        read(raw)
    return why.value.answer, why.value.code


def test_a_header_is_read_before_the_character_set_is_known() -> None:
    raw = made.adt(control="K1", charset="8859/1", patient=made.pid("MÜLLER"), codec="latin-1")
    found = messages.header_of(raw)
    assert (found.kind, found.event, found.control_id) == ("ADT", "A08", "K1")
    assert (found.application, found.facility) == ("RIS", "HOSP")
    assert (found.version, found.processing, found.charsets) == ("2.5.1", "P", ("8859/1",))
    assert found.stated_at == "20260304090000"


def test_values_are_found_by_field_component_and_repetition() -> None:
    pid = read(made.adt(patient="PID|1||1^^^A&1.2&ISO^MR~2^^^B||F&von^G^M||19630501|F")).segment(
        "PID"
    )
    assert (pid.text(3), pid.text(3, 4), pid.text(3, 4, subcomponent=2)) == ("1", "A", "1.2")
    assert (pid.repetitions(3), pid.text(3, repetition=2), pid.text(3, 4, repetition=2)) == (
        2,
        "2",
        "B",
    )
    assert (pid.text(5), pid.text(5, 2), pid.text(5, 3), pid.text(5, 9)) == ("F", "G", "M", "")
    assert (pid.text(8), pid.text(40), pid.text(7, 2)) == ("F", "", "")


def test_other_separators_are_read_as_they_are_stated() -> None:
    raw = b"MSH*:+?%*RIS*HOSP***1**ADT:A08*K*P*2.5\rPID*1**7:::HOSP:MR+8**F:G?S?X\r"
    pid = read(raw).segment("PID")
    assert (pid.text(3), pid.text(3, repetition=2), pid.text(5, 2)) == ("7", "8", "G:X")


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("UNICODE UTF-8", "utf-8", "MÜLLER^Øyvind"),
        ("8859/1", "iso8859-1", "MÜLLER^Øyvind"),
        ("8859/2", "iso8859-2", "WAŁĘSA^Łucja"),
        ("8859/5", "iso8859-5", "ИВАНОВ^Пётр"),
        ("8859/7", "iso8859-7", "ΠΑΠΠΑΣ^Άννα"),
        ("8859/15", "iso8859-15", "Œuvray^€"),
        ("ASCII", "ascii", "MULLER^O"),
        ("", "ascii", "MULLER^O"),
    ],
)
def test_names_are_read_in_the_character_set_that_is_stated(
    charset: str, codec: str, name: str
) -> None:
    pid = read(made.adt(patient=made.pid(name), charset=charset, codec=codec)).segment("PID")
    assert (pid.text(5), pid.text(5, 2)) == tuple(name.split("^"))


@pytest.mark.parametrize(
    ("charset", "codec", "code"),
    [
        ("UNICODE UTF-8", "iso8859-1", "wrong_charset"),
        ("", "utf-8", "wrong_charset"),
        ("ASCII", "utf-8", "wrong_charset"),
        ("UNICODE", "utf-8", "charset_unknown"),
        ("ISO IR87", "utf-8", "charset_unknown"),
        ("8859/1~8859/2", "utf-8", "charset_unknown"),
    ],
)
def test_a_wrong_character_set_has_its_reason(charset: str, codec: str, code: str) -> None:
    raw = made.adt(patient=made.pid("MÜLLER^A"), charset=charset, codec=codec)
    assert refused(raw) == ("AE", code)


def test_what_a_node_states_counts_where_a_message_names_no_character_set() -> None:
    raw = made.adt(patient=made.pid("MÜLLER^A"), codec="latin-1")
    assert read(raw, "8859/1").segment("PID").text(5) == "MÜLLER"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "no_header"),
        (b"PID|1\r", "no_header"),
        (b"MSH", "no_header"),
        (b"MSH|", "no_header"),
        (b"MSH|^~\\&", "no_header"),
        (b"MSH|^^^^|A|B|||||ADT^A08|1|P|2.5", "no_header"),
        (b"MSH|abcd|A|B|||||ADT^A08|1|P|2.5", "no_header"),
        (b"MSH|^~\\&|A|B|||||ADT^A08||P|2.5", "no_control_id"),
        (b"MSH|^~\\&|A|B|||||ADT^A08|" + b"9" * 200 + b"|P|2.5", "no_control_id"),
        (b"MSH|^~\\&|A|B|||||ADT^A08|\xc3\xbc|P|2.5", "no_control_id"),
        (b"MSH|^~\\&|" + b"A" * 5000, "no_header"),
    ],
)
def test_what_has_no_header_is_rejected(raw: bytes, code: str) -> None:
    assert refused(raw) == ("AR", code)


@pytest.mark.parametrize(
    "more", [b"pid|1\r", b"PID1|\r", b"\r\rPID|1\r", b"MSH|^~\\&|A\r", b"PIDX\r", b"PI\r"]
)
def test_a_segment_that_is_none_fails_the_message(more: bytes) -> None:
    assert refused(made.adt() + more) == ("AE", "bad_segment")


def test_very_many_parts_cost_little() -> None:
    raw = made.adt() + b"ZZZ|" + b"^" * 500_000 + b"\r"
    began = time.monotonic()
    assert refused(raw) == ("AE", "too_many_parts")
    assert refused(made.adt() + b"ZZZ\r" * 6000) == ("AE", "too_many_parts")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"one\.br\two\.sp\three", "one\ntwo\nthree"),
        (r"\H\bold\N\ and \Zother\x", "bold and x"),
        (r"\X41\\X0D\B", "A\nB"),
        (r"\XC3BC\u", "u"),
        (r"50 \ 60", r"50 \ 60"),
        (r"C:\new", r"C:\new"),
        (r"\.sp99999999\x", "\nx"),
        ("\\" * 5, "\\"),
        ("no escape", "no escape"),
    ],
)
def test_escapes_are_resolved_and_what_is_unknown_left_out(text: str, expected: str) -> None:
    assert messages.unescaped(text, messages.header_of(made.adt())) == expected


def test_no_escape_writes_into_the_log_or_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    """As the package `hl7` does with these."""
    caplog.set_level(logging.DEBUG)
    header = messages.header_of(made.adt())
    for text in (r"ZEBRA\C2842\\M00\\\\XZZ\x", r"ZEBRA\.sp99999999999\x", "\\" * 100_000):
        began = time.monotonic()
        messages.unescaped(text, header)
        assert time.monotonic() - began < 5
    assert caplog.text == ""


def test_a_delete_is_something_else_than_a_value_that_is_left_out() -> None:
    pid = read(made.adt(patient='PID|1||7||""||""|')).segment("PID")
    assert (pid.text(5), pid.text(7), pid.text(8)) == (NULL, NULL, "")


def test_a_text_of_several_lines_keeps_them() -> None:
    raw = made.oru(r"Line 1\.br\Line 2~Line 3 \T\ 4^5")
    assert read(raw).segment("OBX").lines(5, 1000) == "Line 1\nLine 2\nLine 3 & 4^5"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_have_a_reason(data: bytes) -> None:
    for raw in (data, made.adt() + data, made.header("ADT^A08").encode() + data):
        try:
            found = read(raw, "8859/1")
        except NotTaken:
            continue
        for segment in found.segments("PID", "OBX"):
            segment.text(3, 4, repetition=2)
            segment.lines(5, 100)

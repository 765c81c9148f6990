"""Forms with a file, as clients send them well and badly."""

from __future__ import annotations

import pytest

from gateway.errors import ApiError, BadRequest, UnsupportedMedia
from gateway.files.form import MOST_PARTS, MOST_VALUE_BYTES, FormReader, boundary_of

EDGE = b"edge"


def part(name: str, value: bytes, filename: str | None = None, head: str = "") -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    about = f'Content-Disposition: form-data; name="{name}"{named}\r\n{head}\r\n'
    return b"--" + EDGE + b"\r\n" + about.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + EDGE + b"--\r\n"


FILE, PURPOSE = part("file", b"one\r\n--edg two", "data.jsonl"), part("purpose", b"fine-tune")


def read(body: bytes, step: int = 1 << 20, **options: bool) -> tuple[FormReader, bytes]:
    """The form, and the bytes of its file."""
    taken = bytearray()

    def on_file(_name: str):  # type: ignore[no-untyped-def]
        return taken.extend

    reader = FormReader(EDGE, "file", ("purpose", "note"), on_file, **options)
    for begin in range(0, len(body), step):
        reader.write(body[begin : begin + step])
    reader.close()
    return reader, bytes(taken)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 16, 1 << 20])
@pytest.mark.parametrize("body", [form(FILE, PURPOSE), form(PURPOSE, FILE)])
def test_a_form_is_read_in_whatever_pieces_it_comes(body: bytes, step: int) -> None:
    reader, content = read(body, step)
    assert (reader.filename, reader.fields) == ("data.jsonl", {"purpose": "fine-tune"})
    assert content == b"one\r\n--edg two"


def test_what_looks_like_a_boundary_is_none_within_a_line() -> None:
    content = b"--edge\n--edge--" + b"\r\n--edgy" * 100 + b"\r" * 1000
    assert read(form(part("file", content, "a"), PURPOSE))[1] == content


def test_what_follows_the_end_says_nothing() -> None:
    reader, content = read(form(FILE, PURPOSE) + FILE + b"\x00" * 100, 5)
    assert (reader.fields, content) == ({"purpose": "fine-tune"}, b"one\r\n--edg two")


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"", None, "ends in the middle"),
        (form(FILE)[:-8], None, "ends in the middle"),
        (form(), "file", "'file' is required"),
        (form(PURPOSE), "file", "'file' is required"),
        (form(FILE, FILE), "file", "'file' is there twice"),
        (form(PURPOSE, PURPOSE), "purpose", "'purpose' is there twice"),
        (form(FILE, part("purpose", b"x" * (MOST_VALUE_BYTES + 1))), "purpose", "longer than"),
        (form(FILE, part("purpose", b"\xff")), None, "'purpose' is no UTF-8"),
        (form(FILE, part("model", b"x")), "model", "'model' is not a known field"),
        (form(part("x" * 1_000, b"")), "x" * 100, "not a known field"),
        (form(part("x" * 5_000, b"")), None, "cannot be read"),
        (form(*[part(f"note{number}", b"") for number in range(MOST_PARTS + 1)]), None, "more than 16 fields"),
        (form(part("file", b"eA==", "a", "Content-Transfer-Encoding: base64\r\n")), None, "encoded"),
        (form(b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n"), None, "has no name"),
        (b"no form at all", None, "cannot be read"),
        (b'{"purpose": "fine-tune"}', None, "cannot be read"),
    ],
)
def test_a_form_that_is_none_is_refused_with_what_is_wrong(body: bytes, param: str | None, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        read(body, skips_unknown="note0" in body.decode("latin-1"))
    assert refused.value.param == param


def test_unknown_fields_pass_where_they_may() -> None:
    reader, _ = read(form(part("model", b"x" * 10_000), FILE, PURPOSE), skips_unknown=True)
    assert reader.fields == {"purpose": "fine-tune"}


def test_the_boundary_is_in_the_head() -> None:
    assert boundary_of("multipart/form-data; boundary=edge") == EDGE
    assert boundary_of('Multipart/Form-Data; charset=utf-8; boundary="a b"') == b"a b"


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("", UnsupportedMedia),
        ("application/json", UnsupportedMedia),
        ("multipart/mixed; boundary=edge", UnsupportedMedia),
        ("multipart/form-data", BadRequest),
        ("multipart/form-data; boundary=", BadRequest),
        (f"multipart/form-data; boundary={'x' * 71}", BadRequest),
    ],
)
def test_another_kind_of_body_or_no_boundary_is_refused(content_type: str, kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        boundary_of(content_type)

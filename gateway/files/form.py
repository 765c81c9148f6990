"""`multipart/form-data` as it comes: one file, whose bytes go on at once, and some short fields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.api.fields.checks import missing
from gateway.errors import BadRequest, UnsupportedMedia

MOST_PARTS = 16
MOST_NAME_BYTES = 100
MOST_VALUE_BYTES = 4_096
MOST_HEADERS, MOST_HEADER_BYTES = 8, 2_048
"""Of one part; and of one header."""
MOST_FORM_BYTES = MOST_PARTS * (MOST_VALUE_BYTES + MOST_HEADERS * MOST_HEADER_BYTES)
"""That a form has beside its file."""
PLAIN = (b"", b"7bit", b"8bit", b"binary")
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every bad form that a stranger sends


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts. Raises `UnsupportedMedia` for another kind of body, `BadRequest` without one."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMedia(
            "A file is sent as a form: 'Content-Type: multipart/form-data'. With curl: -F purpose=fine-tune "
            "-F file=@data.jsonl.",
            param="Content-Type",
            code="unsupported_media_type",
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise BadRequest(
            "'Content-Type: multipart/form-data' has no boundary of 1 to 70 characters; let the HTTP client write this "
            "header.",
            param="Content-Type",
            code="invalid_form",
        )
    return boundary


class FormReader:
    """Reads one form. `fields` are the short ones that have come. Every fault is a `BadRequest`."""

    def __init__(
        self,
        boundary: bytes,
        file_field: str,
        known: Collection[str],
        on_file: Callable[[str], Callable[[memoryview], None]],
        *,
        skips_unknown: bool = False,
    ) -> None:
        """`on_file` gets the name of the file, empty if it has none, and returns what takes its bytes."""
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._file_field = file_field
        self._known = known
        self._on_file = on_file
        self._skips_unknown = skips_unknown
        self._parts = 0
        self._ended = False
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._take: Callable[[memoryview], None] = _drop
        self._name = ""
        self._text = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._open,
                "on_end": self._finish,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=MOST_HEADER_BYTES,
        )

    def write(self, data: bytes) -> None:
        """Some more of the body."""
        if self._ended:  # what follows the last boundary says nothing
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest(f"The form cannot be read: {error}.", code="invalid_form") from error

    def close(self) -> None:
        """The body has ended."""
        if not self._ended:
            raise BadRequest(
                "The form ends in the middle: its last boundary is missing. Send the whole of it.", code="invalid_form"
            )
        if self.filename is None:
            raise missing(self._file_field)

    def required(self, name: str) -> str:
        """A field that must be there."""
        if name not in self.fields:
            raise missing(name)
        return self.fields[name]

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadRequest(f"The form has more than {MOST_PARTS} fields.", code="invalid_form")
        self._headers = {}
        self._header = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _open(self) -> None:
        """The head of a part is there: it says what its bytes are."""
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"")
        if kind != b"form-data" or not name:
            raise BadRequest(
                "A part of the form has no name: it needs 'Content-Disposition: form-data; name=\"…\"'.",
                code="invalid_form",
            )
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in PLAIN:
            raise BadRequest("A part of the form is encoded; send its bytes as they are.", code="invalid_form")
        self._name = _decoded(name, "the name of a field")
        if len(name) > MOST_NAME_BYTES:
            raise _unknown(self._name[:MOST_NAME_BYTES])
        if self._name in self.fields or (self._name == self._file_field and self.filename is not None):
            raise BadRequest(f"'{self._name}' is there twice; send it once.", param=self._name, code="invalid_form")
        if self._name == self._file_field:
            self.filename = _decoded(options.get(b"filename", b""), "the name of the file")
            self._take = self._on_file(self.filename)
        elif self._name in self._known:
            self._text.clear()
            self._take = self._take_text
        elif self._skips_unknown:
            self._take = _drop
        else:
            raise _unknown(self._name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._take(memoryview(data)[start:end])

    def _take_text(self, some: memoryview) -> None:
        self._text += some
        if len(self._text) > MOST_VALUE_BYTES:
            raise BadRequest(
                f"'{self._name}' is longer than {MOST_VALUE_BYTES} bytes.", param=self._name, code="invalid_value"
            )

    def _end(self) -> None:
        if self._name in self._known:
            self.fields[self._name] = _decoded(bytes(self._text), f"'{self._name}'")

    def _finish(self) -> None:
        self._ended = True


def _drop(_some: memoryview) -> None:
    """Bytes that nobody wants."""


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The form cannot be read: {what} is no UTF-8.", code="invalid_form") from error


def _unknown(name: str) -> BadRequest:
    return BadRequest(f"'{name}' is not a known field. Remove it.", param=name, code="unknown_parameter")

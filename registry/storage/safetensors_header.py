"""Read the header of a safetensors file from a stranger, believing nothing in it.

Format: 8 bytes little-endian header length, a JSON object `{name: {dtype, shape, data_offsets}}` (plus
`__metadata__`), then the data. https://huggingface.co/docs/safetensors says that names are unique, that the tensors
cover the data without gap or overlap, and that nothing follows them; all of it is checked here. No tensor data is read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO

from registry.errors import Finding, RegistryError
from registry.storage.strict_json import NotStrictJson, RepeatedKey, strict_json

MAX_HEADER_BYTES = 32 * 2**20
"""A header takes some 150 bytes per tensor; 32 MiB is two hundred thousand of them."""

MAX_TENSORS = 200_000
MAX_METADATA_CHARACTERS = 2**20
MAX_HEADER_DEPTH = 3
LENGTH_BYTES = 8
ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class MalformedSafetensors(RegistryError):
    """The file breaks the safetensors format; `finding` says where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as the header declares it. `offset` and `size` are in bytes, `offset` from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def clip(value: object, limit: int = 120) -> str:
    """A stranger's value as short printable ASCII, fit for a log line, a terminal and a JSON answer."""
    text = value[: limit + 1] if isinstance(value, str) else str(value)
    text = UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)
    return text if len(text) <= limit else text[: limit - 1] + "~"


def read_header(
    stream: BinaryIO, file_size: int, file: str, *, max_tensors: int = MAX_TENSORS
) -> tuple[TensorEntry, ...]:
    """The tensors that `stream`, a safetensors file of `file_size` bytes, declares, in order of their data.

    `file` names it in findings, `max_tensors` is how many it may hold. Raises `MalformedSafetensors` for the first
    breach of the format, `OSError` when the file cannot be read, and nothing else whatever the bytes are.
    """
    length = _header_length(stream, file_size, file)
    document = _parse(stream.read(length), length, file)
    _check_metadata(document.pop("__metadata__", {}), file)
    if len(document) > max_tensors:
        raise _breach("too_many_tensors", file, f"{len(document)} tensors", f"at most {max_tensors}")
    data_start = LENGTH_BYTES + length
    entries = sorted(
        (_entry(name, fields, data_start, file) for name, fields in document.items()),
        key=lambda entry: (entry.offset, entry.size),
    )
    _check_cover(entries, data_start, file_size, file)
    return tuple(entries)


def _header_length(stream: BinaryIO, file_size: int, file: str) -> int:
    prefix = stream.read(LENGTH_BYTES)
    if len(prefix) < LENGTH_BYTES:
        raise _breach("header_truncated", file, f"a file of {len(prefix)} bytes", "at least 8 bytes of header length")
    length = int.from_bytes(prefix, "little")
    if length > file_size - LENGTH_BYTES:
        room = file_size - LENGTH_BYTES
        raise _breach(
            "header_beyond_file", file, f"a header of {length} bytes", f"at most {room}, the rest of the file"
        )
    if length > MAX_HEADER_BYTES:
        raise _breach("header_too_large", file, f"a header of {length} bytes", f"at most {MAX_HEADER_BYTES}")
    return length


def _parse(raw: bytes, length: int, file: str) -> dict[str, Any]:
    if len(raw) < length:
        raise _breach("header_truncated", file, f"{len(raw)} bytes of header", f"{length}")
    try:
        document = strict_json(raw, max_depth=MAX_HEADER_DEPTH)
    except RepeatedKey as repeated:
        key = clip(repeated.key)
        raise _breach("header_duplicate_key", file, f"the key {key!r} twice", "every key once", key) from None
    except NotStrictJson as error:
        raise _breach("header_not_json", file, clip(error), "a JSON object in UTF-8") from None
    if not isinstance(document, dict):
        raise _breach("header_not_json", file, f"a JSON {type(document).__name__}", "a JSON object")
    if not raw.startswith(b"{"):  # the format's own rule, and its library keeps it
        raise _breach("header_not_json", file, f"a header that begins with {clip(raw[:1].decode())!r}", "'{'")
    return document


def _check_metadata(metadata: Any, file: str) -> None:
    """The format's library refuses a file whose metadata is anything but texts by name."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _breach("header_metadata_malformed", file, clip(metadata), "texts by name", "__metadata__")
    size = sum(len(key) + len(value) for key, value in metadata.items())
    if size > MAX_METADATA_CHARACTERS:
        expected = f"at most {MAX_METADATA_CHARACTERS}"
        raise _breach("header_metadata_too_large", file, f"{size} characters", expected, "__metadata__")


def _entry(name: str, fields: Any, data_start: int, file: str) -> TensorEntry:
    shown = clip(name)
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        keys = sorted(fields) if isinstance(fields, dict) else fields
        raise _breach("header_entry_malformed", file, clip(keys), "an object of dtype, shape, data_offsets", shown)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise _breach("header_dtype_unknown", file, clip(dtype), "a safetensors dtype", shown)
    if not _are_counts(shape):
        raise _breach("header_shape_malformed", file, clip(shape), "a list of whole numbers, none negative", shown)
    if not (_are_counts(offsets) and len(offsets) == 2 and offsets[0] <= offsets[1]):
        raise _breach(
            "header_offsets_malformed", file, clip(offsets), "[begin, end], begin <= end, none negative", shown
        )
    begin, end = offsets
    bits = math.prod(shape) * ITEM_BITS[dtype]
    if bits != (end - begin) * 8:
        expected = f"{bits // 8}, what {clip(shape, 40)} of {dtype} takes"
        raise _breach("tensor_size_mismatch", file, f"{end - begin} bytes", expected, shown)
    return TensorEntry(name, dtype, tuple(shape), data_start + begin, end - begin)


def _are_counts(values: Any) -> bool:
    """Whole numbers below 2**48: their products stay cheap, and no real dimension or offset is larger."""
    return (
        isinstance(values, list)
        and len(values) <= 16
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def _check_cover(entries: list[TensorEntry], data_start: int, file_size: int, file: str) -> None:
    position = data_start
    for entry in entries:
        shown = clip(entry.name)
        found = f"data from byte {entry.offset - data_start}"
        expected = f"byte {position - data_start}, where the tensor before it ends"
        if entry.offset < position:
            raise _breach("tensor_overlap", file, found, expected, shown)
        if entry.offset > position:
            raise _breach("tensor_gap", file, found, expected, shown)
        position += entry.size
        if position > file_size:
            room = file_size - data_start
            raise _breach("data_truncated", file, f"{room} bytes of data", f"at least {position - data_start}", shown)
    if position < file_size:
        raise _breach("trailing_data", file, f"{file_size - position} bytes after the last tensor", "none")


def _breach(code: str, file: str, found: str, expected: str, tensor: str | None = None) -> MalformedSafetensors:
    return MalformedSafetensors(Finding(code, file, found, expected, tensor))

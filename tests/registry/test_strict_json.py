"""JSON of strangers: one reason for each thing that parsers disagree about, and no other error whatever comes."""

from __future__ import annotations

import json
import random

import pytest

from registry.storage.strict_json import NotStrictJson, strict_json

REFUSED = {
    "a key twice": (b'{"r": 8, "r": 4}', "the key 'r' twice"),
    "a key twice, once in escapes": (b'{"r": 8, "\\u0072": 4}', "the key 'r' twice"),
    "a key twice far inside": (b'{"a": [{"b": 1, "b": 1}]}', "the key 'b' twice"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "Infinity": (b"[Infinity]", "Infinity"),
    "minus infinity": (b"[-Infinity]", "-Infinity"),
    "a float beyond floats": (b'{"lora_alpha": 1e400}', "1e400"),
    "a float far below them": (b"-2.5E+999", "-2.5E+999"),
    "twenty digits": (b"[12345678901234567890]", "20 digits"),
    "thousands of digits": (b"[" + b"9" * 4000 + b"]", "4000 digits"),
    "more digits than Python reads": (b"[" + b"9" * 9000 + b"]", "9000 digits"),
    "half a pair": (b'{"base": "\\ud800"}', "half of a surrogate pair"),
    "half a pair as a key": (b'{"\\udfff": 1}', "half of a surrogate pair"),
    "seventeen lists": (b"[" * 17 + b"]" * 17, "nested more than 16 deep"),
    "nine hundred objects": (b'{"a":' * 900 + b"1" + b"}" * 900, "nested more than 16 deep"),
    "half a million lists": (b"[" * 500_000, "nested too deep"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "UTF-16": ('{"r": 8}'.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": ('{"r": 8}'.encode("utf-16-le"), "UTF-16"),
    "UTF-32": ('{"r": 8}'.encode("utf-32-be"), "UTF-16 or UTF-32"),
    "no UTF-8": (b'{"r": "\xff"}', "no UTF-8 at byte 7"),
    "nothing": (b"", "no JSON"),
    "two documents": (b"{} {}", "no JSON"),
    "a comment": (b'{"r": 8 /* eight */}', "no JSON"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_parsers_read_differently_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotStrictJson) as refused:
        strict_json(data)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 200


def test_plain_json_is_read_as_it_is() -> None:
    document = {"a": [1, -2, 2.5e-3, True, None, "ü 😀"], "b": {"c": {}}, "d": "\\ud800 as text", "e": 2**62}
    for ascii_only in (True, False):
        assert strict_json(json.dumps(document, ensure_ascii=ascii_only).encode()) == document
    assert strict_json(b"[" * 16 + b"]" * 16)


def test_whatever_the_bytes_are_there_is_a_value_or_that_one_error() -> None:
    dice = random.Random(11)
    pieces = [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u", b"d800", b"1e9", b"999", b"NaN", b"-", b'"a"', b"\xff"]
    values = 0
    for _ in range(5_000):
        data = b"".join(dice.choices(pieces, k=dice.randint(1, 8)))
        try:
            json.dumps(strict_json(data), ensure_ascii=False).encode()
            values += 1
        except NotStrictJson:
            pass
    assert 0 < values < 5_000

"""Single keys: arrows and letters as they come, whatever else is typed is none."""

from __future__ import annotations

import io

import pytest

from switchyard.keyboard import Keyboard, keys_of


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("lR=", ["l", "r", "="]),
        ("\x1b[D\x1b[C\x1b[B\x1bOA", ["←", "→", "↓", "↑"]),
        ("\x7f\x08", ["⌫", "⌫"]),
        ("\x1b", ["q"]),
        ("\x1b[5~l", ["l"]),
        ("\x1b[1;5Dr", ["r"]),
        ("", []),
    ],
)
def test_what_is_typed_is_read_key_by_key(typed: str, keys: list[str]) -> None:
    assert keys_of(typed) == keys


def test_lines_are_keys_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Left now\n\n→\n"))
    with Keyboard() as keyboard:
        assert [keyboard.read() for _ in range(4)] == ["left", "", "→", None]

"""What others have named is shown as data: no markup, no emoji, no control of the operator's terminal."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchyard.console import print_csv, print_json, print_table, say, visible
from tests.support.cli_runner import Run, done, run, tiny_base
from tests.support.terminal import bytes_on_a_terminal

__all__ = ["done", "run", "tiny_base"]

ROOT = Path(__file__).parents[1]
OUR_OWN = {
    "[bold]b[/bold]",
    "[/]",
    "ft:gpt-4o:nimbus::x:AbC",
    ":warning:",
    "[link=http://x]y[/link]",
    "日本語のテナント",
    "a" * 400,
    "\\[escaped]",
}
HOSTILE = {
    "\x1b[2J\x1b[H": r"\x1b[2J\x1b[H",
    "\x9b2J": r"\x9b2J",
    "a\rb": r"a\rb",
    "a\nfake  row": r"a\nfake  row",
    "\u202egnp.exe": r"\u202egnp.exe",
    "a\u2028b": r"a\u2028b",
    "\x08\x08ok": r"\x08\x08ok",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x00": r"\x00",
    "\ud800": r"\ud800",
    "tab\there": r"tab\there",
    "\u200bhidden\U000e0041": r"\u200bhidden\U000e0041",
}
PRINTERS = {ROOT / "switchyard" / name for name in ("console.py", "panels.py")}
TO_THE_TERMINAL = {"echo", "secho", "confirm", "prompt", "print", "input"}


def ways_around(tree: ast.AST) -> Iterator[str]:
    """Where a module would print by itself. Who forks may empty what is still to be written."""
    flushed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "flush"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in ("rich", "click"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("rich", "click"):
            yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"):
            yield node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "typer" and node.attr in TO_THE_TERMINAL:
                yield f"typer.{node.attr}"
            if node.value.id == "sys" and node.attr in ("stdout", "stderr") and id(node) not in flushed:
                yield f"sys.{node.attr}"


def test_nothing_but_the_console_prints() -> None:
    found = {}
    sources = [
        source for room in ("switchyard", "registry", "gateway", "trainer") for source in (ROOT / room).rglob("*.py")
    ]
    for source in sources:
        if source not in PRINTERS and "migrations" not in source.parts:
            ways = sorted(set(ways_around(ast.parse(source.read_text()))))
            if ways:
                found[str(source.relative_to(ROOT))] = ways
    assert found == {}, "print with switchyard.console: say, print_table, print_json, live"


@pytest.mark.parametrize("text", sorted(OUR_OWN))
def test_a_table_shows_markup_emoji_names_and_long_names_as_they_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(("NAME", "[HEADING]"), [(text, "end")])
    heading, row = capsys.readouterr().out.splitlines()
    assert "[HEADING]" in heading
    assert row.split() == [*text.split(), "end"]


@pytest.mark.parametrize(("text", "shown"), sorted(HOSTILE.items(), key=repr))
def test_control_characters_are_shown_and_never_sent(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert visible(text) == shown
    say(text)
    say(text, err=True)
    streams = capsys.readouterr()
    assert streams.out == streams.err == f"{shown}\n"
    print_table(("NAME", "B"), [(text, "b")])
    _, row = capsys.readouterr().out.splitlines()
    assert row.split() == [*shown.split(), "b"]


@pytest.mark.parametrize("text", sorted(HOSTILE, key=repr))
def test_json_says_the_same_without_a_control_character(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"label": text})
    out = capsys.readouterr().out
    assert json.loads(out) == {"label": text}
    assert out.isascii()
    assert all(character.isprintable() or character == "\n" for character in out)


def test_csv_keeps_its_lines_and_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    print_csv("a,b\r\n\x1b[2J,x\r\n")
    assert capsys.readouterr().out == "a,b\r\n\\x1b[2J,x\r\n"


def test_commands_show_what_others_have_named_as_data(done: Run, run: Run, tiny_base: str) -> None:
    done("tenants", "create", "acme")
    label = "[red]:x:[/red] [/]"
    done("keys", "create", "acme", "--label", label)
    assert label in done("keys", "list").out
    done("tenants", "map", "acme", "ft:gpt-4o-mini:nimbus::x:AbC", tiny_base)
    assert f"ft:gpt-4o-mini:nimbus::x:AbC → {tiny_base}" in done("tenants", "list").out
    refused = run("tenants", "create", "[bold]\x1b[1A")
    assert "\x1b" not in refused.err
    assert "[bold]" in refused.err


def test_a_terminal_folds_long_names_and_gets_no_escape_from_data(tmp_path: Path) -> None:
    code = (
        "from switchyard.console import live, print_table\n"
        "with live('[bold]\\x1b[5m :x:') as line: line.update('\\x1b]0;t\\x07[/]')\n"
        f"print_table(('NAME', 'B'), [('{'n' * 300}', '[bold]\\x1b[2J')])\n"
    )
    shown = bytes_on_a_terminal([sys.executable, "-c", code], 80)
    assert shown.count(b"n") >= 300
    assert b"\x1b[2J" not in shown
    assert b"\x1b[5m" not in shown
    assert b"\x1b]0" not in shown


WIDE = ("TENANT", "ATTEMPTS", "CLIENT LEFT", "FAILED", "COMPLETION", "WHY")
ROWS = [("acme", 12, None, 0, 345, "requests_per_minute 30, model_not_found 1"), ("globex", 7, None, 0, 1, None)]


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 100])
def test_no_word_of_a_table_is_broken_on_a_narrow_terminal_and_nothing_is_lost(columns: int) -> None:
    lines = on_a_terminal(columns, f"print_table({WIDE!r}, {ROWS!r})")
    words = {word for line in lines for word in line.replace(",", " ").replace(":", " ").split()}
    assert {*" ".join(WIDE).split(), "acme", "globex", "12", "345", "requests_per_minute", "model_not_found"} <= words
    assert max(len(line) for line in lines if not line.startswith("0 or")) <= columns
    assert ("0 or – in every row: CLIENT LEFT, FAILED" in " ".join(lines)) == (columns < 80)


def test_rows_that_fit_no_terminal_become_paragraphs() -> None:
    assert on_a_terminal(40, f"print_table({WIDE!r}, {ROWS!r})") == [
        "TENANT acme",
        "  ATTEMPTS 12  COMPLETION 345",
        "  WHY requests_per_minute 30,",
        "model_not_found 1",
        "TENANT globex",
        "  ATTEMPTS 7  COMPLETION 1  WHY –",
        "0 or – in every row: CLIENT LEFT, FAILED",
    ]


def test_a_time_stays_on_one_line_where_another_column_can_be_folded() -> None:
    rows = [("acme", "2026-11-28 21:28:06", "a source of many words " * 5)]
    lines = on_a_terminal(60, f"print_table(('TENANT', 'CREATED', 'SOURCE'), {rows!r})")
    assert any("2026-11-28 21:28:06" in line for line in lines)
    assert max(map(len, lines)) <= 60


def on_a_terminal(columns: int, code: str) -> list[str]:
    """The lines that `code` prints on a terminal that is so wide, without colours."""
    program = f"from switchyard.console import print_table; {code}"
    shown = bytes_on_a_terminal([sys.executable, "-c", program], columns)
    return [line.rstrip() for line in re.sub(r"\x1b\[\d*m", "", shown.decode()).splitlines()]


def test_a_terminal_without_unicode_gets_escapes_and_no_traceback() -> None:
    code = "from switchyard.console import print_table, say; say('é → –'); print_table(('A', 'B'), [('日本', None)])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.isascii()
    assert rb"\u65e5\u672c" in done.stdout

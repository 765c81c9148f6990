"""The log is one line a record, or marked ones, whatever is in what others have named."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from telemetry.logs import BAR, MOST_CHARACTERS, ConsoleLines, JsonLines, printable

EVIL = [
    "a\nb", "a\r\n2026-11-29T17:20:01.123Z INFO switchyard.fleet[1]: forged", "a\u2028b", "a\x85b", "a\x00b",
    "\x1b[2Jb", "a\x9b31mb", "a\u202eb", "a\x0bb", "ä", "", "\\n", "a\ud800b",
]  # fmt: skip


def record(message: str, *args: object, **known: object) -> logging.LogRecord:
    made = logging.LogRecord("switchyard.fleet", logging.WARNING, __file__, 1, message, args, None)
    made.created, made.process = 1_800_000_000.0123, 4711
    made.__dict__.update(known)
    return made


def failed(message: str) -> logging.LogRecord:
    try:
        raise ValueError(message)
    except ValueError:
        return record("it failed", exc_info=sys.exc_info())


@pytest.mark.parametrize("evil", EVIL)
def test_nobody_writes_a_line_of_his_own_into_the_console(evil: str) -> None:
    for one in (record("model %s", evil), failed(evil)):
        first, *others = ConsoleLines().format(one).split("\n")
        assert first.startswith("2027-01-15T08:00:00.012Z WARNING switchyard.fleet[4711]: ")
        assert all(line.startswith(BAR) for line in others)
        assert all(line.isprintable() for line in (first, *others))


@pytest.mark.parametrize("evil", EVIL)
def test_json_is_one_line_of_ascii_that_has_all_of_it(evil: str) -> None:
    line = JsonLines().format(record("model %s", evil))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {
        "at": "2027-01-15T08:00:00.012Z",
        "level": "WARNING",
        "logger": "switchyard.fleet",
        "pid": 4711,
        "message": f"model {evil}",
    }
    told = json.loads(JsonLines().format(failed(evil)))
    assert told["message"] == "it failed"
    assert told["exception"].startswith("Traceback (most recent call last)")


def test_what_an_engine_has_said_at_length_is_cut() -> None:
    said = json.loads(JsonLines().format(record("%s", "x" * 1_000_000)))["message"]
    assert said == "x" * MOST_CHARACTERS + " … (1000000 characters)"


def test_a_record_whose_arguments_do_not_fit_is_a_line_all_the_same() -> None:
    assert json.loads(JsonLines().format(record("%d of %d", "one")))["message"] == "%d of %d"


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("Grüße, 東京 · µs") == "Grüße, 東京 · µs"


PROCESS = """
import logging, sys, warnings
from telemetry.logs import log_to_stderr
from telemetry.settings import TelemetrySettings
log_to_stderr(TelemetrySettings(log_level=sys.argv[1], log_format=sys.argv[2]))
for name in ("switchyard.fleet", "uvicorn.error", "httpx", "httpcore.http11", "alembic.runtime"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "%s of %s", logging.getLevelName(level), name)
warnings.warn("beware")
"""


def lines_at(level: str, form: str) -> list[str]:
    command = [sys.executable, "-W", "default", "-c", PROCESS, level, form]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "ours", "uvicorns"),
    [
        ("debug", ["DEBUG", "INFO", "WARNING"], ["INFO", "WARNING"]),
        ("info", ["INFO", "WARNING"], ["INFO", "WARNING"]),
        ("error", [], []),
    ],
)
def test_the_level_is_for_our_lines_and_libraries_only_warn(level: str, ours: list[str], uvicorns: list[str]) -> None:
    found = [json.loads(line) for line in lines_at(level, "json")]
    by = {name: [one["level"] for one in found if one["logger"] == name] for name in {one["logger"] for one in found}}
    assert by.get("switchyard.fleet", []) == ours
    assert by.get("uvicorn.error", []) == uvicorns
    others = [by.get(name, []) for name in ("httpx", "httpcore.http11", "alembic.runtime", "py.warnings")]
    assert others == [["WARNING"] if ours else []] * 4, "at DEBUG they tell of keys"


def test_every_logger_has_the_form_of_the_console() -> None:
    lines = [line for line in lines_at("info", "console") if not line.startswith(BAR)]
    assert len(lines) == 8
    assert all(" WARNING " in line or " INFO " in line for line in lines)
    assert all(line[:4].isdigit() and line[23] == "Z" for line in lines)

"""Every command and option that the README and docs/ name exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from switchyard.command_line import COMMANDS, command_called
from switchyard.reference import pages

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy" / "runbook.md"]
OPTION = re.compile(r"^--?[a-z]")


def documented(page: Path) -> list[str]:
    """What follows `switchyard` in code, one entry for each time."""
    text = page.read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [part for block in blocks for line in block.splitlines() for part in line.split("#")[0].split("&&")]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [
        found[1] for part in (*lines, *spans) if (found := re.match(r"\s*(?:\.venv/bin/)?switchyard\s+([a-z].*)", part))
    ]


CALLS = [(page.name, call) for page in PAGES for call in documented(page)]


def params_of(words: list[str]) -> tuple[list[str], set[str]]:
    """The words after the command's name, and the options that it has."""
    command: Any = command_called(words[0])
    rest = words[1:]
    while rest and getattr(command, "commands", None) and not OPTION.match(rest[0]):
        assert rest[0] in command.commands or "|" in rest[0] or not rest[0].islower(), f"there is no {words}"
        if rest[0] not in command.commands:
            break
        command, rest = command.commands[rest[0]], rest[1:]
    options = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    return rest, options | {"--help"}


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_a_documented_command_and_its_options_exist(page: str, call: str) -> None:
    words = shlex.split(call.replace("…", "x"))
    assert words[0] in COMMANDS, f"{page} names `switchyard {call}`"
    rest, options = params_of(words)
    unknown = [word for word in rest if OPTION.match(word) and word.partition("=")[0] not in options]
    assert unknown == [], f"{page} names `switchyard {call}`"


def test_the_readme_names_enough_commands_for_this_to_mean_something() -> None:
    assert len(CALLS) > 40


def test_the_page_on_money_says_what_no_ledger_can_know_and_the_readme_links_to_it() -> None:
    page = " ".join((ROOT / "docs" / "money.md").read_text().split())
    assert "no output: what was generated for it is free" in page
    assert "(docs/money.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", pages())
def test_a_page_that_is_made_from_code_is_as_the_code_is(page: str) -> None:
    written = (ROOT / "docs" / page).read_text()
    assert written == pages()[page], "run `python -m switchyard.reference`"

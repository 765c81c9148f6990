"""Files of tests are compiled once by all processes that share a run out.

Each of them collects all files, and what pytest makes of a file's assertions takes as long as all the rest. It keeps
that on the disk: so each process imports its share first, and then finds those of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def share(folders: Sequence[str], number: int, of: int, ignored: Sequence[str] = ()) -> list[str]:
    """The modules in these folders that the process of this number, from 0, imports first."""
    files = {file for folder in folders for file in Path(folder).resolve().rglob("test_*.py")}
    left_out = {Path(one).resolve() for one in ignored}
    ours = {file for file in files if ROOT in file.parents and not left_out & {file, *file.parents}}
    modules = sorted(".".join(file.relative_to(ROOT).with_suffix("").parts) for file in ours)
    return modules[number::of]


def pytest_collection(session: pytest.Session) -> None:
    """Before the first file is collected. What is wrong with a file, or why it is left out as a whole, is
    told when that one is: nothing is skipped here.
    """
    given = getattr(session.config, "workerinput", None)
    if given is None:
        return
    number, ignored = int(given["workerid"].removeprefix("gw")), session.config.getoption("ignore") or ()
    for module in share(session.config.args, number, given["workercount"], ignored):
        with suppress(Exception, pytest.skip.Exception):
            import_module(module)

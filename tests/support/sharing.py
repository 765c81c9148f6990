"""How tests are shared out among processes: a file is one piece, all that asks the real engine is one piece, and so is
what trains, as its libraries take a process many seconds to import.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[2]
LIVE, TRAINER = "tests/live", "tests/trainer"
TRAINS = "mark.training"
"""What stands in a file of the trainer's that imports those libraries."""
LONGEST = (
    LIVE,
    "tests/test_bars.py",
    "tests/gateway/test_metering_failures.py",
    "tests/gateway/test_processes.py",
    "tests/gateway/test_bad_engine.py",
    TRAINER,
)
"""They take a minute or more."""


def piece(nodeid: str) -> str:
    """What is done by one process, by the name of a test in it."""
    file = nodeid.split("::", 1)[0]
    if file.startswith(f"{LIVE}/"):
        return LIVE
    return TRAINER if file.startswith(f"{TRAINER}/") and _trains(file) else file


@cache
def _trains(file: str) -> bool:
    return TRAINS in (ROOT / file).read_text("utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Pieces go out in the order of the tests in them; one process alone starts the real engine."""
    config.option.loadscopereorder = False
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = piece
    return scheduler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no process works alone at the end; then what has many tests."""
    sizes = Counter(piece(item.nodeid) for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        name = piece(item.nodeid)
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), -sizes[name]

    items.sort(key=place)

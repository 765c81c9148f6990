"""Where the kernel says how many processes it has ended because memory was short."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.jobs.memory import oom_kills


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


GROUPS = {"proc/self/cgroup": "0::/jobs/a\n"}
MACHINE = {"proc/vmstat": "pgfault 9\noom_kill 7\n"}


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, None),
        (MACHINE, 7),
        (GROUPS | MACHINE, 7),
        (GROUPS | MACHINE | {"sys/fs/cgroup/jobs/a/memory.events": "oom 2\noom_kill 1\noom_group_kill 0\n"}, 1),
        (GROUPS | MACHINE | {"sys/fs/cgroup/memory.events": "oom_kill 3\n"}, 3),
        (
            {"proc/self/cgroup": "4:cpu,cpuacct:/\n5:memory:/jobs\n0::/\n"}
            | {"sys/fs/cgroup/memory/jobs/memory.oom_control": "under_oom 0\noom_kill 5\n"},
            5,
        ),
        (MACHINE | {"proc/self/cgroup": "nonsense\n"}, 7),
        ({"proc/vmstat": "oom_kill many\n"}, None),
    ],
)
def test_the_nearest_counter_is_read(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    put(tmp_path, **files)
    assert oom_kills(tmp_path) == count


def test_on_this_machine_it_is_a_number_or_nothing() -> None:
    found = oom_kills()
    assert found is None or found >= 0

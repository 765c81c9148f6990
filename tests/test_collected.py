"""Who shares a run out compiles its tests once (`tests/support/collected.py`)."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests.support.collected import ROOT, share

FILES = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in (ROOT / "tests").rglob("test_*.py")}


def test_processes_import_all_files_first_and_each_of_them_once() -> None:
    shares = [share(["tests"], number, 3) for number in range(3)]
    assert sorted(chain(*shares)) == sorted(FILES)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_file_of_the_command_line_is_left_to_who_collects_it() -> None:
    given = ["tests/test_names.py", "tests/test_up.py::test_it"]
    assert share(given, 0, 1) == []


def test_a_folder_within_another_is_imported_once() -> None:
    assert share(["tests/clients", "tests"], 0, 1) == share(["tests"], 0, 1)


def test_files_that_are_left_out_or_lie_elsewhere_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "test_elsewhere.py").touch()
    assert share([str(tmp_path)], 0, 1) == []
    left = share(["tests"], 0, 1, ["tests/clients", "tests/test_names.py"])
    assert FILES - set(left) == {one for one in FILES if one.startswith("tests.clients.")} | {"tests.test_names"}

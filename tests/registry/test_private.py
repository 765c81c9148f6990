"""What lies in the state folder is this user's alone, whatever the umask; adapters may be shared with a group."""

from __future__ import annotations

import grp
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import InvalidInput
from registry.storage.private import adapters_folder, private_folder, seal
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.adapter_folders import TinyBase, write_adapter
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Short enough for a socket's path: in a longer state folder the controller's socket lies elsewhere."""
    with tempfile.TemporaryDirectory(prefix="sy-") as folder:
        yield Path(folder)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    paths = [folder, *folder.rglob("*")]
    return [f"{path} {stat.filemode(path.lstat().st_mode)}" for path in paths if path.lstat().st_mode & 0o077]


@pytest.mark.usefixtures("open_umask")
def test_nothing_in_the_state_folder_is_open_to_others_whatever_the_umask(tmp_path: Path, done: Run) -> None:
    state = tmp_path / "state"
    done("base", "register", "tiny", TinyBase().write(tmp_path / "base"))
    done("tenants", "create", "acme")
    done("keys", "create", "acme")
    done("adapters", "import", write_adapter(tmp_path / "adapter"), "--to", "acme/triage", "--base", "tiny")
    done("adapters", "promote", "acme/triage@1.0")
    os.umask(0)
    with engine_processes(tmp_path, 1) as (engine,), gateway_process(state, [engine.url]):
        found = {path.name for path in state.rglob("*")}
        assert {"registry.db", "registry.db-wal", "admin-key", "journal", "adapters", "blobs"} <= found
        assert any(name.endswith(".sock") for name in found), found
        assert open_to_others(state) == []


@pytest.mark.usefixtures("open_umask")
def test_folders_of_an_earlier_build_are_closed(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    private_folder(tmp_path / "journal")
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


def test_adapters_can_be_shared_with_the_group_of_the_engines(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    state = private_folder(tmp_path / "state")
    adapters_folder(state, state / "adapters", group)
    (leaf := state / "adapters" / "x").mkdir(mode=0o700)
    (leaf / "adapter_config.json").write_text("{}")
    seal(leaf)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (state, state / "adapters", leaf, *leaf.iterdir())]
    assert [mode & 0o077 for mode in modes] == [0o010, 0o050, 0o050, 0o040]
    adapters_folder(state, state / "adapters", group)


def test_a_group_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="engine_group is 'nobody-has-this'"):
        adapters_folder(tmp_path, tmp_path / "adapters", "nobody-has-this")

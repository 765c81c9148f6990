"""What a bridge and a node do for a job, without a cluster between them: `test_ray.py` has a real one."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.bases.model import describe_base
from tests.live.installation import ROOT
from tests.support.adapter_folders import TinyBase
from tests.support.scripted_executor import TRAINED, Script
from tests.support.training_jobs import assign, assigned, chat_rows
from trainer.errors import BaseModelError, TrainerError
from trainer.jobs.executors import LOST, NO_PLACE, Running
from trainer.jobs.folder import JobFolder
from trainer.jobs.lines import STOPPED, Event, Finished, Line, Saved, of_line
from trainer.jobs.on_ray.bases import MOST_KEPT, NodeBases, files_of
from trainer.jobs.on_ray.bridge import Bridge
from trainer.jobs.on_ray.carrying import PIECE_BYTES, below, read_piece, write_piece
from trainer.jobs.on_ray.executor import RayChild, RayExecutor
from trainer.jobs.on_ray.node import RemoteJob
from trainer.jobs.on_ray.placing import LOST_NODE, NO_CLUSTER, Placing

SCRIPTED = ("tests.support.scripted_child",)


@dataclass
class OneProcess:
    """As much of the module `ray` as a bridge asks for: its actor is an object of this process."""

    actors: list[Any] = field(default_factory=list)
    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=ConnectionError)

    def remote(self, kind: type) -> Any:
        def create(*arguments: Any) -> Any:
            made = kind(*arguments)
            self.actors.append(made)
            names = [name for name in dir(kind) if not name.startswith("_")]
            return SimpleNamespace(**{name: SimpleNamespace(remote=getattr(made, name)) for name in names})

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=create))

    def get(self, asked: Any, timeout: float) -> Any:
        return asked

    def wait(self, asked: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return asked, []


@dataclass
class Mouth:
    """Keeps what is said."""

    lines: list[str] = field(default_factory=list)

    def say(self, said: Line) -> None:
        self.lines.append(json.dumps({"event": said.message if isinstance(said, Event) else ""}))

    def pass_on(self, line: str) -> None:
        self.lines.append(line)


def placing(folder: Path, **changes: Any) -> Placing:
    return replace(Placing("auto", 1, 0.0, 1, str(folder / "node"), 30.0, SCRIPTED), **changes)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyBase().write(tmp_path_factory.mktemp("bases") / "tiny-llama")


@pytest.fixture(autouse=True)
def _own_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def job(folder: Path, base: Path, script: Script) -> JobFolder:
    laid_out = assigned(base, folder / "job", rows=chat_rows(3), work="train")
    assign(laid_out, base_digest=describe_base(base).digest)
    (laid_out.path / "script.json").write_text(json.dumps(script))
    return laid_out


def bridged(folder: JobFolder, its: Placing) -> tuple[int, list[str]]:
    mouth = Mouth()
    status = Bridge(OneProcess(), its, folder, mouth).run()  # type: ignore[arg-type]
    return status, mouth.lines


def test_what_a_child_on_a_node_says_and_leaves_is_here_before_the_worker_hears_of_it(
    base: Path, tmp_path: Path
) -> None:
    folder = job(tmp_path, base, [{"log": "a word"}, *TRAINED])
    status, lines = bridged(folder, placing(tmp_path))
    said = [line for line in map(of_line, lines) if line is not None]
    saved = [line for line in said if isinstance(line, Saved)]
    assert [Path(one.folder) for one in saved] == [folder.checkpoints / "step-1", folder.checkpoints / "step-2"]
    assert (folder.checkpoints / "step-2" / "state.txt").read_text() == "state 2"
    assert isinstance(said[-1], Finished)
    assert {folder.lineage, folder.results, folder.curve, folder.questions} <= set(folder.path.iterdir())
    assert (folder.out / "adapter_model.safetensors").stat().st_size > 100
    assert json.loads(lines[-1]) == {
        "say": "ended",
        "status": 0,
        "out_of_memory": json.loads(lines[-1])["out_of_memory"],
    }
    assert status == 0
    assert "a word" in folder.log.read_text()
    assert list((tmp_path / "node" / "jobs").iterdir()) == []


def test_a_child_that_is_told_to_stop_says_how_it_ended(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, base, [{"wait": 1}, {"exit": STOPPED}])
    ray, mouth = OneProcess(), Mouth()
    bridge = Bridge(ray, placing(tmp_path), folder, mouth)  # type: ignore[arg-type]
    passed_on = mouth.pass_on

    def stop_when_it_waits(line: str) -> None:
        passed_on(line)
        if "waiting" in line:
            signal.raise_signal(signal.SIGTERM)

    mouth.pass_on = stop_when_it_waits  # type: ignore[method-assign]
    assert bridge.run() == 0
    assert json.loads(mouth.lines[-1])["status"] == STOPPED


def test_a_node_that_does_not_see_the_base_gets_a_copy_which_the_next_job_finds(base: Path, tmp_path: Path) -> None:
    node, digest = RemoteJob(placing(tmp_path)), describe_base(base).digest
    away = str(tmp_path / "away" / base.name)
    assert node.find_base(digest, away) is None
    for name, file in files_of(base):
        node.write("base", name, 0, file.read_bytes())
    kept = Path(node.keep_base(digest))
    assert (kept.name, describe_base(kept).digest) == (base.name, digest)
    node.leave()
    other = RemoteJob(placing(tmp_path))
    assert other.find_base(digest, away) == str(kept)
    assert other.find_base(digest, str(base)) == str(base)
    other.leave()


def test_a_copy_that_is_not_the_base_is_refused_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    node = RemoteJob(placing(tmp_path))
    assert node.find_base("sha256:other", "/away/base") is None
    for name, file in files_of(base):
        node.write("base", name, 0, file.read_bytes())
    with pytest.raises(BaseModelError, match="not the base sha256:other"):
        node.keep_base("sha256:other")
    node.leave()
    assert [one.name for one in (tmp_path / "node" / "bases").iterdir() if one.is_dir()] == []


def test_copies_that_were_not_used_for_longest_make_room_but_none_that_is_used(base: Path, tmp_path: Path) -> None:
    bases, digest = NodeBases(tmp_path), describe_base(base).digest
    for number in range(MOST_KEPT + 1):
        old = tmp_path / f"sha256-{number}"
        old.mkdir()
        (old / "used").touch()
        os.utime(old / "used", (number, number))
    in_use = os.open(tmp_path / "sha256-0" / "used", os.O_RDONLY)
    fcntl.flock(in_use, fcntl.LOCK_SH)
    incoming = bases.incoming()
    for name, file in files_of(base):
        write_piece(incoming / base.name / name, 0, file.read_bytes())
    bases.keep(digest, incoming, base.name)
    left = {one.name for one in tmp_path.iterdir() if one.is_dir()}
    assert digest.replace(":", "-") in left
    assert "sha256-0" in left
    assert "sha256-1" not in left
    os.close(in_use)
    bases.close()


def test_a_file_of_several_pieces_comes_whole_in_any_order(tmp_path: Path) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256) + b"the end"
    (tmp_path / "from").write_bytes(data)
    for offset in (PIECE_BYTES, 0):
        write_piece(tmp_path / "to" / "file", offset, read_piece(tmp_path / "from", offset))
    assert (tmp_path / "to" / "file").read_bytes() == data


@pytest.mark.parametrize("name", ["../job.json", "/etc/passwd", "out/../../x", ""])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        below(tmp_path, name)


def test_a_node_that_hears_nothing_any_more_ends_its_child_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, base, [{"wait": 1}])
    program = """
import sys, time
from pathlib import Path
from trainer.jobs.on_ray.node import RemoteJob
from trainer.jobs.on_ray.placing import Placing
node = RemoteJob(Placing.of_json(sys.argv[1]))
for file in Path(sys.argv[2]).glob("*.json*"):
    node.write("job", file.name, 0, file.read_bytes())
node.begin(sys.argv[3])
print(node.lines(30.0).lines, flush=True)
time.sleep(60)
"""
    its = placing(tmp_path, patience_s=1.0).to_json()
    done = subprocess.run(
        [sys.executable, "-c", program, its, folder.path, base], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert "waiting" in done.stdout, done.stderr
    assert done.returncode == 1
    assert list((tmp_path / "node" / "jobs").iterdir()) == []


@dataclass
class Ended:
    """A bridge that has said something and ended."""

    status: int | None
    line: str = ""
    out_of_memory: bool | None = None

    def next_line(self, timeout_s: float) -> str | None:
        return self.line

    def stop(self) -> None: ...

    def kill(self) -> None: ...


@pytest.mark.parametrize(
    ("bridge", "status", "out_of_memory"),
    [
        (Ended(0, '{"say": "ended", "status": 0, "out_of_memory": false}'), 0, False),
        (Ended(0, '{"say": "ended", "status": -9, "out_of_memory": true}'), -9, True),
        (Ended(1, '{"say": "event", "message": "x"}'), LOST, None),
        (Ended(LOST_NODE), LOST, None),
        (Ended(-6), LOST, None),
        (Ended(NO_CLUSTER), NO_PLACE, None),
        (Ended(STOPPED), STOPPED, None),
        (Ended(None), None, None),
    ],
)
def test_how_a_child_ended_is_what_its_bridge_could_still_say(
    bridge: Running, status: int | None, out_of_memory: bool | None
) -> None:
    child = RayChild(bridge)
    child.next_line(0)
    assert (child.status, child.out_of_memory) == (status, out_of_memory)


def test_without_ray_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainerError, match=r"ray is not installed here; .*pip install ray==VERSION.*--executor local"):
        RayExecutor(placing(tmp_path))


def test_nothing_of_the_worker_imports_ray() -> None:
    program = "import sys, trainer.jobs.worker, trainer.jobs.on_ray.executor; print('ray' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"

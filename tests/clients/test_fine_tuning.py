"""The snippets of docs/fine-tuning.md run unmodified, from upload to the tuned model's answer: the one in Python with a
real worker, the one in JavaScript with one that has its adapter at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from registry.names import parse_ref
from tests.clients.environments import environments
from tests.clients.page import Snippet, snippets
from tests.live.installation import ROOT
from tests.support.stack import Stack, open_house, run_stack
from tests.support.tiny_base import write_tiny_base
from tests.support.training_jobs import chat_rows
from tests.support.training_worker import FakeWorker
from tests.support.waiting import wait_until
from trainer.jobs.executors import LocalExecutor
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.worker import Worker

pytestmark = pytest.mark.training
PATIENCE_S = 400
BASE = "smollm2-135m-instruct"
PAGE = {one.heading: one for one in snippets(ROOT / "docs" / "fine-tuning.md")}
STEERING = tuple(PAGE[f"Following and steering a job, in {language}"] for language in ("Python", "JavaScript"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of a tiny base that bears the page's name; nobody takes jobs yet."""
    folder = tmp_path_factory.mktemp("fine-tuning")
    base = write_tiny_base(folder / BASE)
    with open_house(folder, engine_base=BASE) as house:
        house.tenant("acme")
        house.registry.bases.register(BASE, base)
        with run_stack(house, engines=[{"model": str(base)}]) as stack:
            yield stack


@pytest.fixture(scope="module")
def trainer(gateway: Stack) -> Iterator[None]:
    """A worker that trains."""
    house = gateway.house
    bases = [house.folder / BASE]
    settings = TrainerSettings(state_dir=house.settings.state_dir, trainer_bases=bases, trainer_poll_s=0.2)
    worker = Worker(house.registry, settings, LocalExecutor(1, 0), print)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stopping.set()
        thread.join(60)
        assert not thread.is_alive()


def begun(snippet: Snippet, stack: Stack, folder: Path, ends: ExitStack) -> subprocess.Popen[str]:
    """A snippet that runs where its training data is, with nothing in its environment but what the page says."""
    installed = environments()
    (folder / "training_data.jsonl").write_text(chat_rows(12))
    if snippet.language == "js":  # imports are looked for from where the file is
        file = installed.javascript / f"snippet-{uuid.uuid4().hex}.mjs"
        program = ["node", str(file)]
    else:
        file = folder / "snippet.py"
        program = [sys.executable, str(file)]
    file.write_text(snippet.code)
    environment = {
        "PATH": f"{installed.programs}:/usr/bin:/bin",
        "OPENAI_BASE_URL": f"{stack.url}/v1",
        "OPENAI_API_KEY": stack.house.keys["acme"],
    }
    ends.callback(file.unlink)
    begins = subprocess.Popen(
        program, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ends.callback(begins.kill)
    return begins


def outputs_of(snippets: Sequence[Snippet], stack: Stack, folder: Path) -> dict[str, tuple[str, str]]:
    """What each says and complains of, by its language; they run at once."""
    with ExitStack() as ends:
        programs = {}
        for snippet in snippets:
            (folder / snippet.language).mkdir()
            programs[snippet.language] = begun(snippet, stack, folder / snippet.language, ends)
        return {language: program.communicate(timeout=PATIENCE_S) for language, program in programs.items()}


@pytest.mark.timeout(PATIENCE_S + 180)
def test_the_snippets_that_follow_and_steer_a_job_find_it_and_end_it(gateway: Stack, tmp_path: Path) -> None:
    for language, (out, err) in outputs_of(STEERING, gateway, tmp_path).items():
        lines = out.splitlines()
        assert lines[0] == "paused validating_files", (language, out, err)
        assert any("Created fine-tuning job: ftjob-" in line for line in lines), (language, out)
        assert [line.lower() for line in lines[-2:]] == ["true", "cancelled"], (language, out)


@pytest.mark.timeout(PATIENCE_S + 180)
def test_the_snippet_in_javascript_runs_from_upload_to_the_tuned_models_answer(gateway: Stack, tmp_path: Path) -> None:
    house = gateway.house
    worker = FakeWorker(house, config=json.loads((house.folder / BASE / "config.json").read_text()))
    with ExitStack() as ends:
        program = begun(PAGE["In JavaScript"], gateway, tmp_path, ends)

        def ordered() -> bool:
            assert program.poll() is None, program.communicate()
            return any(not job.has_ended for job in house.registry.training.page("acme", None, 10))

        wait_until("an order", ordered, PATIENCE_S)
        worker.succeed(worker.train())
        out, err = program.communicate(timeout=PATIENCE_S)
    assert out.startswith("Status: succeeded"), (out, err)
    assert "acme/data-dynamics-assistant-js@1.0 " in out, (out, err)


@pytest.mark.timeout(PATIENCE_S + 180)
@pytest.mark.usefixtures("trainer")
def test_the_snippet_in_python_runs_from_upload_to_the_answer_of_what_a_worker_trained(
    gateway: Stack, tmp_path: Path
) -> None:
    ((out, err),) = outputs_of([PAGE["In Python"]], gateway, tmp_path).values()
    assert out.startswith("Status: succeeded"), (out, err, said(gateway))
    assert "acme/data-dynamics-assistant@1.0 " in out, (out, err)
    assert gateway.house.registry.adapters.get(parse_ref("acme/data-dynamics-assistant@1.0")).proof is not None


def said(stack: Stack) -> list[str]:
    """The newest events of all jobs."""
    jobs = stack.house.registry.training
    return [event.message for job in jobs.page("acme", None, 10) for event in jobs.events("acme", job.id, None, 10)]

"""The quote of a job: before it is trained, in place of it, and against the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.scripted_executor import TRAINED, VALID
from tests.support.training_jobs import assign, assigned, chat_rows, order
from tests.trainer.jobs.conftest import Shop
from trainer.jobs import quoting
from trainer.jobs.child import work
from trainer.jobs.folder import Assignment, JobFolder
from trainer.jobs.lines import Event, Finished, Line
from trainer.jobs.quoting import prices_of
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.watching import ChildWatch

PRICES = {"hour_nano": 3_600_000_000_000, "api": None, "own": None}


def worked(folder: JobFolder) -> tuple[list[str], dict[str, Any]]:
    """Messages and facts of a child that does its work in this process."""
    said: list[Line] = []
    assignment = Assignment.read(folder.path)
    work(assignment, folder, ChildWatch(said.append, folder, assignment))
    finished = said[-1]
    assert isinstance(finished, Finished)
    return [line.message for line in said if isinstance(line, Event)], dict(finished.facts)


@pytest.mark.training
def test_a_dry_run_times_steps_and_tells_time_and_cost(base: Path, tmp_path: Path) -> None:
    folder = assigned(base, tmp_path / "job", rows=chat_rows(12), wanted=order(dry_run=True), prices=PRICES)
    messages, facts = worked(folder)
    assert facts["quote"]["time"]["device"].startswith("cpu: ")
    assert float(facts["quote"]["cost_usd"]) > 0
    assert any(message.startswith("Quote: 9 steps") for message in messages)
    assert not folder.out.exists()


@pytest.mark.training
def test_a_job_is_held_against_its_quote_which_was_timed_where_it_has_many_steps(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoting, "LEAST_STEPS", 9)
    folder = assigned(base, tmp_path / "job", rows=chat_rows(12), prices=PRICES)
    quote = worked(folder)[1]["quote"]
    assert quote["time"]["seconds"] > 0
    assign(folder, work="train", quoted=quote)
    messages, facts = worked(folder)
    truth = facts["quote_against_actual"]
    assert (truth["steps"]["ratio"], truth["trained_tokens"]["ratio"]) == (1.0, 1.0)
    assert truth["seconds"]["ratio"] is not None
    assert truth["memory_bytes"]["quoted"] > 0
    assert truth["memory_bytes"]["actual"] > 100_000_000, "what a process takes that has imported torch"
    assert any(message.startswith("Quoted against actual: ") for message in messages)
    lineage = json.loads(folder.lineage.read_text())
    assert lineage["quote"]["trained_tokens"] == lineage["trained_tokens"]


def test_a_worker_knows_its_hour_an_api_and_the_tariff_of_the_base(shop: Shop) -> None:
    settings = TrainerSettings(
        state_dir=shop.settings.state_dir, trainer_hour_dollars="2.5", trainer_api_dollars="2.50, 10"
    )
    registry = shop.house.registry
    assert prices_of(registry, shop.settings, "tiny") == {"hour_nano": None, "api": None, "own": None}
    registry.tariffs.add("base:tiny", input_dollars="0.1", output_dollars="0.4", source="test")
    assert prices_of(registry, settings, "tiny") == {
        "hour_nano": 2_500_000_000,
        "api": [2_500_000_000, 10_000_000_000],
        "own": [100_000_000, 400_000_000],
    }
    shop.order()
    executor = shop.work(VALID, TRAINED, trainer_hour_dollars="2.5")
    assert executor.seen[0].prices["hour_nano"] == 2_500_000_000


@pytest.mark.parametrize(
    "given", [{"trainer_hour_dollars": "cheap"}, {"trainer_api_dollars": "1"}, {"trainer_api_dollars": "1,-2"}]
)
def test_a_price_that_is_none_is_refused_when_the_worker_starts(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given))):
        TrainerSettings(**given)

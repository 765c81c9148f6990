"""`switchyard cost calibrate live`: an API is asked what a shadow has sampled of a tenant's own traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.db import now_ms
from registry.errors import InvalidInput
from registry.names import AdapterRef, VersionNumber
from registry.service import Registry
from registry.shadows.pair_store import Allowance
from registry.shadows.pairs import AnswerFigures, AnswerText, Content, CopiedPair
from registry.shadows.store import ShadowInfo
from registry.shadows.terms import Terms
from switchyard.cost_live import sampled
from tests.support.cli_runner import Run, run
from tests.support.model_host import ModelHost, model_host
from tests.support.stack import House

__all__ = ["run"]

PLENTY = Allowance(days=7, pairs=1_000, bytes=1 << 20)
SECRET = "the parcel of Mrs Miller"


def counted(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Twelve tokens of a prompt, and 3 to 5 of an answer."""
    usage = {"prompt_tokens": 12, "completion_tokens": 3 + number % 3}
    message = {"role": "assistant", "content": f"{SECRET} is here."}
    return 200, {}, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


@pytest.fixture
def api() -> Iterator[ModelHost]:
    with model_host(counted) as host:
        yield host


@pytest.fixture
def shadow(house: House, monkeypatch: pytest.MonkeyPatch) -> ShadowInfo:
    """Of one in ten requests to acme/triage, with the tenant's consent."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(house.settings.state_dir))
    house.publish("acme/triage")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.tenants.change("acme", {"shadow_consent": True})
    candidate = AdapterRef("acme", "triage", VersionNumber(1, 1), None)
    return house.registry.shadows.begin(candidate, Terms(share=1_000, lasts_ms=3_600_000), actor="ann")


def sample(registry: Registry, shadow: ShadowInfo, *numbers: int, **body: Any) -> None:
    """Conversations that were answered here with ten tokens of prompts and four of answers."""
    side = AnswerFigures("acme/triage@1.0", "ok", "http://127.0.0.1:1", 0, prompt_tokens=10, completion_tokens=4)
    pairs = [
        CopiedPair(
            shadow.id,
            f"r{number:04}",
            "acme",
            now_ms(),
            "chat",
            None,
            side,
            replace(side, model="acme/triage@1.1"),
            None,
            Content({"messages": turns(number), "max_tokens": 64, **body}, AnswerText(SECRET), AnswerText("no")),
        )
        for number in numbers
    ]
    registry.pairs.record(pairs, {}, PLENTY)


def turns(number: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"{number}: {SECRET}?"}]


@pytest.fixture
def live(run: Run, shadow: ShadowInfo, api: ModelHost, tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "key").write_text("sk-of-the-operator\n")
    where = ("--model-url", f"{api.url}/v1", "--key-file", tmp_path / "key")
    return lambda *more: run("cost", "calibrate", "live", shadow.id, "--baseline", "gpt-5.4-mini", *where, *more)


def test_it_stops_when_the_ratios_of_live_traffic_are_tight_and_keeps_no_word_of_it(
    live: Callable[..., Any], house: House, shadow: ShadowInfo, api: ModelHost, run: Run
) -> None:
    sample(house.registry, shadow, *range(40))
    done = live("--tight", "0.9", "--json")
    assert done.status == 0, done.err
    found = done.document
    assert (found["stopped"], found["pairs"], found["tenant"], found["own_model"]) == (
        "tight",
        30,
        "acme",
        "acme/triage@1.0",
    )
    assert found["prompts"] == f"live traffic: 0.1 of acme/triage@production by shadow {shadow.id}"
    assert (float(found["prompt"]["ratio"]), float(found["completion"]["ratio"])) == (1.2, 1.0)
    assert (api.bodies[0]["messages"], api.bodies[0]["max_tokens"]) == (turns(0), 64)
    (kept,) = (house.settings.state_dir / "calibrations").iterdir()
    assert SECRET not in kept.read_text()
    assert run("cost", "calibrate", "list", "--tenant", "acme").out.splitlines()[1].split()[0] == "acme"


def test_a_budget_ends_it_and_the_same_command_goes_on_without_asking_again(
    live: Callable[..., Any], house: House, shadow: ShadowInfo, api: ModelHost
) -> None:
    sample(house.registry, shadow, *range(35))
    house.registry.shadows.end(shadow.id, why="seen enough")
    few = live("--budget", "0.000001")
    assert (few.status, "1 conversations that were answered; 30 are needed (stopped by: budget)" in few.err) == (
        1,
        True,
    )
    whole = live("--tight", "0.001", "--json")
    assert (whole.document["stopped"], whole.document["pairs"], len(api.bodies)) == ("shadow", 35, 35)


def test_it_waits_for_what_comes_takes_one_of_each_conversation_and_ends_with_the_shadow(
    house: House, shadow: ShadowInfo
) -> None:
    registry = house.registry
    sample(registry, shadow, 1, 2)
    sample(registry, shadow, 3, messages=[*turns(1), {"role": "user", "content": "and now?"}])
    sample(registry, shadow, 4, n=2)
    sample(registry, shadow, 5, messages=None, prompt="no chat")
    waited: list[float] = []

    def wait(for_s: float) -> None:
        waited.append(for_s)
        if len(waited) == 1:
            sample(registry, shadow, 6)
        else:
            registry.shadows.end(shadow.id, why="seen enough")

    assert [one.request_id for one in sampled(registry, shadow.id, wait)] == ["r0001", "r0002", "r0006"]
    assert len(waited) == 2


def test_no_text_of_a_tenant_that_does_not_consent_any_more_is_sent(
    live: Callable[..., Any], house: House, shadow: ShadowInfo, api: ModelHost
) -> None:
    sample(house.registry, shadow, *range(40))
    house.registry.tenants.change("acme", {"shadow_consent": False})
    assert "has not consented" in live().err
    with pytest.raises(InvalidInput, match="has not consented"):
        list(sampled(house.registry, shadow.id))
    assert api.bodies == []

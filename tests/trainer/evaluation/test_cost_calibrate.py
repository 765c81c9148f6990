"""`switchyard cost calibrate`: a gateway and an API answer the same prompts, and their tokens are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_runner import Run, run
from tests.support.model_host import ModelHost, model_host
from tests.trainer.evaluation.conftest import TOKENS, Court

__all__ = ["run"]


def counted(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer of 3 to 5 tokens to a prompt of which each word is 4."""
    words = len(str(body["messages"][-1]["content"]).split())
    usage = {"prompt_tokens": 4 * words, "completion_tokens": 3 + number % 3}
    message = {"role": "assistant", "content": "It is here."}
    return 200, {}, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


@pytest.fixture
def api() -> Iterator[ModelHost]:
    with model_host(counted) as host:
        yield host


@pytest.fixture
def calibrate(
    run: Run, court: Court, api: ModelHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """The command beside the court's gateway, of a tenant that has consented."""
    house = court.stack.house
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(house.settings.state_dir))
    monkeypatch.setenv("SWITCHYARD_PORT", str(house.settings.port))
    house.registry.tenants.change("acme", {"shadow_consent": True})
    (tmp_path / "key").write_text("sk-of-the-operator\n")

    def calibrated(prompts: int, *more: Any) -> Any:
        file = tmp_path / "prompts.jsonl"
        rows = [
            {"messages": [{"role": "user", "content": f"{tmp_path.name} where is parcel {at}" + " now" * (at % 4)}]}
            for at in range(prompts)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        where = ("--model-url", f"{api.url}/v1", "--key-file", tmp_path / "key", "--max-tokens", TOKENS)
        return run(
            "cost", "calibrate", "run", "acme/triage", "--baseline", "gpt-5.4-mini", "--prompts", file, *where, *more
        )

    return calibrated


def test_it_stops_when_the_ratios_are_tight_and_says_and_stores_them(
    calibrate: Callable[..., Any], run: Run, api: ModelHost
) -> None:
    done = calibrate(60, "--tight", "0.9", "--at-once", "1", "--json")
    assert done.status == 0, done.err
    found = done.document
    assert (found["stopped"], found["pairs"], found["tenant"]) == ("tight", 30, "acme")
    for name in ("prompt", "completion"):
        low, ratio, high = (float(found[name][end]) for end in ("low", "ratio", "high"))
        assert 0 <= low < ratio < high
    assert api.headers[0]["authorization"] == "Bearer sk-of-the-operator"
    assert api.bodies[0]["model"] == "gpt-5.4-mini"
    said = run("cost", "calibrate", "list", "--tenant", "acme").out
    assert said.splitlines()[1].split()[:2] == ["acme", "gpt-5.4-mini"]


def test_a_budget_ends_it_and_what_was_answered_is_not_asked_again(
    calibrate: Callable[..., Any], api: ModelHost
) -> None:
    few = calibrate(40, "--budget", "0.000001", "--at-once", "1")
    assert (few.status, "1 conversations that were answered; 30 are needed (stopped by: budget)" in few.err) == (
        1,
        True,
    )
    asked = len(api.bodies)
    whole = calibrate(40, "--tight", "0.001", "--at-once", "1", "--json")
    assert (whole.document["stopped"], whole.document["pairs"]) == ("prompts", 40)
    assert len(api.bodies) - asked < 40


def test_nothing_is_asked_without_consent_or_a_price(
    calibrate: Callable[..., Any], court: Court, api: ModelHost, run: Run
) -> None:
    court.stack.house.registry.tenants.change("acme", {"shadow_consent": False})
    assert "has not consented" in calibrate(40).err
    court.stack.house.registry.tenants.change("acme", {"shadow_consent": True})
    assert "--key-file is" in calibrate(40, "--key-file", "nowhere").err
    assert api.bodies == []

"""Whose fault is a refusal: the adapter's or the engine's? One bad engine takes no good version away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from loadtest.testing import MockEngine
from registry.names import parse_ref
from tests.support.stack import House, Stack, proof, run, run_stack
from tests.support.waiting import wait_until

NAMES = [f"acme/task-{number}" for number in range(8)]
BROKEN: list[dict[str, Any]] = [
    {"noop_adapters": True},
    {"fail_loads": 500},
    {"fail_loads": 400},
    {"fail_loads": 404},
    {"half_load": True},
]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again after seconds or minutes is tried again at once."""
    monkeypatch.setattr("gateway.engines.managed.LOAD_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr("gateway.engines.health.FIRST_EXAMINATION_S", 0.1)
    monkeypatch.setattr("gateway.engines.health.LAST_EXAMINATION_S", 0.1)
    monkeypatch.setattr("gateway.fleet.court.FIRST_RETRIAL_S", 0.1)
    monkeypatch.setattr("gateway.fleet.court.LOOK_FOR_RETRIALS_S", 0.0)


def fill(house: House, names: list[str]) -> None:
    for number, name in enumerate(names):
        house.publish(name, proof=proof(seed=number))
        house.point(name, "1.0")


@contextmanager
def proven(house: House, *engines: dict[str, Any]) -> Iterator[Stack]:
    """Eight proven adapters in service."""
    fill(house, NAMES)
    with run_stack(house, engines=engines) as stack:
        stack.wait_resident(*NAMES)
        yield stack


def quarantined(house: House) -> list[str]:
    return [version.name for version in house.registry.adapters.quarantined()]


def fault_of(stack: Stack, engine: MockEngine) -> str:
    return stack.worker.states()[engine.url][1] or ""


def statuses(stack: Stack, names: list[str]) -> set[tuple[int, str]]:
    answers = [stack.chat(name) for name in names]
    return {(answer.status_code, answer.json().get("error", {}).get("code", "")) for answer in answers}


def folder_of(house: House, name: str) -> str:
    return house.registry.adapters.get(parse_ref(name)).manifest_digest.removeprefix("sha256:")


def come_back(engine: MockEngine, **options: Any) -> None:
    """A new boot at the same address."""
    engine.options = replace(engine.options, **options)
    run(engine.restart())


def homes_of(stack: Stack, version: str) -> list[MockEngine]:
    order = stack.worker.view().homes.order(version)
    return sorted(stack.engines, key=lambda engine: order.index(engine.url))


@pytest.mark.parametrize("broken", BROKEN)
def test_an_engine_that_returns_broken_is_refused_and_takes_nothing_away(house: House, broken: dict[str, Any]) -> None:
    with proven(house, {}, {}) as stack:
        _, bad = stack.engines
        come_back(bad, **broken)
        stack.wait_state(bad, "refused")
        assert statuses(stack, NAMES) == {(200, "")}
        assert {stack.chat(name).json()["model"] for name in NAMES} == {f"{name}@1.0" for name in NAMES}
        assert quarantined(house) == []
        assert "it cannot prove" in fault_of(stack, bad) or "does not load adapters" in fault_of(stack, bad)
        assert (
            f'switchyard_engine_refused{{engine="{bad.url}"}} 1.0'
            in stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
        )
        come_back(bad, noop_adapters=False, fail_loads=0, half_load=False)
        stack.wait_ready()
        assert statuses(stack, NAMES) == {(200, "")}


@pytest.mark.parametrize(
    "fault", [{"noop_adapters": True}, {"fail_loads": 500}, {"fail_loads": 404}, {"half_load": True}]
)
def test_an_engine_that_breaks_without_a_restart_is_refused_and_is_taken_back_when_it_works_again(
    house: House, fault: dict[str, Any]
) -> None:
    with proven(house, {}, {}) as stack:
        house.publish("acme/late", proof=proof(seed=10))
        stack.wait_revision()
        bad, _ = homes_of(stack, "acme/late@1.0")
        run(bad.faults(**fault))
        assert stack.chat("acme/late@1.0").json()["model"] == "acme/late@1.0"
        stack.wait_state(bad, "refused")
        assert "acme/late@1.0" in fault_of(stack, bad) or "not even one of zeros" in fault_of(stack, bad)
        assert statuses(stack, NAMES) == {(200, "")}
        run(bad.faults(noop_adapters=False, fail_loads=0, half_load=False))
        stack.wait_ready()
        assert quarantined(house) == []


def test_an_engine_without_the_routes_for_loads_is_refused_and_says_what_it_lacks(house: House) -> None:
    with proven(house, {}, {}) as stack:
        _, bad = stack.engines
        come_back(bad, runtime_lora=False)
        stack.wait_state(bad, "refused")
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in fault_of(stack, bad)
        assert statuses(stack, NAMES) == {(200, "")}
        come_back(bad, runtime_lora=True)
        stack.wait_ready()


def test_a_controller_that_takes_over_knows_a_broken_engine_by_what_its_predecessor_proved(house: House) -> None:
    with proven(house, {}, {}) as stack:
        _, bad = stack.engines
        first = stack.controller
        come_back(bad, noop_adapters=True)
        stack.wait_state(bad, "refused")
        house.registry.leadership.release(str(stack.gateway.identity))
        wait_until("a successor", lambda: stack.controller is not first)
        assert statuses(stack, NAMES) == {(200, "")}
        wait_until("it to look", lambda: stack.controller.engines[1].health.state == "refused")
        assert statuses(stack, NAMES) == {(200, "")}
        assert quarantined(house) == []


def test_a_refusal_of_probes_of_the_base_too_says_nothing_about_adapters(house: House) -> None:
    with proven(house, {}, {}) as stack:
        house.publish("acme/late", proof=proof(seed=10))
        stack.wait_revision()
        bad, _ = homes_of(stack, "acme/late@1.0")
        run(bad.faults(refuse_folder="*"))
        assert stack.chat("acme/late@1.0").json()["model"] == "acme/late@1.0"
        stack.wait_state(bad, "refused")
        assert quarantined(house) == []


@pytest.mark.parametrize("failures", [[500], [500, 500], [400]])
def test_a_load_that_fails_for_a_moment_is_tried_again(house: House, failures: list[int]) -> None:
    fill(house, ["acme/triage"])
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        house.publish("acme/triage", proof=proof(seed=2))
        stack.faults(fail_next_load=failures)
        assert house.promote("acme/triage", "1.1").state == "done"
        assert quarantined(house) == []


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("fault", ["noop_folder", "refuse_folder"])
def test_a_version_that_every_engine_refuses_goes_into_quarantine_and_out_again_when_one_proves_it(
    house: House, engines: int, fault: str
) -> None:
    with proven(house, *[{}] * engines) as stack:
        house.publish("acme/bad", proof=proof(seed=10))
        stack.faults(**{fault: folder_of(house, "acme/bad@1.0")})
        assert house.promote("acme/bad", "1.0").state == "failed"
        assert quarantined(house) == ["acme/bad@1.0"]
        assert set(stack.readiness()["engines"].values()) == {"ok"}
        assert statuses(stack, NAMES) == {(200, "")}
        stack.faults(**{fault: ""})
        wait_until("the quarantine to end", lambda: not quarantined(house))
        assert house.promote("acme/bad", "1.0").state == "done"
        assert stack.chat("acme/bad").json()["model"] == "acme/bad@1.0"


def test_a_quarantine_by_a_person_does_not_end_by_itself_also_when_the_machine_had_one_before(house: House) -> None:
    with proven(house, {}) as stack:
        house.publish("acme/bad", proof=proof(seed=10))
        version = house.registry.adapters.get(parse_ref("acme/bad@1.0"))
        stack.faults(noop_folder=folder_of(house, "acme/bad@1.0"))
        assert house.promote("acme/bad", "1.0").state == "failed"
        assert house.registry.adapters.quarantined_by_machine() == [version.id]
        house.registry.adapters.quarantine(version.id, "it swears")
        house.registry.adapters.quarantine(version.id, "the machine again", by_machine=True)
        stack.faults(noop_folder="")
        assert house.registry.adapters.quarantined_by_machine() == []
        assert not house.registry.adapters.release(version.id, by_machine=True)
        assert house.registry.adapters.get(parse_ref("acme/bad@1.0")).quarantined == "it swears"
        assert house.registry.adapters.release(version.id)


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_the_only_engine_of_a_fleet_that_returns_broken_is_refused_until_it_works(
    house: House, names: list[str]
) -> None:
    fill(house, names)
    with run_stack(house) as stack:
        stack.wait_resident(*(f"{name}@1.0" for name in names))
        come_back(stack.engine, noop_adapters=True)
        stack.wait_state(stack.engine, "refused")
        answer = stack.chat(names[0])
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert quarantined(house) == []
        run(stack.engine.faults(noop_adapters=False))
        stack.wait_ready()
        stack.wait_resident(*names)
        assert statuses(stack, names) == {(200, "")}


def test_an_engine_that_is_broken_from_the_start_is_refused_though_nothing_was_ever_proven(house: House) -> None:
    fill(house, NAMES)
    with run_stack(house, engines=({"noop_adapters": True},), waits=False) as stack:
        stack.wait_state(stack.engine, "refused")
        assert quarantined(house) == []
        run(stack.engine.faults(noop_adapters=False))
        stack.wait_ready()
        stack.wait_resident(*NAMES)
        assert statuses(stack, NAMES) == {(200, "")}


def test_a_promote_onto_a_broken_home_succeeds_on_another(house: House) -> None:
    with proven(house, {}, {}) as stack:
        house.publish("acme/late", proof=proof(seed=10))
        bad, good = homes_of(stack, "acme/late@1.0")
        run(bad.faults(fail_loads=500))
        swap = house.promote("acme/late", "1.0")
        assert (swap.state, swap.detail["engines"]) == ("done", [good.url])
        assert stack.chat("acme/late").json()["model"] == "acme/late@1.0"
        assert quarantined(house) == []


def test_a_version_that_one_engine_refuses_and_others_prove_is_served_by_them_and_the_engine_goes_on(
    house: House,
) -> None:
    with proven(house, {}, {"max_lora_rank": 8}) as stack:
        able, small = stack.engines
        names = (f"acme/wide-{number}" for number in range(64))
        name = next(name for name in names if homes_of(stack, f"{name}@1.0")[0] is small)
        house.publish(name, rank=16, proof=proof(seed=10))
        swap = house.promote(name, "1.0")
        assert (swap.state, swap.detail["engines"]) == ("done", [able.url])
        assert statuses(stack, [name, *NAMES]) == {(200, "")}
        assert quarantined(house) == []
        assert set(stack.readiness()["engines"].values()) == {"ok"}
        (barred,) = next(one for one in stack.controller.document()["engines"] if one["url"] == small.url)["barred"]
        assert "rank 16 is greater than" in barred["reason"]


def test_an_engine_that_is_alone_in_refusing_what_another_proved_is_refused_when_nothing_else_can_tell(
    house: House,
) -> None:
    with run_stack(house, engines=({}, {})) as stack:
        fill(house, ["acme/only"])  # when both engines are there, or the one that is met first loads it too
        stack.wait_revision()
        home, bad = homes_of(stack, "acme/only@1.0")
        wait_until("its home to hold it", lambda: stack.worker.states()[home.url][2] == 1)
        assert stack.worker.states()[bad.url][2] == 0
        run(bad.faults(noop_adapters=True))
        run(home.crash())
        stack.wait_state(home, "down")
        assert stack.chat("acme/only").status_code == 503
        stack.wait_state(bad, "refused")
        assert f"it is alone in refusing acme/only@1.0, which {home.url} proved before" in fault_of(stack, bad)
        assert quarantined(house) == []
        run(home.restart())
        wait_until("its home to serve it again", lambda: stack.chat("acme/only").status_code == 200)

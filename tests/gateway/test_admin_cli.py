"""The commands that see and steer a running fleet: what they print, and the one sentence when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from gateway.app import Gateway
from loadtest.ports import free_port
from tests.support.cli_runner import Outcome, Run, run
from tests.support.stack import House, Stack, run_engines, run_gateway, run_stack, served
from tests.support.stack import run as run_now
from tests.support.waiting import wait_until

__all__ = ["run"]
Command = Callable[..., Outcome]


@pytest.fixture
def command(run: Run, house: House, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on the host of the gateway: they find its key in the state folder."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(house.settings.state_dir))
    monkeypatch.setenv("SWITCHYARD_PORT", str(free_port()))
    return run


@pytest.fixture
def shop(house: House) -> House:
    """acme/triage at 1.0 and published at 1.1."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    return house


def at(stack: Stack, command: Command) -> Command:
    """A command that must succeed at the stack's gateway."""

    def done(*arguments: str) -> Outcome:
        outcome = command(*arguments, "--url", stack.url)
        assert outcome.status == 0, outcome.err
        return outcome

    return done


def test_the_fleet_is_shown_on_one_screen_and_as_json(shop: House, command: Command) -> None:
    with run_stack(shop) as stack:
        stack.wait_resident("acme/triage@1.0")
        done = at(stack, command)
        assert "1 adapters are resident, and none was asked for" in done("fleet").out
        for _ in range(5):
            assert stack.chat("triage").status_code == 200
        wait_until("it to be hot", lambda: "acme/triage@1.0" in done("fleet").out)
        document = done("fleet", "--json").document
        (worker,), (engine,) = document["workers"], document["engines"]

        def row_of(screen: str) -> list[str]:
            return next(line for line in screen.splitlines() if line.startswith(engine["url"])).split()

        screen = wait_until(  # a question of the controller's own may be on it
            "the engine to be idle", lambda: next((out for out in [done("fleet").out] if row_of(out)[2] == "0"), None)
        )
        row = row_of(screen)
        assert row[1:4] == ["up", "0", "0"]
        assert f"controller {document['controller']['holder']}, term 1" in screen
        assert worker["id"] in screen
        assert f"{engine['places_used']}/16" in row
        assert done("engines", "list", "--json").document[0].keys() == engine.keys()
        assert engine["url"] in done("engines", "list").out


def test_adapters_of_an_engine_that_is_down_are_not_resident(shop: House, command: Command) -> None:
    with run_stack(shop) as stack:
        stack.wait_resident("acme/triage@1.0")
        run_now(stack.engine.stop())
        stack.wait_state(stack.engine, "down")
        done = at(stack, command)
        screen = done("fleet").out
        assert "0 adapters are resident" in screen
        row = next(line for line in screen.splitlines() if line.startswith(stack.engine.url)).split()
        assert row[1:3] == ["down", "0"]
        assert not any(part.endswith("/16") for part in row)
        (version,) = done("residency", "--json").document["rows"]
        assert not any(cell and cell["resident"] for cell in version["engines"].values())


def test_a_drain_waits_for_the_last_answer_and_a_resume_brings_the_engine_back(shop: House, command: Command) -> None:
    with run_stack(shop, engines=({}, {})) as stack, ThreadPoolExecutor(1) as callers:
        stack.wait_resident("acme/triage@1.0")
        done = at(stack, command)
        (url,) = (engine.url for engine in stack.worker.view().engines if engine.resident)
        stack.faults(token_ms=30)
        long = callers.submit(partial(stack.chat, "triage", max_tokens=40, min_tokens=40))
        wait_until("the request to run", lambda: stack.worker.in_flight.total() == 1)
        outcome = done("engines", "drain", url, "--wait", "--reason", "new driver", "--json")
        assert stack.worker.in_flight.total() == 0, "it came back before the answer was whole"
        assert long.result().status_code == 200
        assert outcome.document["reason"] == "new driver"
        assert outcome.document["waited_s"] > 0.2
        listing = done("engines", "list").out
        assert "draining" in listing
        assert "new driver" in listing
        assert done("engines", "resume", url).out == f"{url} takes traffic again\n"
        assert done("engines", "resume", url).out == f"{url} was not drained\n"
        wait_until("it to be back", lambda: len(stack.worker.view().engines) == 2)


def test_a_drain_that_takes_too_long_says_how_much_is_left(shop: House, command: Command) -> None:
    with run_stack(shop) as stack, ThreadPoolExecutor(1) as callers:
        stack.wait_resident("acme/triage@1.0")
        stack.faults(token_ms=50)
        long = callers.submit(partial(stack.chat, "triage", max_tokens=40, min_tokens=40))
        wait_until("the request to run", lambda: stack.worker.in_flight.total() == 1)
        outcome = command("engines", "drain", stack.engine.url, "--wait", "--timeout", "0.8", "--url", stack.url)
        assert outcome.status == 1
        assert f"1 requests still run on {stack.engine.url} after 0.8 s" in outcome.err
        assert long.result().status_code == 200


def test_residency_says_where_a_version_is_and_home_where_it_should_be(shop: House, command: Command) -> None:
    with run_stack(shop) as stack:
        stack.wait_resident("acme/triage@1.0")
        done = at(stack, command)
        header, row = done("residency").out.splitlines()
        assert stack.engine.url.removeprefix("http://") in header
        assert row.split() == ["acme/triage@1.0", "1", "there"]
        (line,) = done("residency", "--json").document["rows"]
        assert line["engines"][stack.engine.url]["resident"] is True


def test_a_version_goes_into_quarantine_and_out_again(shop: House, command: Command) -> None:
    with run_stack(shop) as stack:
        done = at(stack, command)
        assert done("quarantine", "list").out == "no version is in quarantine\n"
        put = done("quarantine", "put", "acme/triage@1.0", "--reason", "it swears")
        assert put.out == "acme/triage@1.0 is in quarantine\n"
        assert "it swears" in stack.chat("triage").json()["error"]["message"]
        assert "it swears" in done("quarantine", "list").out
        assert done("quarantine", "list", "--json").document[0]["aliases"] == ["production"]
        assert done("quarantine", "release", "acme/triage@1.0").out == "acme/triage@1.0 is released\n"
        assert stack.chat("triage").status_code == 200
        released = done("quarantine", "release", "acme/triage@1.0", "--json").document
        assert (released["changed"], released["in_force"]) == (False, True)
        refused = command("quarantine", "put", "acme/triage@9.0", "--reason", "x", "--url", stack.url)
        assert refused.err.startswith("error: there is no acme/triage@9.0")


def test_a_swap_is_shown_with_its_steps_its_acknowledgements_and_its_traffic_by_the_second(
    shop: House, command: Command
) -> None:
    with run_stack(shop) as stack:
        assert stack.chat("triage").status_code == 200
        assert command("adapters", "promote", "acme/triage@1.1").status == 0
        assert stack.chat("triage").status_code == 200
        wait_until("usage to be shipped", lambda: len(shop.usage(tenant="acme")) == 2)
        swap_id = str(shop.registry.swaps.recent(1)[0].id)
        report = command("swaps", "show", swap_id, "--json").document
        text = command("swaps", "show", swap_id).out
    assert [(part["version"], part["attempts"], part["failed"]) for part in report["versions"]] == [
        ("acme/triage@1.0", 1, 0),
        ("acme/triage@1.1", 1, 0),
    ]
    assert all(part["first_ms"] <= part["last_ms"] for part in report["versions"])
    assert sum(second["attempts"] for second in report["per_second"]) == 2
    (acknowledged,) = report["acknowledged"]
    assert acknowledged["at_ms"] >= report["swap"]["detail"]["flipped_at_ms"]
    assert report["preload_s"] > 0
    assert (report["left_on_old"], report["late_on_old"]) == (0, 0)
    assert f"acknowledged by {acknowledged['worker']}" in text
    assert "preload " in text
    assert "cut-over " in text
    assert "drain " in text


def test_a_ramp_is_followed_to_its_split_and_shown_with_its_arms(shop: House, command: Command) -> None:
    with run_stack(shop) as stack:
        stack.wait_resident("acme/triage@1.0")
        began = command("adapters", "split", "acme/triage", "1.0=50", "1.1=50")
        stack.faults(fail_next_load=[500] * 3)
        shop.publish("acme/triage")
        failed = command("adapters", "split", "acme/triage", "1.0=50", "1.2=50")
        ended = command("adapters", "split", "acme/triage", "--end", "--json").document
        report = command("swaps", "show", str(ended["swap"]["id"]), "--json").document
    assert began.status == 0
    assert began.out.splitlines()[-2:] == [
        "acme/triage@production → 1.0 50 %, 1.1 50 %: done",
        "split 1 of acme/triage@production began: 1.0 50 %, 1.1 50 %",
    ]
    assert failed.status == 1
    assert failed.err.startswith("error: the traffic of acme/triage@production goes where it went before: ")
    assert "Injected failure" in failed.err
    assert (ended["split"]["id"], report["swap"]["kind"]) == (1, "ramp")
    assert [(arm["version"], arm["weight"]) for arm in report["swap"]["arms"]] == [("acme/triage@1.0", 10_000)]
    assert len(report["acknowledged"]) == 1


def test_no_gateway_no_key_and_a_refused_key_are_one_sentence_each(
    shop: House, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmade = command("fleet")
    assert (unmade.status, unmade.out) == (1, "")
    assert "there is no admin key" in unmade.err
    monkeypatch.setenv("SWITCHYARD_ADMIN_KEY", "k" * 40)
    silent = command("fleet")
    assert silent.err.startswith("error: no gateway answers at http://127.0.0.1:")
    assert "switchyard gateway" in silent.err
    assert "expected http://host:port" in command("fleet", "--url", "localhost").err
    with run_stack(shop) as stack:
        refused = command("engines", "list", "--url", stack.url)
        assert "refuses the admin key" in refused.err
        assert "SWITCHYARD_ADMIN_KEY" in refused.err
        stranger = command("fleet", "--url", stack.engine.url)
        assert "is no gateway with an admin API" in stranger.err
        monkeypatch.delenv("SWITCHYARD_ADMIN_KEY")
        unknown = command("engines", "drain", "http://127.0.0.1:1", "--url", stack.url)
        assert unknown.err.startswith("error: there is no engine 'http://127.0.0.1:1'; the fleet has http")
        for outcome in (unmade, silent, refused, stranger, unknown):
            assert len(outcome.err.splitlines()) == 1


def test_a_fleet_that_nobody_leads_is_one_sentence(
    shop: House, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.admin_client.SUCCESSOR_S", 0.0)
    shop.settings = shop.settings.model_copy(update={"engines": ["http://127.0.0.1:9"]})
    with served(Gateway(shop.settings, leads=False)) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        outcome = command("fleet", "--url", url)
        assert outcome.status == 1
        assert outcome.err.startswith("error: No controller leads the fleet now")
        waiting = command("engines", "drain", "http://127.0.0.1:9", "--wait", "--timeout", "0.3", "--url", url)
        assert "an unknown number of requests still run" in waiting.err


def test_an_engine_is_added_and_removed_by_command_and_one_of_the_settings_is_not(
    shop: House, command: Command
) -> None:
    with run_engines(shop, {}, {}) as (first, second), run_gateway(shop, [first]) as stack:
        done = at(stack, command)
        added = done("engines", "add", second.url, "--base", "tiny", "--max-num-seqs", "5")
        assert f"{second.url} is in the fleet" in added.out
        stack.wait_state(second, "up")
        listed = done("engines", "list", "--json").document
        assert [(one["source"], one["max_num_seqs"]) for one in listed] == [("settings", None), ("admin", 5)]
        assert "has left the fleet" in done("engines", "remove", second.url, "--wait").out
        assert second.url not in done("engines", "list").out
        refused = command("engines", "remove", first.url, "--url", stack.url)
        assert refused.status == 1
        assert "SWITCHYARD_ENGINES" in refused.err

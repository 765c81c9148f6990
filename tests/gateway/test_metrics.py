"""What Prometheus reads: by convention, bounded, of all workers, and all of it on the page of docs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.admin_key import admin_key
from gateway.metrics import families
from gateway.metrics.counts import Counted, CountedRow
from gateway.metrics.exposition import exposition
from gateway.metrics.families import FAMILIES
from gateway.metrics.layout import NANO, OK, TTFT
from gateway.metrics.leader import Naming, Traffic
from gateway.metrics.naming import OTHER
from gateway.metrics.worker import Metrics
from tests.bars.support.gateways import gateway_process
from tests.support.admin_calls import Admin
from tests.support.ended_requests import ended
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_engines, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

PROMTOOL = shutil.which("promtool")
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Values:
    """(name, labels) → value, as Prometheus' own parser has it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float:
    return values[name, frozenset(labels.items())]


@pytest.fixture
def busy(house: House) -> Iterator[Stack]:
    """A gateway that has had an answer, a streamed one, and a refused one."""
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="test")
    house.registry.limits.set("tenant:acme", {"daily_tokens": 1_000_000, "monthly_nano": 10**9})
    with run_stack(house) as stack:
        assert stack.chat("triage", max_tokens=4).status_code == 200
        assert stack.chat("triage", max_tokens=8, stream=True).status_code == 200
        assert stack.chat("nothing").status_code == 404
        yield stack


def metrics_of(stack: Stack) -> str:
    return stack.http.get(f"{stack.url}/metrics", headers=stack.operator).raise_for_status().text


def test_a_running_gateway_tells_what_came_how_long_it_took_and_what_it_cost(busy: Stack) -> None:
    wait_until("the database to be read", lambda: "budget_left" in metrics_of(busy))
    values = read(metrics_of(busy))
    assert value(values, "switchyard_requests_total", endpoint="chat", outcome="ok", status="200") == 2
    assert value(values, "switchyard_requests_total", endpoint="chat", outcome="refused", status="404") == 1
    assert value(values, "switchyard_requests_total", endpoint="chat", outcome="failed", status="500") == 0
    assert value(values, "switchyard_tokens_total", kind="completion") == 12
    assert value(values, "switchyard_ttft_seconds_count", endpoint="chat") == 1
    assert value(values, "switchyard_inter_token_seconds_count", endpoint="chat") == 1
    assert value(values, "switchyard_overhead_seconds_count", endpoint="chat") == 2
    assert 0 < value(values, "switchyard_overhead_seconds_sum", endpoint="chat") < 2
    assert value(values, "switchyard_request_seconds_count", endpoint="chat") == 3
    assert value(values, "switchyard_engine_requests_total", engine=busy.engine.url, outcome="ok") == 2
    assert value(values, "switchyard_tenant_requests_total", tenant="acme", outcome="ok") == 2
    assert value(values, "switchyard_adapter_tokens_total", adapter="acme/triage", kind="completion") == 12
    assert value(values, "switchyard_tenant_cost_dollars_total", tenant="acme") > 12 * 10 / 1e6
    assert value(values, "switchyard_loads_total", engine=busy.engine.url, result="ok") >= 1
    assert value(values, "switchyard_loads_total", engine=busy.engine.url, result="failed") == 0
    assert value(values, "switchyard_load_seconds_count", engine=busy.engine.url) >= 1
    assert value(values, "switchyard_engine_up", engine=busy.engine.url) == 1
    assert value(values, "switchyard_duty_up", duty="engines") == 1
    assert value(values, "switchyard_background_up", work="telling") == 1
    assert value(values, "switchyard_workers") == 1
    assert value(values, "switchyard_resident_memory_bytes") > 1 << 20
    assert value(values, "switchyard_cpu_seconds_total") > 0
    assert 0 < value(values, "switchyard_disk_free_bytes") < value(values, "switchyard_disk_size_bytes")
    left = value(values, "switchyard_budget_left_ratio", scope="tenant:acme", window="daily", unit="tokens")
    assert 0.99 < left <= 1


def test_a_cold_adapter_is_waited_for_in_the_queues_histogram(house: House) -> None:
    house.publish("acme/triage")
    with run_stack(house, engines=({"load_stall_ms": 30},)) as stack:
        assert stack.chat("acme/triage@1.0").status_code == 200
        values = read(metrics_of(stack))
    for cause in ("load", "proof"):
        assert value(values, "switchyard_queue_seconds_count", cause=cause) == 1
    assert value(values, "switchyard_queue_seconds_sum", cause="load") >= 0.03


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")
def test_promtool_finds_nothing_to_say_of_it(busy: Stack) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=metrics_of(busy),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_have_their_unit_and_say_it_to_prometheus(busy: Stack) -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("switchyard_")
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.kind != "histogram" or (family.unit == "seconds" and family.buckets)
        assert not {"ms", "milliseconds", "kb", "percent"} & set(family.name.split("_")), family.name
    told = {line.split()[2] for line in metrics_of(busy).splitlines() if line.startswith("# TYPE")}
    assert told <= {family.name for family in FAMILIES}


def test_every_label_that_anybody_chooses_is_bounded() -> None:
    traffic = Traffic(Naming(tenants=("vip",), most_tenants=3, most_models=2))
    rows = [
        CountedRow("chat", 200, "http://e", f"t{number}", f"t{number}/a", (OK, NANO), (1, 5)) for number in range(500)
    ]
    rows.append(CountedRow("chat", 200, "http://e", "vip", "vip/a", (OK,), (1,)))
    refusals = tuple(((f"reason-{number}",), 1.0) for number in range(500))
    traffic.take("w", Counted("g", tuple(rows), {families.REFUSALS.name: refusals}, {}, ()))
    values = read(exposition(traffic.samples("g")))
    tenants = {dict(labels)["tenant"] for name, labels in values if name == "switchyard_tenant_requests_total"}
    adapters = {dict(labels)["adapter"] for name, labels in values if name == "switchyard_adapter_requests_total"}
    assert tenants == {"t0", "t1", "t2", "vip", OTHER}
    assert adapters == {"t0/a", "t1/a", OTHER}
    assert value(values, "switchyard_tenant_requests_total", tenant=OTHER, outcome="ok") == 497
    assert value(values, "switchyard_metrics_dropped_total", label="tenant") == 497
    reasons = [key for key in values if key[0] == "switchyard_refusals_total"]
    assert len(reasons) == 201
    assert value(values, "switchyard_refusals_total", reason=OTHER) == 300


def test_engines_that_left_and_names_that_were_taken_away_are_in_no_series() -> None:
    clock_s = [0.0]
    traffic = Traffic(Naming(most_tenants=1), lambda: clock_s[0])

    def told(tenant: str, requests: int) -> None:
        row = CountedRow("chat", 200, "http://gone", tenant, "", (OK,), (requests,))
        traffic.take("w", Counted("g", (row,), {}, {}, ()))

    told("acme", 1)
    told("globex", 50)
    clock_s[0] = 61.0
    told("globex", 1)
    text = exposition(traffic.samples("g"))
    assert "gone" not in text
    assert "acme" not in text
    clock_s[0] = 62.0
    told("globex", 7)
    assert (
        value(read(exposition(traffic.samples("g"))), "switchyard_tenant_requests_total", tenant="globex", outcome="ok")
        == 7
    )


def test_a_label_with_quotes_and_lines_reads_back_as_it_is() -> None:
    odd = 'a"b\\c\nd'
    values = read(exposition({families.REFUSALS.name: [[[odd], 2]]}))
    assert value(values, "switchyard_refusals_total", reason=odd) == 2


def test_histograms_add_up_from_bucket_to_bucket() -> None:
    traffic = Traffic(Naming())
    row = CountedRow("chat", 200, "", "", "", (OK, TTFT.at, TTFT.at + 1, TTFT.end - 1), (3, 130.5, 2, 1))
    traffic.take("w", Counted("g", (row,), {}, {}, ()))
    values = read(exposition(traffic.samples("g")))
    bucket = "switchyard_ttft_seconds_bucket"
    assert value(values, bucket, endpoint="chat", le="0.005") == 2
    assert value(values, bucket, endpoint="chat", le="120") == 2
    assert value(values, bucket, endpoint="chat", le="+Inf") == 3
    assert value(values, "switchyard_ttft_seconds_sum", endpoint="chat") == 130.5


def test_a_worker_counts_what_is_new_and_forgets_what_it_has_told() -> None:
    metrics = Metrics()
    metrics.came()
    metrics.came()
    metrics.answered("chat", ended(429), 0.1)
    metrics.refused("requests_per_minute")
    metrics.refused("requests_per_minute")
    metrics.waited("load", 0.3)
    taken = metrics.take()
    assert metrics.in_flight == 1
    assert taken.tallies == {families.REFUSALS.name: ((("requests_per_minute",), 2),)}
    assert (taken.waits["load"][0], sum(taken.waits["load"][1:])) == (0.3, 1)
    assert metrics.take() == ((), {}, {})


def test_whichever_worker_answers_says_what_all_of_them_have_counted(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    head = {"Authorization": f"Bearer {house.keys['acme']}"}
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], workers=2) as gateway,
        httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0)) as http,
    ):
        admin = Admin(house, gateway.url, http)
        operator = {"Authorization": f"Bearer {admin_key(house.settings)}"}

        def scraped() -> Values:
            return read(http.get(f"{gateway.url}/metrics", headers=operator).raise_for_status().text)

        for _ in range(20):
            body = {"model": "triage", "messages": MESSAGES, "max_tokens": 2}
            assert http.post(f"{gateway.url}{CHAT}", headers=head, json=body).status_code == 200

        def counts() -> set[float]:
            name, labels = "switchyard_requests_total", {"endpoint": "chat", "outcome": "ok", "status": "200"}
            return {scraped().get((name, frozenset(labels.items())), 0) for _ in range(8)}

        wait_until("both to have told the leader", lambda: counts() == {20})
        wait_until("both to be heard of", lambda: value(scraped(), "switchyard_workers") == 2)
        assert value(scraped(), "switchyard_controller_linked") == 1
        assert admin.get("/fleet")["duties"].keys() == {
            dict(labels)["duty"] for name, labels in scraped() if name == "switchyard_duty_up"
        }, "of the leader, which is another process than the one that answers"


def test_while_nobody_leads_a_worker_tells_what_it_knows_alone(busy: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    house: Any = busy.gateway.house

    async def nobody(*_: object) -> None:
        return None

    monkeypatch.setattr(type(house.telling), "samples", nobody)
    values = read(metrics_of(busy))
    assert {name for name, _ in values} == {family.name for family in FAMILIES if family.of == "process"}

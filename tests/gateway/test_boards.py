"""Every query of Grafana's dashboards has data when a real Prometheus scrapes a gateway that has had traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.fleet.duties import experiments, facts
from registry.db import now_ms
from registry.ledger.engine_readings import Reading
from registry.names import parse_ref
from registry.shadows.terms import Terms
from switchyard.boards import BOARDS
from switchyard.grafana import Board, dashboard
from tests.live.installation import ROOT
from tests.support.deciding_stack import begun
from tests.support.prometheus_server import PROMETHEUS, Prometheus, prometheus
from tests.support.stack import Stack, open_house, run_engines, run_gateway
from tests.support.waiting import DEADLINE_S, wait_until

DEPLOY = ROOT / "deploy"
NEEDS_PROMETHEUS = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is missing: apt-get install prometheus")
MEANS = {"$instance": ".*", "$__rate_interval": "30s", "$__range": "1m"}
HOUR_MS = 3_600_000


def queries(board: Board) -> Iterator[str]:
    """As Grafana would send them for all gateways, and for a step of some seconds."""
    for panel in json.loads(dashboard(board))["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in MEANS.items():
                query = query.replace(name, value)
            yield query


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway with limits, prices, an experiment, a shadow, readings of its engine, and traffic of all kinds."""
    with pytest.MonkeyPatch.context() as patch, open_house(tmp_path_factory.mktemp("boards")) as house:
        patch.setattr(experiments, "LOOK_S", 0.05)
        patch.setattr(experiments, "GRACE_MS", 0)
        patch.setattr(facts, "READ_S", 0.2)
        registry = house.registry
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
        for name in ("acme/triage", "acme/triage", "globex/sentiment", "globex/sentiment", "globex/rare"):
            house.publish(name)
        house.point("acme/triage", "1.0")
        house.point("globex/sentiment", "1.0")
        registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="test")
        registry.limits.set("tenant:acme", {"daily_nano": 10**9})
        registry.tenants.change("globex", {"shadow_consent": True})
        with run_engines(house, {}) as mocks:
            at_ms = now_ms()
            registry.readings.add(
                Reading(mocks[0].url, 1, at_ms - ago_ms, at_ms - ago_ms + 1, 1, 0, 0) for ago_ms in (60_000, 9_000)
            )
            with run_gateway(house, mocks) as stack:
                stack.wait_resident("acme/triage@1.0", "globex/sentiment@1.0")
                yield stack


def ask_for_everything(stack: Stack) -> None:
    ramp = [{"percent": 50, "dwell_s": 3_600, "min_units": 100_000}]
    begun(stack, {"metric": {"name": "errors", "window_s": 0, "margin": 0.05}, "guardrails": [], "ramp": ramp})
    stack.house.registry.shadows.begin(parse_ref("globex/sentiment@1.1"), Terms(10_000, HOUR_MS), actor="test")
    stack.wait_revision()
    stack.wait_resident("globex/sentiment@1.1")
    assert stack.chat("globex/rare@1.0", key="globex").status_code == 200, "cold until now"
    assert stack.chat("nothing").status_code == 404
    for unit in range(200):
        assert stack.chat("triage", headers={"X-Switchyard-Unit": f"u{unit}"}, max_tokens=2).status_code == 200
    for _ in range(5):
        assert stack.chat("sentiment", key="globex", stream=True, max_tokens=6).status_code == 200


@NEEDS_PROMETHEUS
def test_every_query_of_every_board_has_data_and_every_rule_can_be_evaluated(busy: Stack, tmp_path: Path) -> None:
    ask_for_everything(busy)
    key = busy.house.settings.state_dir / "admin-key"
    rules = DEPLOY / "prometheus" / "rules.yml"
    with prometheus(tmp_path / "prometheus", busy.url.removeprefix("http://"), key, rules) as server:
        without = {board.title: list(queries(board)) for board in BOARDS}
        asked = count()

        def answered() -> bool:
            if next(asked) % 20 == 0:
                busy.chat("triage", stream=True, max_tokens=4)
                busy.chat("sentiment", key="globex", stream=True, max_tokens=6)
            for title, waiting in without.items():
                without[title] = [query for query in waiting if not server.query(query)]
            return not any(without.values())

        try:
            wait_until("all queries to have data", answered, 3 * DEADLINE_S)  # the analyst has twenty seconds a time
        except AssertionError:
            pytest.fail(f"without data: {json.dumps(without, indent=1)}")
        assert rules_of(server) == {"ok"}
        for arm in ("1.0", "1.1"):
            (met,) = server.query(f'switchyard_experiment_units{{arm="{arm}"}}')
            assert float(met["value"][1]) > 20


def rules_of(server: Prometheus) -> set[str]:
    """What became of all rules; each of two groups is evaluated in its turn."""
    return wait_until(
        "every rule to be evaluated",
        lambda: found if "unknown" not in (found := {rule["health"] for rule in server.rules()}) else set(),
    )


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_board_is_as_grafana_reads_it(board: Board) -> None:
    document: dict[str, Any] = json.loads(dashboard(board))
    assert document["uid"] == board.uid
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    rows = {}
    for panel in document["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert (x, place["y"]) not in rows, "panels lie upon each other"
            rows[x, place["y"]] = panel["id"]


def test_grafana_finds_its_source_and_its_boards_where_compose_puts_them() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    grafana, server = services["grafana"], services["prometheus"]
    assert grafana["profiles"] == server["profiles"] == ["observe"]
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in grafana["volumes"])
    boards = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/switchyard.yml").read_text())
    assert mounts["./grafana/dashboards"] == boards["providers"][0]["options"]["path"]
    assert {path.name for path in (DEPLOY / "grafana/dashboards").iterdir()} == {f"{one.uid}.json" for one in BOARDS}
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://gateway:9090", "Prometheus is in the gateway's network"
    assert server["network_mode"] == "service:gateway"
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [services["gateway"]["environment"]["SWITCHYARD_ADMIN_LISTEN"]]

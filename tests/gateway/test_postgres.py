"""Two gateways side by side on one PostgreSQL: what a day needs of the database works there as it does on SQLite."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.db import Database
from registry.errors import InvalidInput
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.stack import MESSAGES, House, open_house, run_engines
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def house(postgres: PostgresServer, tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, database_url=postgres.empty_database()) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        yield house


def command(gateway: GatewayProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchyard", *arguments, "--json"],
        env=dict(gateway.environment),
        capture_output=True,
        text=True,
        check=False,
    )


def switchyard(gateway: GatewayProcess, *arguments: str) -> Any:
    done = command(gateway, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(client: httpx.Client, gateway: GatewayProcess) -> httpx.Response:
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 4}
    return client.post(f"{gateway.url}/v1/chat/completions", json=body)


def test_two_gateways_on_one_postgresql_serve_swap_and_keep_the_ledger(house: House) -> None:
    url = house.settings.database_url
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], database_url=url) as first,
        gateway_process(house.settings.state_dir, [engine.url], database_url=url) as second,
        httpx.Client(headers={"Authorization": f"Bearer {house.keys['acme']}"}, timeout=DEADLINE_S) as client,
    ):
        assert [ask(client, one).json()["model"] for one in (first, second)] == ["acme/triage@1.0"] * 2
        assert len(switchyard(first, "fleet")["workers"]) == 2
        swap = switchyard(second, "adapters", "promote", "acme/triage@1.1")
        assert swap["state"] == "done"
        assert [ask(client, one).json()["model"] for one in (first, second)] == ["acme/triage@1.1"] * 2
        switchyard(first, "limits", "set", "tenant:acme", "--requests-per-minute", "100")
        revoked = house.key("acme")
        house.registry.tenants.revoke_key(
            next(key.id for key in house.registry.tenants.list_keys() if key.shown.endswith(revoked[-4:]))
        )
        wait_until("four attempts in the ledger", lambda: len(house.usage(tenant="acme", outcome="ok")) == 4)
        lines = switchyard(first, "usage", "--by", "tenant")["lines"]
        assert 4 in [line["attempts"] for line in lines]  # the other one is _system's
        assert switchyard(second, "ledger", "verify")["problems"] == []


def test_a_gateway_serves_through_a_restart_of_its_database_and_books_what_it_served_meanwhile(
    house: House, postgres: PostgresServer
) -> None:
    house.registry.tariffs.add("tenant:acme", input_dollars="0", output_dollars="1000000", source="test")
    url = house.settings.database_url
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], database_url=url) as gateway,
        httpx.Client(headers={"Authorization": f"Bearer {house.keys['acme']}"}, timeout=DEADLINE_S) as client,
    ):
        assert ask(client, gateway).json()["model"] == "acme/triage@1.0"
        wait_until("the attempt in the ledger", lambda: house.usage(tenant="acme", outcome="ok"))

        postgres.stop()
        try:
            assert [ask(client, gateway).status_code for _ in range(3)] == [200] * 3
            refused = command(gateway, "limits", "list")
        finally:
            postgres.start()
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: the database postgresql+psycopg://postgres@/")
        assert "Traceback" not in refused.stderr

        wait_until("four attempts in the ledger", lambda: len(house.usage(tenant="acme", outcome="ok")) == 4)
        house.publish("acme/triage")
        assert switchyard(gateway, "adapters", "promote", "acme/triage@1.2")["state"] == "done"
        assert ask(client, gateway).json()["model"] == "acme/triage@1.2"
        wait_until("five attempts in the ledger", lambda: len(house.usage(tenant="acme", outcome="ok")) == 5)
        tokens = sum(row["completion_tokens"] for row in house.usage(tenant="acme"))
        lines = switchyard(gateway, "usage", "--by", "tenant")["lines"]
        assert [line["cost_dollars"] for line in lines if line["tenant"] == "acme"] == [str(tokens)]
        switchyard(gateway, "limits", "set", "tenant:acme", "--daily-dollars", str(tokens))
        spent = wait_until("the budget to be in force", lambda: _refusal(client, gateway))
        assert spent["code"] == "insufficient_quota"
        assert switchyard(gateway, "ledger", "verify")["problems"] == []


def _refusal(client: httpx.Client, gateway: GatewayProcess) -> Any:
    answer = ask(client, gateway)
    return None if answer.status_code == 200 else answer.json()["error"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_way_to_write_a_postgresql_url_means_the_driver_that_is_shipped(
    scheme: str, postgres: PostgresServer
) -> None:
    database = Database(postgres.empty_database().replace("postgresql+psycopg", scheme))
    database.migrate()
    assert database.catalog_revision() == 0
    database.close()


def test_a_url_without_a_driver_here_names_the_extra_and_no_password() -> None:
    with pytest.raises(InvalidInput, match=r"switchyard\[postgres\]") as refused:
        Database("postgresql+psycopg2://me:hunter2@host/db")
    assert "hunter2" not in refused.value.message

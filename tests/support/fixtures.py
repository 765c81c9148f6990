"""Stacks for the gateway's tests. `stack` is shared by a module's tests, which leave its registry as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.db import Database
from registry.ledger.store import Ledger
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import TinyBase
from tests.support.admin_calls import Admin
from tests.support.migrated import migrated
from tests.support.stack import House, Stack, open_house, run_stack

if TYPE_CHECKING:
    from openai import OpenAI

SELDOM: dict[str, Any] = {"catalog_poll_s": 0.2, "engine_check_s": 0.4}
"""Looking around takes time from tests."""
POINTED_AT = ("acme/triage@1.0", "acme/triage@1.1", "globex/sentiment@1.0", "initech/forms@1.0")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """The database of a registry in which nothing is."""
    with Registry.open(RegistrySettings(state_dir=migrated(tmp_path / "var"))) as registry:
        yield registry.db


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """The ledger in it."""
    return Ledger(db)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An installation with two tenants and no adapters, for one test."""
    with open_house(tmp_path) as house:
        house.tenant("acme")
        house.tenant("globex")
        yield house


@contextmanager
def usual_stack(folder: Path) -> Iterator[Stack]:
    """Three tenants, adapters in several versions, one engine, one gateway."""
    with open_house(folder) as house:
        house.tenant("acme")
        house.tenant("globex")
        house.tenant("initech", allow_unknown_fields=True)
        house.keys["acme+base"] = house.key("acme", "inference", "base")
        house.keys["initech+base"] = house.key("initech", "inference", "base")
        for _ in range(3):
            house.publish("acme/triage")
        house.publish("globex/sentiment")
        house.publish("initech/forms")
        house.point("acme/triage", "1.0")
        house.point("acme/triage", "1.1", "canary")
        house.point("globex/sentiment", "1.0")
        house.point("initech/forms", "1.0")
        house.registry.model_names.map("acme", "ft:gpt-4o-mini:acme::7", "acme/triage")
        house.registry.model_names.map("acme", "gpt-4o-mini", "tiny")
        with run_stack(house, head_timeout_s=2.0, answer_timeout_s=2.0, idle_timeout_s=2.0, **SELDOM) as stack:
            stack.wait_resident(*POINTED_AT)  # what engines are asked from now on is what tests ask
            yield stack


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The usual stack, started once for a module: to start one takes less than one that is idle does in half a minute.
    Modules whose tests count what is there have one of their own by this name.
    """
    with usual_stack(tmp_path_factory.mktemp("shared")) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """The shared stack, healthy before and after the test."""
    yield shared_stack
    shared_stack.heal()


@pytest.fixture
def admin(stack: Stack) -> Admin:
    """The admin API of the module's stack."""
    return Admin(stack.house, stack.url, stack.http)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model's folder; never written to."""
    return TinyBase().write(tmp_path_factory.mktemp("base"))


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    """acme's client, which retries nothing. Most files need none, and importing it takes a second."""
    from openai import OpenAI

    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme"], max_retries=0) as client:
        yield client


@pytest.fixture
def base_client(stack: Stack) -> Iterator[OpenAI]:
    """acme's client with a key that may use the base model."""
    from openai import OpenAI

    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme+base"], max_retries=0) as client:
        yield client

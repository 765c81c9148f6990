"""One adapter over the admin API: versions with lineage, search among many, and why it takes no traffic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from registry.names import parse_ref
from tests.support.admin_calls import Admin
from tests.support.stack import Stack, open_house, run_stack


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("adapters")) as house:
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
        house.registry.tenants.create("keyless")
        for name in ("acme/triage", "acme/triage", "acme/Sentiment", "globex/triage", "keyless/unused"):
            house.publish(name.lower())
        house.point("acme/triage", "1.0")
        house.point("globex/triage", "1.0")
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0", "globex/triage@1.0")
            yield stack


@pytest.fixture
def admin(several: Stack) -> Admin:
    return Admin(several.house, several.url, several.http)


def names(document: dict[str, Any]) -> list[str]:
    return [one["version"] for one in document["adapters"]]


def test_an_adapter_is_one_row_of_the_list_with_what_production_points_at(admin: Admin) -> None:
    assert names(admin.get("/adapters", each="adapter")) == [
        "acme/sentiment@1.0", "acme/triage@1.0", "globex/triage@1.0", "keyless/unused@1.0",
    ]  # fmt: skip
    (row,) = admin.get("/adapters", each="adapter", search="acme TRI")["adapters"]
    assert (row["version"], row["versions"], row["aliases"]) == ("acme/triage@1.0", 2, ["production"])
    assert names(admin.get("/adapters", search="triage", tenant="acme")) == ["acme/triage@1.0", "acme/triage@1.1"]
    assert names(admin.get("/adapters", search="no such")) == []


def test_a_search_is_paged_like_everything(admin: Admin) -> None:
    first = admin.get("/adapters", each="adapter", search="triage", limit=1)
    second = admin.get("/adapters", each="adapter", search="triage", limit=1, after=first["next"])
    assert names(first) + names(second) == ["acme/triage@1.0", "globex/triage@1.0"]
    assert second["next"] is None


def test_versions_come_newest_first_with_their_lineage(admin: Admin) -> None:
    document = admin.get("/adapters/acme/triage")
    assert [one["number"] for one in document["versions"]] == ["1.1", "1.0"]
    assert document["total"] == 2
    assert document["versions"][1]["lineage"] == {"source": "test"}
    assert document["versions"][1]["aliases"] == ["production"]
    assert document["versions"][0]["facts"]["rank"] > 0
    newer, unasked = document["quiet"]
    assert newer == {
        "severity": "info",
        "sentence": "acme/triage@1.1 is newer than acme/triage@1.0, which production points at.",
        "remedy": "switchyard adapters promote acme/triage@1.1",
    }
    assert unasked["sentence"] == "Nobody has asked it in the last 7 days."


def test_what_keeps_traffic_away_is_said_the_worst_first_with_the_remedy(several: Stack, admin: Admin) -> None:
    unpointed, _unasked = admin.get("/adapters/acme/sentiment")["quiet"]
    assert unpointed["severity"] == "bad"
    assert unpointed["remedy"] == "switchyard adapters promote acme/sentiment@1.0"
    keyless = admin.get("/adapters/keyless/unused")["quiet"]
    assert {one["remedy"] for one in keyless} >= {"switchyard keys create keyless"}
    registry = several.house.registry
    registry.limits.set("tenant:globex", {"requests_per_minute": 0})
    registry.adapters.quarantine(registry.adapters.get(parse_ref("globex/triage@1.0")).id, "it does nothing")
    several.wait_revision()
    found = admin.get("/adapters/globex/triage")["quiet"]
    assert [one["severity"] for one in found][:2] == ["bad", "bad"]
    said = " ".join(one["sentence"] for one in found)
    assert "The limit requests_per_minute of tenant:globex is 0" in said
    assert "is quarantined: it does nothing" in said
    assert "switchyard quarantine release globex/triage@1.0" in " ".join(one["remedy"] for one in found)


def test_an_adapter_that_is_not_there_is_a_404_by_its_field(admin: Admin) -> None:
    status, error = admin.refused("GET", "/adapters/acme/nothing")
    assert (status, error["param"], error["code"]) == (404, "adapter", "not_found")

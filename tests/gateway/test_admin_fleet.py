"""What the admin API shows of the fleet, in every worker, with and without a controller; and that /docs has it all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.app import Gateway
from tests.support.admin_calls import Admin
from tests.support.fixtures import usual_stack
from tests.support.stack import House, Stack, run_stack, served
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The usual stack, in which nobody has left anything."""
    with usual_stack(tmp_path_factory.mktemp("admin-fleet")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def all_resident(stack: Stack) -> None:
    stack.wait_resident("acme/triage@1.0", "acme/triage@1.1", "globex/sentiment@1.0", "initech/forms@1.0")


def schemas_of(document: dict[str, Any], node: Any, found: set[str]) -> set[str]:
    """Names of every schema that is reached from a part of an OpenAPI document."""
    if isinstance(node, dict):
        if (name := node.get("$ref", "").rpartition("/")[2]) and name not in found:
            found.add(name)
            schemas_of(document, document["components"]["schemas"][name], found)
        for value in node.values():
            schemas_of(document, value, found)
    elif isinstance(node, list):
        for value in node:
            schemas_of(document, value, found)
    return found


def test_the_fleet_is_one_document_of_controller_workers_engines_and_versions_by_name(
    admin: Admin, stack: Stack
) -> None:
    stack.wait_resident("acme/triage@1.0", "globex/sentiment@1.0")
    assert stack.chat("triage").status_code == 200
    fleet = wait_until(
        "the worker to have reported", lambda: (f := admin.get("/fleet"))["workers"][0]["catalog_revision"] and f
    )
    leader, (worker,), (engine,) = fleet["controller"], fleet["workers"], fleet["engines"]
    assert leader["holder"].split("-")[-2] == str(leader["pid"])
    assert leader["token"] >= 1
    assert leader["address"].startswith("unix:")
    assert (worker["linked"], worker["url"]) == (True, stack.url)
    assert worker["pid"] == leader["pid"], "one process does all"
    assert (engine["url"], engine["state"], engine["fault"]) == (stack.engine.url, "up", None)
    assert (engine["base"], engine["platform"], engine["drain"]) == ("tiny", "cpu", None)
    assert engine["boot_s"] > 1_000_000_000
    resident = {entry["version"]: entry for entry in engine["resident"]}
    assert {"acme/triage@1.0", "globex/sentiment@1.0"} <= resident.keys()
    assert resident["acme/triage@1.0"]["name"].startswith("a-")
    assert resident["acme/triage@1.0"]["idle_s"] >= 0
    assert engine["places_used"] == len(resident) + 1, "the zero adapter takes one"


def test_engines_alone_are_the_same_as_in_the_fleet(admin: Admin) -> None:
    (alone,), (within,) = admin.get("/engines")["engines"], admin.get("/fleet")["engines"]
    assert alone.keys() == within.keys()
    assert (alone["url"], alone["boot_s"]) == (within["url"], within["boot_s"])


def test_nothing_that_the_controller_tells_is_dropped_on_the_way(admin: Admin, stack: Stack) -> None:
    told, shown = stack.controller.document(), admin.get("/fleet")
    for part in ("controller", "engines", "workers"):
        one, other = told[part], shown[part]
        if isinstance(one, list):
            one, other = one[0], other[0]
        assert one.keys() <= other.keys()
    assert told.keys() <= shown.keys()
    assert told["engines"][0]["resident"][0].keys() <= shown["engines"][0]["resident"][0].keys()


def test_the_grid_shows_every_wanted_version_on_every_engine(admin: Admin, stack: Stack) -> None:
    stack.wait_resident("acme/triage@1.0")
    assert stack.chat("acme/triage@1.0").status_code == 200
    grid = admin.get("/residency")
    url = stack.engine.url
    assert (grid["engines"], grid["next"]) == ([url], None)
    rows = {row["version"]: row for row in grid["rows"]}
    row = rows["acme/triage@1.0"]
    assert (row["wanted"], row["copies"], row["homes"]) == (True, 1, [url])
    cell = row["engines"][url]
    assert (cell["resident"], cell["home"], cell["strength"]) == (True, True, None)
    assert cell["idle_s"] is not None
    assert list(rows) == sorted(rows)


def test_a_version_that_a_request_waits_for_counts_as_in_flight_on_its_engine(admin: Admin, stack: Stack) -> None:
    stack.faults(token_ms=50)
    with stack.http.stream(
        "POST",
        f"{stack.url}/v1/completions",
        json={"model": "triage", "prompt": "x", "max_tokens": 20, "min_tokens": 20, "stream": True},
        headers={"Authorization": f"Bearer {stack.house.keys['acme']}"},
    ) as answer:
        assert answer.status_code == 200
        wait_until("it to be counted", lambda: admin.get("/engines")["engines"][0]["in_flight"] == 1)
        rows = {row["version"]: row for row in admin.get("/residency")["rows"]}
        assert rows["acme/triage@1.0"]["engines"][stack.engine.url]["in_flight"] == 1
        answer.read()


def test_adapters_come_with_aliases_state_and_where_they_are_page_by_page(admin: Admin, stack: Stack) -> None:
    stack.wait_resident("acme/triage@1.0")
    whole = admin.get("/adapters")["adapters"]
    names = [one["version"] for one in whole]
    assert names == [
        *(f"acme/triage@1.{minor}" for minor in range(3)),
        "globex/sentiment@1.0",
        "initech/forms@1.0",
    ]
    assert (whole[0]["aliases"], whole[0]["state"], whole[0]["reason"]) == (["production"], "ok", None)
    assert whole[0]["resident_on"] == [stack.engine.url]
    assert (whole[2]["aliases"], whole[2]["base"]) == ([], "tiny")
    page = admin.get("/adapters", limit=2)
    assert page["next"] == "acme/triage@1.1"
    rest = admin.get("/adapters", limit=2, after=page["next"])
    assert [one["version"] for one in page["adapters"] + rest["adapters"]] == names[:4]
    only = admin.get("/adapters", tenant="globex")
    assert [one["version"] for one in only["adapters"]] == ["globex/sentiment@1.0"]


def test_a_page_that_begins_nowhere_is_refused_with_the_field(admin: Admin) -> None:
    status, error = admin.refused("GET", "/adapters", params={"after": "acme/triage"})
    assert (status, error["code"], error["param"]) == (400, "invalid_input", "after")
    status, error = admin.refused("GET", "/adapters", params={"limit": 0})
    assert (status, error["code"], error["param"]) == (400, "invalid_request", "limit")
    assert "limit in the query is '0'; expected 1 or more." in error["message"]


def test_a_share_of_a_split_is_shown_with_the_version_that_gets_it(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.split("acme/triage", {"1.0": 7500, "1.1": 2500})
    with run_stack(house) as stack:
        stack.wait_revision()
        shares = [one["shares"] for one in Admin(house, stack.url, stack.http).get("/adapters")["adapters"]]
    assert shares == [{"production": 75.0}, {"production": 25.0}]


def test_without_a_controller_what_only_it_knows_is_a_503_and_the_rest_is_answered(house: House) -> None:
    house.publish("acme/triage")
    house.settings = house.settings.model_copy(update={"engines": ["http://127.0.0.1:9"]})
    with served(Gateway(house.settings, leads=False)) as url, httpx.Client(timeout=DEADLINE_S) as http:
        admin = Admin(house, url, http)
        for path in ("/fleet", "/engines", "/residency"):
            answer = admin.ask("GET", path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "controller_away")
            assert answer.headers["retry-after"] == "1"
        assert [one["version"] for one in admin.get("/adapters")["adapters"]] == ["acme/triage@1.0"]
        assert admin.get("/quarantine") == {"quarantined": []}
        assert admin.post("/engines/drain", url="http://127.0.0.1:9/")["url"] == "http://127.0.0.1:9"


def test_docs_have_every_admin_route_and_say_of_every_field_what_it_is(stack: Stack) -> None:
    document = stack.http.get(f"{stack.url}/openapi.json", headers=stack.operator).json()
    routes = [route for route in stack.routes() if route.path.startswith("/admin/v1/")]
    assert len(routes) > 22
    unsaid: set[str] = set()
    for route in routes:
        for method in route.methods:
            operation = document["paths"][route.path_format][method.lower()]
            assert operation["tags"] == ["admin"]
            assert operation["description"]
            assert operation["security"] == [{"Operator's key": []}]
            good = next(answer for status, answer in operation["responses"].items() if status in ("200", "201", "202"))
            streams = "text/event-stream" in good["content"]  # its events are those of another address
            assert streams or good["content"]["application/json"]["schema"]["$ref"]
            for name in schemas_of(document, operation, set()):
                for field, schema in document["components"]["schemas"][name]["properties"].items():
                    referred = "$ref" in schema or "$ref" in schema.get("items", {})
                    if not referred and not schema.get("description"):
                        unsaid.add(f"{name}.{field}")
    assert not unsaid, f"give each a Field(description=…): {sorted(unsaid)}"

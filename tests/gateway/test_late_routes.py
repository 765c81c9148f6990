"""The admin API's routes are there when they are asked for, and cost nobody else's start anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fastapi.routing import APIRoute

from tests.support.stack import House, Stack, run_stack


def of_operators(stack: Stack) -> int:
    routes = (one for one in stack.gateway.web.routes if isinstance(one, APIRoute))
    return sum(route.path.startswith("/admin/v1") for route in routes)


def test_they_are_made_once_for_the_first_who_ask_and_not_for_tenants(house: House) -> None:
    with run_stack(house) as stack:
        for path in ("/v1/models", "/v1/nothing", "/readyz", "/healthz", "/metrics"):
            stack.http.get(f"{stack.url}{path}", headers={"Authorization": f"Bearer {house.keys['acme']}"})
        assert of_operators(stack) == 0
        with ThreadPoolExecutor(4) as pool:  # at once
            asked = pool.map(lambda _: stack.http.get(f"{stack.url}/admin/v1/fleet", headers=stack.operator), range(4))
            assert [answer.status_code for answer in asked] == [200] * 4
        made = of_operators(stack)
        assert made > 22
        hint = stack.http.get(f"{stack.url}/v1/admin/v1/fleet").json()["error"]["message"]
        assert "Did you mean /admin/v1/fleet?" in hint
        assert of_operators(stack) == made

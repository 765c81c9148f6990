"""All models of a key: made once, as bytes, and made anew when something of its own has changed."""

from __future__ import annotations

import orjson

from gateway.api.cards import Cards
from gateway.api.listings import MOST_BYTES, Listing, Listings
from gateway.desk import Desk
from gateway.house import House
from gateway.steps.authenticate import authenticate
from tests.support.stack import Stack, open_house, run, run_stack


def house_of(stack: Stack) -> House:
    assert stack.gateway.house is not None
    return stack.gateway.house


def list_all(stack: Stack, listings: Listings, key: str = "acme") -> Listing:
    house = house_of(stack)
    catalog = house.catalog.current
    return run(listings.of(authenticate(stack.house.keys[key], catalog), catalog, house.fleet.view()))


def test_the_list_is_all_cards_and_is_made_again_only_when_they_change(stack: Stack) -> None:
    desk = Desk()
    listings, house = Listings(desk), house_of(stack)
    first = list_all(stack, listings)
    catalog = house.catalog.current
    principal = authenticate(stack.house.keys["acme"], catalog)
    cards = [*Cards(principal, catalog, house.fleet.view()).all()]
    assert orjson.loads(first.document) == {"object": "list", "data": cards}
    assert [*first.places] == [card["id"] for card in cards]
    assert list_all(stack, listings) is first
    stack.house.tenant("elsewhere")
    stack.house.publish("elsewhere/other")
    stack.wait_revision()
    again = list_all(stack, listings)
    assert again.document is first.document, "what another tenant changes makes no work"
    stack.house.publish("acme/novel")
    stack.wait_revision()
    last = list_all(stack, listings)
    assert last.places.keys() - first.places.keys() == {"acme/novel@1.0"}
    desk.close()


def test_what_is_kept_is_bounded_and_what_nobody_asks_for_is_forgotten(stack: Stack) -> None:
    desk = Desk()
    listings = Listings(desk)
    newest = list_all(stack, listings)
    catalog = newest.catalog
    principal = authenticate(stack.house.keys["acme"], catalog)
    for number in range(100):
        large = Listing(b"x" * (MOST_BYTES // 10), {}, catalog, b"")
        listings._keep(principal._replace(tenant=f"t{number}"), large)
    assert sum(len(one.document) for one in listings._by_key.values()) <= MOST_BYTES
    for one in listings._by_key.values():
        one.asked_s -= 1_000
    listings._keep(principal, newest)
    assert [*listings._by_key] == [("acme", principal.scopes, None)]
    desk.close()


def test_to_list_is_a_request_as_any_other(tmp_path: object, tmp_path_factory: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    with open_house(tmp_path) as house:
        house.tenant("acme")
        house.registry.limits.set("tenant:acme", {"requests_per_minute": 2})
        with run_stack(house) as stack:
            headers = {"Authorization": f"Bearer {house.keys['acme']}"}
            statuses = [stack.http.get(f"{stack.url}/v1/models", headers=headers).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]

"""Tenants' keys that have an end, and that are rotated: with an overlap, or at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from registry.db import now_ms
from registry.errors import Conflict, InvalidInput, RegistryError
from registry.service import Registry
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import House, Stack

__all__ = ["run"]


def code_of(stack: Stack, key: str) -> str | None:
    """What a chat with the key is refused with; `None`: it is answered."""
    answer = stack.chat("acme/triage", key=key)
    return None if answer.status_code == 200 else str(answer.json()["error"]["code"])


def test_a_rotated_key_goes_on_for_as_long_as_was_said_and_the_new_one_has_its_scopes(
    stack: Stack, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.wait_ready()
    old = admin.post("/keys", tenant="acme", label="shop", scopes=["inference", "base"])
    new = admin.post(f"/keys/{old['id']}/rotate", keep_old_s=3_600)
    assert (new["label"], new["scopes"], new["tenant"]) == ("shop", ["inference", "base"], "acme")
    assert (new["secret"] != old["secret"], new["expires_at_ms"], new["in_force"]) == (True, None, True)
    ends_ms = admin.get(f"/keys/{old['id']}")["expires_at_ms"]
    assert 0 < ends_ms - now_ms() <= 3_600_000
    assert [code_of(stack, key["secret"]) for key in (old, new)] == [None, None]
    monkeypatch.setattr("gateway.steps.authenticate.time", SimpleNamespace(time=lambda: ends_ms / 1000))
    assert [code_of(stack, key["secret"]) for key in (old, new)] == ["expired_api_key", None]


def test_a_key_that_is_rotated_without_an_overlap_ends_at_once(stack: Stack, admin: Admin) -> None:
    stack.wait_ready()
    old = admin.post("/keys", tenant="acme")
    new = admin.post(f"/keys/{old['id']}/rotate")
    assert [code_of(stack, key["secret"]) for key in (old, new)] == ["invalid_api_key", None]
    status, error = admin.refused("POST", f"/keys/{old['id']}/rotate", json={})
    assert (status, error["message"]) == (409, f"key {old['id']} is over; create another one")


def test_a_key_may_be_made_with_an_end(admin: Admin) -> None:
    key = admin.post("/keys", tenant="acme", expires="2999-01-01")
    assert key["expires_at_ms"] == 32_472_144_000_000
    assert admin.refused("POST", "/keys", json={"tenant": "acme", "expires": "2020-01-01"})[1]["param"] == "expires"


def test_a_rotation_keeps_an_earlier_end_and_its_bounds(house: House) -> None:
    tenants = house.registry.tenants
    soon_ms = now_ms() + 60_000
    old = tenants.create_key("acme", expires_at_ms=soon_ms)
    new = tenants.rotate_key(old.id, keep_old_s=3_600)
    assert [tenants.get_key(one.id).expires_at_ms for one in (old, new)] == [soon_ms, soon_ms]
    with pytest.raises(InvalidInput, match="keep_old is -1; expected 0 to 7776000 seconds"):
        tenants.rotate_key(new.id, keep_old_s=-1)
    tenants.revoke_key(new.id)
    with pytest.raises(Conflict, match="is over"):
        tenants.rotate_key(new.id)


def test_the_command_rotates_and_shows_when_the_old_key_ends(run: Run) -> None:
    run("tenants", "create", "acme")
    old = run("keys", "create", "acme", "--label", "shop", "--expires", "2999-01-01", "--json").document
    new = run("keys", "rotate", old["id"], "--keep-old", "24", "--json").document
    assert new["secret"] != old["secret"]
    listed = {one["id"]: one for one in run("keys", "list", "--json").document}
    assert listed[old["id"]]["expires_at_ms"] < listed[new["id"]]["expires_at_ms"] == 32_472_144_000_000
    said = run("keys", "rotate", new["id"], "--keep-old", "24").out
    assert said.startswith("sk-")
    assert f"The old key {new['id']} works until " in said
    assert f"The old key {old['id']} is revoked." in run("keys", "rotate", old["id"]).out
    assert run("keys", "rotate", old["id"]).status == 1


def test_a_secret_is_shown_whatever_fails_once_it_is_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("tenants", "create", "acme")
    old = run("keys", "create", "acme", "--json").document

    def fail(_: Registry) -> None:
        raise RegistryError("the database is away")

    monkeypatch.setattr(Registry, "wait_until_served", fail)
    for command in (
        ("keys", "create", "acme"),
        ("keys", "rotate", old["id"]),
        ("operators", "add", "a", "--role=read"),
    ):
        done = run(*command)
        assert (done.status, done.out[:3], "the database is away" in done.err) == (1, "sk-", True)

"""Tenants, their external model names, and keys that are stored only as hashes."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from registry.errors import Conflict, InvalidInput, NotFound
from registry.service import Registry
from registry.tenants.store import hash_secret
from tests.registry.conftest import Shop

BAD_NAMES = ["", "Acme", "ac me", "-acme", "acme/x", "acme@x", "acme\n", "ácme", "a_b", "a.b", "x" * 64, "../etc"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_tenant_name_is_refused_with_the_rule(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 63 characters a-z, 0-9 and '-'") as refused:
        registry.tenants.create(name)
    assert refused.value.param == "tenant"


@pytest.mark.parametrize("name", ["a", "0", "a-b-c", "9lives", "x" * 63])
def test_a_good_tenant_name_is_taken_once(registry: Registry, name: str) -> None:
    registry.tenants.create(name)
    with pytest.raises(Conflict, match="exists already"):
        registry.tenants.create(name)


def test_a_key_is_sk_and_256_random_bits_and_never_the_same(registry: Registry) -> None:
    secrets = {registry.tenants.create_key("acme").secret for _ in range(20)}
    assert len(secrets) == 20
    for secret in secrets:
        assert secret.startswith("sk-")
        assert len(base64.urlsafe_b64decode(secret.removeprefix("sk-") + "=")) * 8 == 256


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_secret_is_nowhere_in_the_state_folder(registry: Registry, state_dir: Path) -> None:
    key = registry.tenants.create_key("acme", label="ci")
    stored = b"".join(path.read_bytes() for path in state_dir.rglob("*") if path.is_file())
    assert hashlib.sha256(key.secret.encode()).hexdigest().encode() in stored
    assert key.secret.encode() not in stored
    assert key.secret.removeprefix("sk-")[4:-4].encode() not in stored


def test_a_listed_key_shows_too_little_to_guess_it(registry: Registry) -> None:
    key = registry.tenants.create_key("acme", label="ci", scopes=("inference", "base"))
    (listed,) = registry.tenants.list_keys()
    assert (listed.id, listed.tenant, listed.label, listed.scopes) == (key.id, "acme", "ci", ("inference", "base"))
    assert listed.shown == f"{key.secret[:6]}…{key.secret[-4:]}"
    assert listed.revoked_at_ms is None


def test_a_key_is_looked_up_by_the_hash_of_its_secret(registry: Registry) -> None:
    key = registry.tenants.create_key("acme")
    entry = registry.catalog().keys[hash_secret(key.secret)]
    assert (entry.key_id, entry.tenant, entry.scopes) == (key.id, "acme", frozenset({"inference", "training"}))
    assert entry.allow_unknown_fields is False


def test_hashing_takes_whatever_a_header_may_hold() -> None:
    assert len(hash_secret("\ud800 \x00 é")) == 32


def test_a_revoked_key_leaves_the_catalog_and_stays_in_the_list(registry: Registry) -> None:
    gone, kept = registry.tenants.create_key("acme"), registry.tenants.create_key("acme")
    registry.tenants.revoke_key(gone.id)
    first = {key.id: key.revoked_at_ms for key in registry.tenants.list_keys()}
    assert set(registry.catalog().keys) == {hash_secret(kept.secret)}
    assert first[gone.id] is not None
    assert first[kept.id] is None
    registry.tenants.revoke_key(gone.id)
    assert {key.id: key.revoked_at_ms for key in registry.tenants.list_keys()} == first


def test_keys_are_listed_by_tenant(registry: Registry) -> None:
    ours, theirs = registry.tenants.create_key("acme"), registry.tenants.create_key("globex")
    assert [key.id for key in registry.tenants.list_keys("acme")] == [ours.id]
    assert {key.id for key in registry.tenants.list_keys()} == {ours.id, theirs.id}


@pytest.mark.parametrize("scopes", [(), ("admin",), ("inference", "everything"), ("Inference",)])
def test_unknown_scopes_are_refused(registry: Registry, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="choose from inference, base"):
        registry.tenants.create_key("acme", scopes=scopes)
    assert registry.tenants.list_keys() == []


def test_what_does_not_exist_is_told_with_the_remedy(registry: Registry) -> None:
    with pytest.raises(NotFound, match="switchyard tenants create nobody"):
        registry.tenants.create_key("nobody")
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        registry.tenants.list_keys("nobody")
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        registry.model_names.map("nobody", "gpt-4o", "triage")
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        registry.tenants.change("nobody", {"allow_unknown_fields": True})
    with pytest.raises(NotFound, match="switchyard keys list"):
        registry.tenants.revoke_key("key-0")


def test_unknown_fields_are_refused_until_a_tenant_is_set_otherwise(registry: Registry) -> None:
    key = registry.tenants.create_key("acme")
    assert registry.tenants.create("initech", allow_unknown_fields=True).allow_unknown_fields
    assert registry.tenants.change("acme", {"allow_unknown_fields": True}).allow_unknown_fields
    assert registry.catalog().keys[hash_secret(key.secret)].allow_unknown_fields


def test_an_external_name_maps_and_maps_anew_and_is_forgotten(shop: Shop) -> None:
    tenants, model_names = shop.registry.tenants, shop.registry.model_names
    shop.versions(1)
    for alias in ("production", "canary"):
        shop.promote("acme/triage@1.0", alias)
    model_names.map("acme", "ft:gpt-4o-mini:acme::1", "triage")
    model_names.map("acme", "ft:gpt-4o-mini:acme::1", "triage@canary")
    model_names.map("globex", "gpt-4o", "tiny")
    assert {tenant.name: tenant.models for tenant in tenants.all()} == {
        "acme": {"ft:gpt-4o-mini:acme::1": "triage@canary"},
        "globex": {"gpt-4o": "tiny"},
    }
    assert shop.registry.catalog().external["globex", "gpt-4o"] == "tiny"
    model_names.unmap("globex", "gpt-4o")
    assert ("globex", "gpt-4o") not in shop.registry.catalog().external
    with pytest.raises(NotFound, match="no mapping for 'gpt-4o'"):
        model_names.unmap("globex", "gpt-4o")


@pytest.mark.parametrize("external", ["", "x" * 257, "a\nb", "nul\0", "bell\x07"])
def test_an_external_name_must_be_printable_and_not_too_long(registry: Registry, external: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 256 printable"):
        registry.model_names.map("acme", external, "triage")

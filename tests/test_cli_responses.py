"""The commands about stored responses."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from registry.db import now_ms
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.registry.test_responses import said, save, turn
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]


@pytest.fixture
def shop(done: Run, tmp_path: Path) -> Run:
    """Two responses and a conversation of acme's, one of the responses long ago."""
    done("tenants", "create", "acme")
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        save(registry, turn("resp_1"), turn("resp_2", created_at_ms=now_ms() - 10 * 86_400_000))
        registry.conversations.create("acme", [said("Hi")], {})
    return done


def test_what_is_stored_is_counted_by_tenant(shop: Run) -> None:
    (listed,) = shop("responses", "list", "--json").document
    assert (listed["tenant"], listed["responses"]) == ("acme", 2)
    assert listed["bytes"] > 100
    assert "acme" in shop("responses", "list", "--tenant", "acme").out


def test_a_tenants_responses_are_deleted_by_age_and_all(shop: Run) -> None:
    assert shop("responses", "delete", "--tenant", "acme", "--older-than-days", "9", "--json").document["deleted"] == 1
    assert "deleted 2 of acme" in shop("responses", "delete", "--tenant", "acme").out
    assert shop("responses", "list", "--json").document == []
    assert "nothing is stored" in shop("responses", "list").out


def test_nobodys_responses_are_refused(run: Run, shop: Run) -> None:
    for command in (("list", "--tenant", "nobody"), ("delete", "--tenant", "nobody")):
        outcome = run("responses", *command)
        assert outcome.status == 1
        assert "there is no tenant 'nobody'" in outcome.err


def test_a_new_key_is_put_before_the_old_one_and_everything_is_written_anew(
    shop: Run, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", key)
    refused = run("responses", "reseal")
    assert refused.status == 1
    assert "add `,plain` to SWITCHYARD_STORE_KEY" in refused.err
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", f"{key},plain")
    assert shop("responses", "reseal", "--json").document == {"resealed": 4}
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "secret")
    refused = run("responses", "list")
    assert refused.status == 1
    assert "openssl rand -base64 32" in refused.err
    assert "secret" not in refused.err


def test_how_long_a_tenants_responses_are_kept_is_a_setting_of_its_own(run: Run, done: Run) -> None:
    done("tenants", "create", "acme")
    assert "kept 7 days" in done("tenants", "set", "acme", "--response-days", "7").out
    assert "7 days" in done("tenants", "list").out
    assert "kept never" in done("tenants", "set", "acme", "--response-days", "0").out
    set_back = done("tenants", "set", "acme", "--response-days", "default", "--json").document
    assert set_back["response_days"] is None
    for given in ("soon", "-1", "1e3", "99999999"):
        assert run("tenants", "set", "acme", f"--response-days={given}").status in (1, 2)
    assert "name a setting" in run("tenants", "set", "acme").err

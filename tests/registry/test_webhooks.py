"""Webhooks: who is told of what, once, whoever delivers it."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from openai import OpenAI

from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.responses.sealing import Keyring
from registry.service import Registry
from registry.webhooks import endpoints
from registry.webhooks import outbox as outbox_module
from registry.webhooks.endpoints import EVENT_TYPES, NoSuchEndpoint, WebhookEndpoint, WebhookEndpoints
from registry.webhooks.outbox import Delivery, Outbox, add_event
from registry.webhooks.signing import new_secret, signed_headers
from tests.support.outbox import undelivered
from tests.support.training_parts import running

SUCCEEDED, FAILED, CANCELLED, *_ = EVENT_TYPES
URL = "https://hooks.example.com/x"
LEASE_MS, YEAR_MS = 60_000, 365 * DAY_MS


@pytest.fixture
def hooks(registry: Registry) -> WebhookEndpoints:
    return registry.webhooks


def happens(registry: Registry, *tenants: str, type: str = SUCCEEDED) -> None:
    with registry.db.write() as session:
        for tenant in tenants:
            add_event(session, tenant, type, {"id": "ftjob-1"})


def taken(outbox: Outbox, most_of_one: int = 10, lease_ms: int = LEASE_MS, **busy: int) -> list[Delivery]:
    return outbox.take_up(10, lease_ms, most_of_one=most_of_one, busy=busy)


def make(hooks: WebhookEndpoints, tenant: str = "acme", *types: str) -> tuple[WebhookEndpoint, str]:
    return hooks.create(tenant, "mine", URL, types or EVENT_TYPES)


def test_a_secret_is_seen_once_and_signs_what_openais_client_accepts(
    hooks: WebhookEndpoints, registry: Registry
) -> None:
    endpoint, secret = make(hooks)
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret[6:])) == 32
    assert endpoint.hint == f"…{secret[-4:]}"
    assert hooks.get("acme", endpoint.id) == endpoint
    happens(registry, "acme")
    (delivery,) = taken(registry.outbox)
    assert (delivery.url, delivery.secrets, delivery.attempts) == (URL, (secret,), 1)
    document = orjson.loads(delivery.body)
    assert (document["id"], document["object"], document["type"], document["data"]) == (
        delivery.event_id,
        "event",
        SUCCEEDED,
        {"id": "ftjob-1"},
    )
    headers = signed_headers(delivery.event_id, document["created_at"], delivery.body, delivery.secrets)
    assert OpenAI(api_key="x").webhooks.unwrap(delivery.body, headers, secret=secret).type == SUCCEEDED


def test_several_secrets_sign_and_one_of_any_other_form_too() -> None:
    client = OpenAI(api_key="x")
    secrets = (new_secret(), "hush")
    headers = signed_headers("evt-1", 2_000_000_000, b"{}", secrets)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in secrets:
        client.webhooks.verify_signature(b"{}", headers, secret=secret, tolerance=10**9)
    assert "webhook-signature" not in signed_headers("evt-1", 1, b"{}", ())


def test_who_wants_an_event_gets_it_and_nobody_else(hooks: WebhookEndpoints, registry: Registry) -> None:
    make(hooks, "acme", FAILED)
    mine, _ = make(hooks, "acme", SUCCEEDED, CANCELLED)
    make(hooks, "globex")
    happens(registry, "acme")
    (delivery,) = taken(registry.outbox)
    assert (delivery.endpoint_id, delivery.tenant) == (mine.id, "acme")


@pytest.mark.parametrize("ends", ["succeeded", "failed", "cancelled"])
def test_the_end_of_a_job_is_told_with_it(hooks: WebhookEndpoints, registry: Registry, ends: str) -> None:
    make(hooks)
    jobs = registry.training
    job = running(jobs)
    if ends == "cancelled":
        jobs.order("acme", job.id, "cancel")
        jobs.order("acme", job.id, "cancel")
    else:
        jobs.finish(job.id, "w-1", ends)  # type: ignore[arg-type]
    (delivery,) = taken(registry.outbox)
    document = orjson.loads(delivery.body)
    assert (document["type"], document["data"]) == (f"fine_tuning.job.{ends}", {"id": job.id})


def test_of_many_that_want_to_deliver_at_once_one_does(hooks: WebhookEndpoints, registry: Registry) -> None:
    make(hooks)
    happens(registry, "acme", "acme")
    with ThreadPoolExecutor(4) as pool:
        found = [one for some in pool.map(lambda _: taken(registry.outbox), range(8)) for one in some]
    assert len({one.event_id for one in found}) == len(found) == 2


def test_what_was_taken_up_by_one_that_died_is_due_again_when_its_lease_ends(
    hooks: WebhookEndpoints, registry: Registry
) -> None:
    make(hooks)
    happens(registry, "acme")
    assert len(taken(registry.outbox, lease_ms=0)) == 1
    assert [one.attempts for one in taken(registry.outbox)] == [2]
    assert taken(registry.outbox) == []


def test_what_was_put_off_before_the_clock_was_put_back_is_tried_now(
    hooks: WebhookEndpoints, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(hooks)
    with monkeypatch.context() as ahead:
        ahead.setattr(outbox_module, "now_ms", lambda: now_ms() + YEAR_MS)
        happens(registry, "acme")
        (delivery,) = taken(registry.outbox)
        registry.outbox.settle(delivery, "status 500", wait_ms=LEASE_MS)
    assert [one.attempts for one in taken(registry.outbox)] == [2]
    assert taken(registry.outbox) == []


def test_what_is_delivered_is_not_due_and_what_failed_is_after_its_wait(
    hooks: WebhookEndpoints, registry: Registry
) -> None:
    endpoint, _ = make(hooks)
    happens(registry, "acme", "acme", "acme")
    outbox = registry.outbox
    first, second, third = taken(outbox)
    outbox.settle(first, None)
    assert hooks.get("acme", endpoint.id).fault is None
    outbox.settle(second, "status 500", wait_ms=0)
    outbox.settle(third, "status 500", wait_ms=LEASE_MS)
    told = hooks.get("acme", endpoint.id)
    assert (told.fault, told.tried_at_ms is not None) == ("status 500", True)
    assert [(one.event_id, one.attempts) for one in taken(outbox)] == [(second.event_id, 2)]
    assert undelivered(outbox) == 2


def test_a_tenant_that_has_many_under_way_gets_no_more_and_others_do(
    hooks: WebhookEndpoints, registry: Registry
) -> None:
    make(hooks)
    make(hooks, "globex")
    happens(registry, *["acme"] * 5, "globex")
    first = taken(registry.outbox, most_of_one=2)
    assert [one.tenant for one in first] == ["acme", "acme", "globex"]
    assert taken(registry.outbox, most_of_one=2, acme=2, globex=1) == []
    assert len(taken(registry.outbox, most_of_one=2, acme=1)) == 1


def test_what_is_given_up_is_swept(
    hooks: WebhookEndpoints, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.webhooks import outbox

    make(hooks)
    monkeypatch.setattr(outbox, "KEPT_MS", 0)
    happens(registry, "acme")
    assert taken(registry.outbox) == []
    assert registry.outbox.sweep() == 1
    assert registry.outbox.sweep() == 0


def test_a_rotated_secret_may_sign_for_a_day_beside_the_new_one(hooks: WebhookEndpoints, registry: Registry) -> None:
    endpoint, old = make(hooks)
    _, new = hooks.rotate("acme", endpoint.id, keep_old_for_a_day=True)
    happens(registry, "acme")
    assert taken(registry.outbox)[0].secrets == (new, old)
    _, newest = hooks.rotate("acme", endpoint.id)
    happens(registry, "acme")
    assert taken(registry.outbox)[0].secrets == (newest,)


def test_secrets_are_sealed_and_written_anew_with_a_new_key(hooks: WebhookEndpoints, registry: Registry) -> None:
    endpoint, _ = make(hooks)
    hooks.rotate("acme", endpoint.id, keep_old_for_a_day=True)
    key = base64.b64encode(b"k" * 32).decode()
    keyed = registry.retention.__class__(registry.db, Keyring(f"{key},plain"))
    assert keyed.reseal() == 2
    happens(registry, "acme")
    assert len(taken(Outbox(registry.db, Keyring(key)))[0].secrets) == 2
    happens(registry, "acme")
    (unreadable,) = taken(registry.outbox)
    assert unreadable.secrets == (), "and so nothing is sent"


def test_another_tenants_endpoint_is_none(hooks: WebhookEndpoints) -> None:
    endpoint, _ = make(hooks)
    for refused in (
        lambda: hooks.get("globex", endpoint.id),
        lambda: hooks.change("globex", endpoint.id, name="x"),
        lambda: hooks.rotate("globex", endpoint.id),
        lambda: hooks.secret_of("globex", endpoint.id),
        lambda: hooks.delete("globex", endpoint.id),
        lambda: hooks.page("globex", endpoint.id, 10),
        lambda: hooks.get("acme", "we-\0"),
    ):
        with pytest.raises(NoSuchEndpoint):
            refused()
    assert hooks.page("globex", None, 10) == []
    assert hooks.get(None, endpoint.id) == endpoint


def test_endpoints_come_in_pages_and_change_and_go(hooks: WebhookEndpoints, registry: Registry) -> None:
    made = [make(hooks)[0].id for _ in range(3)]
    first = [one.id for one in hooks.page("acme", None, 2)]
    second = [one.id for one in hooks.page("acme", first[-1], 2)]
    assert (len(first), sorted(first + second)) == (2, sorted(made))
    changed = hooks.change("acme", made[0], url="https://other.example.com", event_types=[FAILED])
    assert (changed.url, changed.event_types, changed.name) == ("https://other.example.com", (FAILED,), "mine")
    happens(registry, "acme")
    hooks.delete("acme", made[1])
    assert [one.endpoint_id for one in taken(registry.outbox)] == [made[2]]


@pytest.mark.parametrize(
    ("name", "url", "types", "said"),
    [
        ("", URL, EVENT_TYPES, "name is ''"),
        ("x" * 101, URL, EVENT_TYPES, "name is 'xxx"),
        ("a\nb", URL, EVENT_TYPES, "name is"),
        ("x", "hooks.example.com", EVENT_TYPES, "url is 'hooks"),
        ("x", "ftp://hooks.example.com", EVENT_TYPES, "url is 'ftp"),
        ("x", "https://h:0/", EVENT_TYPES, "url is"),
        ("x", "https://[::1", EVENT_TYPES, "url is"),
        ("x", "https://me:pass@hooks.example.com", EVENT_TYPES, "url has a user's name"),
        ("x", "https://hooks.example.com/" + "x" * 2_000, EVENT_TYPES, "url is"),
        ("x", URL, (), "event_types is empty"),
        ("x", URL, ("batch.completed",), "event_types has 'batch.completed'"),
    ],
)
def test_what_cannot_be_told_is_refused(
    hooks: WebhookEndpoints, name: str, url: str, types: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        hooks.create("acme", name, url, types)
    assert refused.value.message.startswith(said)


def test_a_tenant_has_so_many_endpoints(hooks: WebhookEndpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 1)
    make(hooks)
    with pytest.raises(InvalidInput, match="may have 1"):
        make(hooks)
    make(hooks, "globex")
    with pytest.raises(NotFound):
        make(hooks, "nobody")


def test_an_endpoint_has_so_many_deliveries_and_no_more_however_many_jobs_end(
    hooks: WebhookEndpoints, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.webhooks.outbox.MOST_KEPT", 3)
    make(hooks)
    make(hooks, "globex")
    happens(registry, *["acme"] * 5, "globex")
    assert sorted(delivery.tenant for delivery in taken(registry.outbox)) == ["acme"] * 3 + ["globex"]

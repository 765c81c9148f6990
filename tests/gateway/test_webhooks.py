"""Webhooks of tenants: OpenAI's client makes and checks them, they are tried until taken, and reach no private host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any, cast

import openai
import pytest
from openai import OpenAI

from gateway.webhooks.addresses import NotAllowed, check_address
from gateway.webhooks.courier import LEASE_MS, LONGEST_WAIT_S, OF_ONE_TENANT, Courier, wait_ms
from gateway.webhooks.sender import Destinations
from registry.names import SYSTEM
from registry.training.jobs import JobError, JobOrder, TrainingJob
from registry.webhooks.outbox import FURTHEST_MS, Delivery, add_event
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import House, Stack, open_house, run_stack
from tests.support.training_worker import FakeWorker
from tests.support.waiting import wait_until, wait_until_async
from tests.support.webhook_host import WebhookHost, webhook_host

__all__ = ["run"]
TYPES: list[Any] = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
NO_ENDPOINT = "we-000000000000000000000000"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Tenants' webhooks may lie on this machine."""
    with open_house(tmp_path_factory.mktemp("webhooks"), webhook_networks=["127.0.0.0/8"]) as house:
        house.tenant("acme")
        house.tenant("globex")
        with run_stack(house, engines=[], waits=False) as stack:
            yield stack


@pytest.fixture
def sdk(local: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{local.url}/v1", api_key=local.house.keys["acme"], max_retries=0) as client:
        yield client
    for endpoint in local.house.registry.webhooks.page(None, None, 100):
        local.house.registry.webhooks.delete(None, endpoint.id)
    FakeWorker(local.house).drop_all()


@pytest.fixture
def host() -> Iterator[WebhookHost]:
    with webhook_host() as host:
        yield host


def job(stack: Stack, tenant: str = "acme", **fields: Any) -> TrainingJob:
    order = JobOrder(tenant=tenant, model="tiny", base="tiny", training_file="file-1", **fields)
    return stack.house.registry.training.create(order)


def test_every_end_of_a_job_is_told_and_openais_client_accepts_it(sdk: OpenAI, local: Stack, host: WebhookHost) -> None:
    endpoint = sdk.webhooks.create(name="mine", url=host.url, event_types=TYPES)
    worker = FakeWorker(local.house)
    made = [job(local, seed=seed) for seed in range(3)]
    worker.succeed(worker.train())
    worker.fail(worker.claim().job, JobError("x", "y"))
    sdk.fine_tuning.jobs.cancel(made[2].id)
    wait_until("three deliveries", lambda: len(host.bodies) == 3)
    events = [
        sdk.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
        for body, headers in zip(host.bodies, host.headers, strict=True)
    ]
    assert {(event.type, cast("Any", event.data).id) for event in events} == set(
        zip(TYPES, [one.id for one in made], strict=True)
    )
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk.webhooks.unwrap(host.bodies[0], host.headers[0], secret="whsec_" + "A" * 44)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk.webhooks.unwrap(host.bodies[0] + b" ", host.headers[0], secret=endpoint.signing_secret)


def test_what_is_not_taken_is_sent_again_and_the_endpoint_says_so(sdk: OpenAI, local: Stack, host: WebhookHost) -> None:
    host.statuses = [500]
    endpoint = sdk.webhooks.create(name="mine", url=host.url, event_types=TYPES[2:])
    sdk.fine_tuning.jobs.cancel(job(local).id)

    def last() -> Any:
        return cast("Any", sdk.webhooks.retrieve(endpoint.id)).switchyard

    wait_until("the fault", lambda: last()["fault"] == "status 500")
    wait_until("the second try", lambda: host.bodies)
    wait_until("the note of it", lambda: last()["fault"] is None)
    assert last()["tried_at"] is not None
    assert host.calls == 2


def test_a_tenant_whose_host_hangs_holds_up_nobody_else(sdk: OpenAI, local: Stack, host: WebhookHost) -> None:
    with webhook_host() as hanging:
        hanging.hangs = True
        sdk.webhooks.create(name="slow", url=hanging.url, event_types=TYPES)
        for seed in range(2 * OF_ONE_TENANT):
            sdk.fine_tuning.jobs.cancel(job(local, seed=seed).id)
        wait_until("the calls", lambda: hanging.calls == OF_ONE_TENANT)
        local.house.registry.webhooks.create("globex", "quick", host.url)
        local.house.registry.training.order("globex", job(local, "globex").id, "cancel")
        wait_until("the other tenant's event", lambda: host.bodies)
        assert hanging.calls == OF_ONE_TENANT


def test_endpoints_are_made_changed_listed_and_deleted_by_openais_client(sdk: OpenAI) -> None:
    made = [sdk.webhooks.create(name=f"n{n}", url=f"https://h{n}.example.com", event_types=TYPES) for n in range(3)]
    assert made[0].object == "webhook_endpoint"
    assert made[0].signing_secret_hint == f"…{made[0].signing_secret[-4:]}"
    listed = list(sdk.webhooks.list(limit=2))
    assert sorted(one.id for one in listed) == sorted(one.id for one in made)
    assert not hasattr(listed[0], "signing_secret")
    changed = sdk.webhooks.update(made[0].id, name="other", event_types=TYPES[:1])
    assert (changed.name, changed.event_types, changed.url) == ("other", TYPES[:1], "https://h0.example.com")
    assert sdk.webhooks.rotate_secret(made[0].id).signing_secret != made[0].signing_secret
    deleted = sdk.webhooks.delete(made[0].id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made[0].id, "webhook_endpoint.deleted", True)
    with pytest.raises(openai.NotFoundError) as gone:
        sdk.webhooks.retrieve(made[0].id)
    assert gone.value.code == "webhook_endpoint_not_found"
    assert sdk.webhooks.event_types.list().data == [*TYPES, "experiment.decision", "model.retiring", "cost.anomaly"]


def test_an_old_secret_may_sign_too_for_a_day(sdk: OpenAI, local: Stack, host: WebhookHost) -> None:
    endpoint = sdk.webhooks.create(name="mine", url=host.url, event_types=TYPES)
    new = sdk.webhooks.rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True)
    sdk.fine_tuning.jobs.cancel(job(local).id)
    wait_until("the delivery", lambda: host.bodies)
    for secret in (endpoint.signing_secret, new.signing_secret):
        sdk.webhooks.verify_signature(host.bodies[0], host.headers[0], secret=secret)


def test_a_sample_is_sent_at_once_with_what_was_answered(sdk: OpenAI, host: WebhookHost) -> None:
    endpoint = sdk.webhooks.create(name="mine", url=host.url, event_types=TYPES)
    result = sdk.webhooks.test(endpoint.id, event_type="fine_tuning.job.failed")
    assert (result.object, result.status_code, result.success) == ("webhook_endpoint.test", 204, True)
    event = sdk.webhooks.unwrap(host.bodies[0], host.headers[0], secret=endpoint.signing_secret)
    assert event.type == "fine_tuning.job.failed"
    host.statuses = [418]
    assert sdk.webhooks.test(endpoint.id, event_type="fine_tuning.job.failed").status_code == 418


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"name": None}, "name", "missing_required_parameter"),
        ({"url": None}, "url", "missing_required_parameter"),
        ({"event_types": None}, "event_types", "missing_required_parameter"),
        ({"name": ""}, "name", "invalid_value"),
        ({"url": "nowhere"}, "url", "invalid_value"),
        ({"event_types": []}, "event_types", "invalid_value"),
        ({"event_types": ["batch.completed"]}, "event_types", "invalid_value"),
        ({"event_types": "all"}, "event_types", "invalid_type"),
        ({"nonsense": 1}, "nonsense", "unknown_parameter"),
    ],
)
def test_a_fault_in_an_endpoint_is_named(
    fields: dict[str, Any], param: str, code: str, sdk: OpenAI, local: Stack
) -> None:
    body = {"name": "x", "url": "https://hooks.example.com", "event_types": TYPES, **fields}
    answer = local.post("/v1/webhook_endpoints", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)


def test_another_tenants_endpoint_is_none_and_a_key_without_the_scope_gets_nothing(sdk: OpenAI, local: Stack) -> None:
    endpoint = sdk.webhooks.create(name="mine", url="https://hooks.example.com", event_types=TYPES)
    key = local.house.key("acme", "inference")
    local.wait_revision()
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("POST", "/rotate_secret"),
        ("POST", "/test"),
    ):
        texts = []
        for id_ in (endpoint.id, NO_ENDPOINT):
            body = {"json": {"event_type": TYPES[0]}} if path == "/test" else {"json": {}} if method == "POST" else {}
            head = {"Authorization": f"Bearer {local.house.keys['globex']}"}
            url = f"{local.url}/v1/webhook_endpoints/{id_}{path}"
            answer = local.http.request(method, url, headers=head, **cast("Any", body))
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "webhook_endpoint_not_found")
            texts.append(answer.text.replace(id_, "ID"))
            assert local.http.request(method, url, headers={"Authorization": f"Bearer {key}"}).status_code == 403
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x",
        "http://hooks.example.com/",
        "https://127.0.0.1:9/x",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
def test_an_address_that_nothing_would_be_sent_to_is_refused_when_it_is_made_or_changed(
    url: str, client: OpenAI, stack: Stack
) -> None:
    order = {"tenant": "acme", "url": url, "actor": "ada"}
    answer = stack.http.post(f"{stack.url}/admin/v1/webhooks", json=order, headers=stack.operator)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "url")
    good = client.webhooks.create(name="good", url="https://hooks.example.com/", event_types=TYPES)
    for refuses in (
        lambda: client.webhooks.create(name="sly", url=url, event_types=TYPES),
        lambda: client.webhooks.update(good.id, url=url),
    ):
        with pytest.raises(openai.BadRequestError, match="SWITCHYARD_WEBHOOK_NETWORKS") as refused:
            refuses()
        assert refused.value.param == "url"
    assert client.webhooks.retrieve(good.id).url == "https://hooks.example.com/"
    client.webhooks.delete(good.id)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "https://127.0.0.1:9/x", "https://localhost:9/", "https://[::1]/"]
)
def test_a_private_host_is_never_asked_whoever_let_it_be_made(url: str, client: OpenAI, stack: Stack) -> None:
    endpoint, _ = stack.house.registry.webhooks.create("acme", "sly", url, TYPES)
    with pytest.raises(openai.BadRequestError, match="its address is not a public one") as refused:
        client.webhooks.test(endpoint.id, event_type=TYPES[0])
    assert refused.value.code == "webhook_not_delivered"
    client.fine_tuning.jobs.cancel(job(stack).id)
    wait_until(
        "the fault",
        lambda: (
            cast("Any", client.webhooks.retrieve(endpoint.id)).switchyard["fault"]
            == "nothing is sent there: its address is not a public one"
        ),
    )
    client.webhooks.delete(endpoint.id)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_no_way_to_write_a_private_address_is_taken_for_a_public_one(address: str) -> None:
    with pytest.raises(NotAllowed):
        check_address(ip_address(address), encrypted=True, networks=())


def test_public_addresses_need_encryption_and_named_networks_do_not() -> None:
    check_address(ip_address("93.184.216.34"), encrypted=True, networks=())
    check_address(ip_address("2606:4700::1"), encrypted=True, networks=())
    check_address(ip_address("10.1.2.3"), encrypted=False, networks=(ip_network("10.0.0.0/8"),))
    check_address(ip_address("::ffff:10.1.2.3"), encrypted=False, networks=(ip_network("10.0.0.0/8"),))
    with pytest.raises(NotAllowed, match="not https"):
        check_address(ip_address("93.184.216.34"), encrypted=False, networks=(ip_network("10.0.0.0/8"),))


def test_pauses_between_tries_grow_to_a_bound() -> None:
    def wait_s(tenant: str, attempts: int) -> int:
        return wait_ms(Delivery(1, tenant, "evt-1", TYPES[0], None, None, (), b"", attempts)) // 1000

    assert [wait_s("acme", attempts) for attempts in (1, 2, 3, 13, 99)] == [1, 2, 4, 3_600, 3_600]
    assert [wait_s(SYSTEM, attempts) for attempts in (1, 9, 10, 99)] == [1, 256, 300, 300]
    assert max(LEASE_MS, LONGEST_WAIT_S * 1000) < FURTHEST_MS, "longer ones are due to a clock that was put back"


async def test_only_what_tells_of_a_model_waits_until_workers_serve_it(house: House, host: WebhookHost) -> None:
    house.registry.webhooks.create("acme", "mine", host.url, TYPES)
    waits = list[int]()
    to = Destinations(None, None, (ip_network("127.0.0.0/8"),))
    courier = asyncio.create_task(Courier(house.registry.outbox, to, lambda: waits.append(1)).run())
    try:
        with house.registry.db.write() as session:
            for type in TYPES:
                add_event(session, "acme", type, {"id": "ftjob-1"})
        await wait_until_async("all to be told", lambda: len(host.bodies) == len(TYPES))
    finally:
        courier.cancel()
        with suppress(asyncio.CancelledError):
            await courier
    assert waits == [1]


def test_the_operator_makes_lists_rotates_and_deletes_endpoints(
    stack: Stack, admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))

    def done(*arguments: str) -> Any:
        outcome = run("webhooks", *arguments, "--url", stack.url)
        assert outcome.status == 0, outcome.err
        return outcome

    made = done("create", "acme", "https://hooks.example.com/x", "--name", "ops", "--json").document
    assert made["secret"].startswith("whsec_")
    assert made["endpoint"]["url"] in done("list").out
    assert made["secret"] not in done("list", "acme", "--json").out
    rotated = done("rotate", made["endpoint"]["id"], "--keep-old").out
    assert rotated.startswith("whsec_")
    assert made["endpoint"]["id"] in done("delete", made["endpoint"]["id"]).out
    assert admin.get("/webhooks")["webhooks"] == []
    assert admin.refused("DELETE", f"/webhooks/{NO_ENDPOINT}", params={"actor": "ann"})[0] == 404
    actions = [one["action"] for one in admin.get("/actions", tenant="acme", limit=3)["actions"]]
    assert actions == ["webhook.deleted", "webhook.rotated", "webhook.created"]

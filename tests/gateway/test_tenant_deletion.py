"""A tenant is deleted while a gateway serves it: its keys end, what runs may finish, and nobody else notices."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from registry.errors import NotFound
from registry.names import parse_ref
from tests.support.admin_calls import Admin
from tests.support.program import running
from tests.support.stack import CHAT, MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

TENANTS = ("acme", "globex", "initech")
KILLED = """
import os, signal
from registry.service import Registry
with Registry.open() as registry:
    registry.deletions.order("initech")
    next(registry.deletions.empty("initech"), None)  # unless the leader was quicker
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine, one gateway that looks for what is left all the time; every tenant has triage@1.0 in production."""
    with pytest.MonkeyPatch.context() as patch, open_house(tmp_path_factory.mktemp("deletion")) as house:
        patch.setattr("gateway.fleet.duties.deletions.LOOK_S", 0.0)
        patch.setattr("gateway.fleet.placement.DELETED_S", 0.0)
        for name in TENANTS:
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        with run_stack(house, reconcile_interval_s=0.1, end_streams_of_keys=False) as stack:
            stack.wait_resident(*(f"{name}/triage@1.0" for name in TENANTS))
            yield stack


def on_the_engine(stack: Stack) -> str:
    """The folders of all adapters that the engine has."""
    return " ".join(stack.state()["loaded"].values())


def test_its_keys_end_at_once_a_stream_goes_on_to_its_end_and_its_adapter_leaves_the_engine(
    stack: Stack, admin: Admin
) -> None:
    registry = stack.house.registry
    digest = registry.adapters.get(parse_ref("acme/triage@1.0")).manifest_digest
    unknown = stack.chat("triage", key="sk-nobody")
    folder = digest.removeprefix("sha256:")
    assert folder in on_the_engine(stack)
    stack.faults(token_ms=100)
    body = {"model": "triage", "messages": MESSAGES, "max_tokens": 10, "stream": True}
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.stream("POST", stack.url + CHAT, json=body, headers=headers, timeout=DEADLINE_S) as answer:
        lines = answer.iter_lines()
        seen = [next(lines)]
        gone = admin.ask("DELETE", "/tenants/acme", params={"actor": "ann"})
        assert (gone.status_code, gone.json()["in_force"], gone.json()["keys_in_force"]) == (200, True, 0)
        refused = stack.chat("triage")
        assert (refused.status_code, refused.json()) == (401, unknown.json())
        stack.faults(token_ms=0)
        seen += list(lines)
    assert [line for line in seen if line][-1] == "data: [DONE]"
    assert any('"finish_reason":"length"' in line for line in seen), "to its tenth token"
    wait_until("the adapter to leave the engine", lambda: folder not in on_the_engine(stack))
    files = registry.version_files
    wait_until("its folder to go", lambda: digest not in files.laid_out())
    assert not files.is_whole(digest)
    assert stack.chat("triage", key="globex").json()["model"] == "globex/triage@1.0"
    assert wait_until("the books", lambda: stack.house.usage(tenant="acme"))[0]["served_model"] == "acme/triage@1.0"


def test_operators_see_what_would_go_and_what_is_left_and_no_such_tenant(stack: Stack, admin: Admin) -> None:
    registry = stack.house.registry
    registry.tenants.create("umbrella")
    registry.tenants.create_key("umbrella")
    registry.files.create("umbrella", "a.jsonl", "fine-tune", [b"x"])
    found = admin.get("/tenants/umbrella/deletion")
    assert found == {"tenant": "umbrella", "deleted_at_ms": None, "keys_in_force": 1, "left": {"files": 1}}
    head = {**stack.operator, "If-Match": '"another"'}
    url = f"{stack.url}/admin/v1/tenants/umbrella"
    assert stack.http.delete(url, headers=head).status_code == 412
    assert admin.get("/tenants/umbrella")["name"] == "umbrella"
    assert admin.ask("DELETE", "/tenants/umbrella").json()["deleted_at_ms"] is not None
    wait_until("the file to go", lambda: admin.get("/tenants/umbrella/deletion")["left"] == {})
    assert admin.ask("DELETE", "/tenants/umbrella").status_code == 200
    missing = admin.refused("GET", "/tenants/nobody")
    status, error = admin.refused("GET", "/tenants/umbrella")
    assert (status, error["message"].replace("umbrella", "nobody")) == (missing[0], missing[1]["message"])
    assert admin.refused("POST", "/tenants", json={"name": "umbrella"})[0] == 409
    assert "umbrella" not in [tenant["name"] for tenant in admin.get("/tenants")["tenants"]]
    assert admin.refused("DELETE", "/tenants/nobody")[0] == 404


def test_what_a_killed_command_left_the_leader_removes(stack: Stack) -> None:
    registry, settings = stack.house.registry, stack.house.settings
    for number in range(3):
        registry.files.create("initech", f"{number}.jsonl", "fine-tune", [b"x"])
    environment = {**os.environ, "SWITCHYARD_STATE_DIR": str(settings.state_dir)}
    killed = subprocess.run(running(KILLED), env=environment, check=False, timeout=60)
    assert killed.returncode == -9
    wait_until("the rest to go", lambda: registry.deletions.look("initech").left == {})
    assert not list((settings.state_dir / "blobs" / "tenant-files").glob("*/*"))
    with pytest.raises(NotFound):
        registry.tenants.get("initech")
    assert json.loads(stack.chat("triage", key="globex").text)["model"] == "globex/triage@1.0"

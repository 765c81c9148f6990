"""`switchyard engines`: list, add and remove them; take one out of traffic and back in. Over the admin API."""

from __future__ import annotations

import time
from typing import Any

import typer

from registry.errors import RegistryError
from switchyard.commands.engine_tables import print_engines
from switchyard.console import actor, live, print_done, print_json
from switchyard.options import JsonFlag, UrlOption

engines = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List engines; add and remove them; take one out of traffic."
)

POLL_S = 0.25


@engines.command("list")
def list_engines(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """List engines: state, load, places, and orders in force."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.get("/engines")
    if json_output:
        print_json(document["engines"])
    else:
        print_engines(document["engines"])


@engines.command()
def add(
    engine: str = typer.Argument(help="The engine's URL, http://host:port."),
    base: str | None = typer.Option(None, "--base", help="Base model that it serves; default: as the settings say."),
    platform: str | None = typer.Option(None, "--platform", help="Its hardware, cpu or gpu."),
    max_cpu_loras: int | None = typer.Option(None, "--max-cpu-loras", help="As it was started with."),
    max_num_seqs: int | None = typer.Option(
        None, "--max-num-seqs", help="Requests that it runs at once, as it was started with."
    ),
    prompt_logprobs: bool | None = typer.Option(
        None, "--prompt-logprobs/--no-prompt-logprobs", help="Whether it survives log-probabilities of prompts."
    ),
    key_variable: str | None = typer.Option(
        None,
        "--key-variable",
        help="Environment variable of every gateway process that holds its --api-key: SWITCHYARD_ENGINE_KEY_….",
    ),
    kind: str | None = typer.Option(None, "--kind", help="What it is; default: vllm."),
    id_: str | None = typer.Option(None, "--id", help="What usage rows know it by, wherever it is; default: its URL."),
    pool: str | None = typer.Option(None, "--pool", help="Engines that are paid for together, for `switchyard cost`."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Serve from one more engine, without a restart. It takes traffic when it has shown what it is."""
    from gateway.admin_client import admin_client

    order = {
        "base": base,
        "platform": platform,
        "max_cpu_loras": max_cpu_loras,
        "max_num_seqs": max_num_seqs,
        "prompt_logprobs": prompt_logprobs,
        "key_variable": key_variable,
        "id": id_,
        "pool": pool,
    }
    if kind is not None:
        order["kind"] = kind
    with admin_client(url) as admin:
        done = admin.post("/engines", url=engine, actor=actor(), **order)
    print_done(done, f"{done['url']} is in the fleet; `switchyard engines list` shows its state", json_output)


@engines.command()
def remove(
    engine: str = typer.Argument(help="The engine's URL, as `engines list` shows it."),
    wait: bool = typer.Option(False, "--wait", help="Return when no request runs on it any more and it has left."),
    timeout_s: float = typer.Option(300.0, "--timeout", help="Longest wait, in seconds."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let an engine go that was added: what runs on it finishes, nothing new begins, then it leaves the fleet."""
    from gateway.admin_client import admin_client

    began = time.monotonic()
    with admin_client(url) as admin:
        done = admin.delete("/engines", url=engine, actor=actor())
        while wait and _is_in_fleet(admin, done["url"]):
            if time.monotonic() - began > timeout_s:
                raise RegistryError(f"{done['url']} has not left after {timeout_s:g} s; it takes no new requests")
            time.sleep(POLL_S)
    left = "has left the fleet" if wait else "takes no new requests, and leaves the fleet when none runs on it any more"
    print_done(done, f"{done['url']} {left}", json_output)


@engines.command()
def drain(
    engine: str = typer.Argument(help="The engine's URL, as `engines list` shows it."),
    reason: str = typer.Option("", "--reason", help="Kept with the order."),
    wait: bool = typer.Option(False, "--wait", help="Return when no request runs on it any more."),
    timeout_s: float = typer.Option(300.0, "--timeout", help="Longest wait, in seconds."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Take an engine out of traffic: what runs on it finishes, nothing new begins. Holds until `engines resume`."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        order = admin.post("/engines/drain", url=engine, reason=reason, actor=actor())
        if not wait:
            print_done(
                order, f"{order['url']} takes no new requests; `engines drain --wait` waits for the last", json_output
            )
            return
        began = time.monotonic()
        with live(f"{order['url']}: no new requests") as line:
            watch = _DrainWatch(admin, order["url"])
            while (left := watch.requests_left()) != 0:
                line.update(
                    f"{order['url']}: {'waiting for the controller' if left is None else f'{left} requests left'}"
                )
                if time.monotonic() - began > timeout_s:
                    running = "an unknown number of" if left is None else left
                    raise RegistryError(
                        f"{running} requests still run on {order['url']} after {timeout_s:g} s; it takes no new ones"
                    )
                time.sleep(POLL_S)
    waited_s = round(time.monotonic() - began, 2)
    print_done({**order, "waited_s": waited_s}, f"{order['url']} is empty after {waited_s:.1f} s", json_output)


@engines.command()
def resume(
    engine: str = typer.Argument(help="The engine's URL, as `engines list` shows it."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let an engine take traffic again."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        done = admin.post("/engines/resume", url=engine)
    again = "takes traffic again" if done["was_drained"] else "was not drained"
    print_done(done, f"{done['url']} {again}", json_output)


def _is_in_fleet(admin: Any, url: str) -> bool:
    from gateway.admin_client import ControllerAway

    try:
        return any(one["url"] == url for one in admin.get("/engines")["engines"])
    except ControllerAway:
        return True


class _DrainWatch:
    """Tells when an engine is empty for sure: no worker can send it anything any more, and none counts a request."""

    def __init__(self, admin: Any, url: str) -> None:
        self._admin = admin
        self._url = url
        self._out_since: tuple[int, int] | None = None
        """Term and view revision in which the engine was seen out of the routes first."""

    def requests_left(self) -> int | None:
        """0 when it is empty, `None` while that cannot be known."""
        from gateway.admin_client import ControllerAway
        from gateway.engines.engine import TAKES_TRAFFIC

        try:
            document = self._admin.get("/fleet")
        except ControllerAway:
            return None
        leader = document["controller"]
        engine = next((one for one in document["engines"] if one["url"] == self._url), None)
        if engine is None or engine["state"] in TAKES_TRAFFIC:
            return None
        if self._out_since is None or self._out_since[0] != leader["token"]:
            self._out_since = leader["token"], leader["view_revision"]
        workers = document["workers"]
        confirmed = all(one["linked"] and one["view_revision"] >= self._out_since[1] for one in workers)
        in_flight: int = engine["in_flight"]
        return in_flight if confirmed or in_flight else None

"""`switchyard engines`: list them; take one out of traffic and back in. Over the admin API."""

from __future__ import annotations

import time
from typing import Any

import typer

from registry.errors import RegistryError
from switchyard.commands.engine_tables import print_engines
from switchyard.console import actor, live, print_done, print_json
from switchyard.options import JsonFlag, UrlOption

engines = typer.Typer(add_completion=False, no_args_is_help=True, help="List engines; take one out of traffic.")

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

"""`switchyard fleet`, `engines`, `residency`, `quarantine`: what an operator sees and orders, over the admin API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from registry.console import JsonFlag, actor, live, print_done, print_json, print_table, say, when
from registry.errors import RegistryError

engines = typer.Typer(add_completion=False, no_args_is_help=True, help="List engines; take one out of traffic.")
quarantine = typer.Typer(add_completion=False, no_args_is_help=True, help="Versions that no engine may have.")

UrlOption = typer.Option(
    None,
    "--url",
    help="Where a gateway listens; default: the one that runs on this state folder, or by SWITCHYARD_HOST and _PORT.",
)
Version = typer.Argument(help="tenant/adapter@1.0.")
POLL_S = 0.25
HOT_SHOWN = 10


@engines.command("list")
def list_engines(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """List engines: state, load, places, and orders in force."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.get("/engines")
    if json_output:
        print_json(document["engines"])
    else:
        _print_engines(document["engines"])


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


def fleet(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Show the fleet on one screen: controller, workers, engines, and the adapters that are asked for most."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.get("/fleet")
    if json_output:
        print_json(document)
        return
    leader = document["controller"]
    say(f"controller {leader['holder'] or 'pid ' + str(leader['pid'])}, term {leader['token']}")
    if document["swaps"]:
        say(f"swaps in progress: {', '.join(map(str, document['swaps']))}")
    say()
    print_table(
        ("WORKER", "LINKED", "IN FLIGHT", "CATALOG", "AT"),
        (
            (one["id"], "yes" if one["linked"] else "no", one["in_flight"], one["catalog_revision"], one["url"])
            for one in document["workers"]
        ),
    )
    say()
    _print_engines(document["engines"])
    say()
    _print_hot(document["engines"], document["copies"])


def residency(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Show which version lives on which engine: its requests there; `home` where it should live and does not."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.pages("/residency", "rows")
    if json_output:
        print_json(document)
        return
    columns = document["engines"]
    print_table(
        ("VERSION", "HOMES", *(_short(column) for column in columns)),
        (
            (row["version"], row["copies"], *(_cell(row["engines"].get(column)) for column in columns))
            for row in document["rows"]
        ),
        empty="no version is resident, and no alias points at one",
    )


@quarantine.command("list")
def list_quarantined(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """List versions in quarantine, and why."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        found = admin.get("/quarantine")["quarantined"]
    if json_output:
        print_json(found)
        return
    print_table(
        ("VERSION", "ALIASES", "REASON"),
        ((one["version"], ", ".join(one["aliases"]) or None, one["reason"]) for one in found),
        empty="no version is in quarantine",
    )


@quarantine.command()
def put(
    version: str = Version,
    reason: str = typer.Option(..., "--reason", help="Why; the tenant's clients get to read it."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Keep a version from every engine: its requests get a 503 with the reason."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        done = admin.post("/quarantine", version=version, reason=reason)
    print_done(done, f"{done['version']} is in quarantine{_pending(done)}", json_output)


@quarantine.command()
def release(version: str = Version, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Let a version be served again; the engine that loads it must prove it anew."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        done = admin.post("/quarantine/release", version=version)
    said = "is released" if done["changed"] else "was not in quarantine"
    print_done(done, f"{done['version']} {said}{_pending(done)}", json_output)


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
        from gateway.fleet.wire import TAKES_TRAFFIC

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


def _print_engines(found: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("ENGINE", "STATE", "IN FLIGHT", "RUNNING", "QUEUE", "KV", "PLACES", "VLLM", "BOOTED", "WHY"),
        (
            (
                engine["url"],
                engine["state"],
                engine["in_flight"],
                _whole(engine["running"]),
                _whole(engine["waiting"]),
                None if engine["kv_usage"] is None else f"{engine['kv_usage']:.0%}",
                None if engine["places_used"] is None else f"{engine['places_used']}/{engine['places']}",
                engine["version"],
                None if engine["boot_s"] is None else when(int(engine["boot_s"] * 1000)),
                _why(engine),
            )
            for engine in found
        ),
        empty="the gateway has no engines; name them in SWITCHYARD_ENGINES",
    )


def _why(engine: Mapping[str, Any]) -> str | None:
    order = engine["drain"]
    drained = f"drained by {order['actor']}{': ' + order['reason'] if order['reason'] else ''}" if order else None
    return "; ".join(part for part in (engine["fault"], drained) if part) or None


def _print_hot(found: Sequence[Mapping[str, Any]], copies: Mapping[str, int]) -> None:
    heat: dict[str, float] = {}
    where: dict[str, list[str]] = {}
    in_flight: dict[str, int] = {}
    for engine in found:
        for entry in engine["resident"]:
            name = entry["version"] or f"version id {entry['version_id']}"
            heat[name] = entry["requests_per_s"]
            where.setdefault(name, []).append(_short(engine["url"]))
            in_flight[name] = in_flight.get(name, 0) + entry["in_flight"]
    hottest = sorted((name for name in heat if heat[name] > 0), key=lambda name: -heat[name])
    print_table(
        ("HOT ADAPTER", "REQUESTS/S", "IN FLIGHT", "HOMES", "RESIDENT ON"),
        (
            (name, f"{heat[name]:.1f}", in_flight[name], copies.get(name, 1), " ".join(where[name]))
            for name in hottest[:HOT_SHOWN]
        ),
        empty=f"{len(heat)} adapters are resident, and none was asked for in the last seconds",
    )


def _cell(cell: Mapping[str, Any] | None) -> str | None:
    if cell is None:
        return None
    if cell["resident"]:
        return str(cell["in_flight"])
    return "home" if cell["home"] else None


def _short(url: str) -> str:
    return url.partition("://")[2] or url


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _pending(done: Mapping[str, Any]) -> str:
    return "" if done["in_force"] else "; not every gateway worker has it in force yet"

"""`switchyard dashboard`: the gateway in a browser; and links that log in to it once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from registry.errors import RegistryError
from switchyard.console import say
from switchyard.options import MAX_PORT

if TYPE_CHECKING:
    from dashboard.settings import DashboardSettings
    from gateway.settings import GatewaySettings
    from gateway.up import DashboardPlace

LINK_TIMEOUT_S = 15.0
STDOUT = 1
dashboard = typer.Typer(add_completion=False, invoke_without_command=True)


@dashboard.callback()
def run(
    context: typer.Context,
    host: str | None = typer.Option(None, "--host", help="Address to listen on; default 127.0.0.1."),
    port: int | None = typer.Option(None, "--port", min=1, max=MAX_PORT, help="Port to listen on; default 8003."),
    url: str | None = typer.Option(
        None, "--url", help="The gateway's admin API; default: of the gateway that runs on this state folder."
    ),
) -> None:
    """Show a gateway in the browser: a process of its own, which knows the admin API alone.

    Prints where it is, with a link that logs in once, if the operator's key is in SWITCHYARD_ADMIN_KEY or in the state
    folder. Everybody else logs in with a key of their own.
    """
    settings = settings_of(host, port, url)
    if context.invoked_subcommand is not None:
        context.obj = settings
        return
    from gateway.checks import check_port

    check = check_port("dashboard port", settings.dashboard_host, settings.dashboard_port, "--port")
    if not check.ok:
        say(f"error: {check.name}: {check.found}; {check.remedy}", err=True)
        raise typer.Exit(1)
    if not _serve(settings):
        raise typer.Exit(1)


@dashboard.command("link")
def link(context: typer.Context) -> None:
    """Print another link that logs in once, to the dashboard that runs."""
    say(new_link(context.obj, _known_key()))


def settings_of(host: str | None, port: int | None, url: str | None) -> DashboardSettings:
    """What is set, with what was typed before it; and the gateway that runs here where none is named."""
    from dashboard.settings import DashboardSettings
    from gateway.serving.running import gateway_of
    from gateway.settings import GatewaySettings

    given = {"dashboard_host": host, "dashboard_port": port, "dashboard_admin_url": url and url.rstrip("/")}
    settings = DashboardSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if "dashboard_admin_url" in settings.model_fields_set:
        return settings
    gateway_settings = GatewaySettings()
    running = gateway_of(gateway_settings)
    found = (gateway_settings.admin_url, gateway_settings.url) if running is None else (running.admin_url, running.url)
    serving = settings.dashboard_serving_url or found[1]
    return settings.model_copy(update={"dashboard_admin_url": found[0], "dashboard_serving_url": serving})


def place_of(gateway_settings: GatewaySettings) -> DashboardPlace:
    """The dashboard of a gateway that is to be started with these settings."""
    from functools import partial

    from dashboard.settings import DashboardSettings
    from gateway.up import DashboardPlace

    settings = DashboardSettings()
    environment = {
        "SWITCHYARD_DASHBOARD_ADMIN_URL": gateway_settings.admin_url,
        "SWITCHYARD_DASHBOARD_SERVING_URL": gateway_settings.url,
    }
    host, port = settings.dashboard_host, settings.dashboard_port
    return DashboardPlace(host, port, settings.url, environment, partial(new_link, settings), os.isatty(STDOUT))


def new_link(settings: DashboardSettings, key: str) -> str:
    """Ask the dashboard that runs for one. Raises `RegistryError`."""
    import httpx

    try:
        answer = httpx.post(
            f"{settings.url}/login-links",
            headers={"Authorization": f"Bearer {key}"},
            timeout=LINK_TIMEOUT_S,
            trust_env=False,
        )
        document = answer.json()
        if answer.is_success:
            return str(document["url"])
        said = str(document["error"]["message"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"no dashboard answers at {settings.url} ({error}); start one with `switchyard dashboard`, or say with "
            "--port where it is"
        ) from error
    raise RegistryError(f"the dashboard at {settings.url} gives no link: {said}")


def _serve(settings: DashboardSettings) -> bool:
    """Until a signal; whether it could listen."""
    from starlette.applications import Starlette

    from dashboard.faults import Fault
    from dashboard.login import make_link
    from dashboard.serve import serve

    try:
        key = _known_key()
    except RegistryError:
        key = ""

    async def greet(app: Starlette) -> None:
        """Not into a log: who reads it could log in."""
        say(f"dashboard at {settings.url}, of the gateway at {settings.dashboard_admin_url}")
        if not os.isatty(STDOUT):
            say("log in    with an operator's key, or by a link: `switchyard dashboard link`")
            return
        try:
            say(f"log in    {await make_link(app.state.dashboard, key)}" if key else "log in    with an operator's key")
        except Fault as fault:
            say(f"log in    with an operator's key ({fault})")

    return serve(settings, greet)


def _known_key() -> str:
    from gateway.admin_key import known_admin_key
    from gateway.settings import GatewaySettings

    return known_admin_key(GatewaySettings())

"""`switchyard gateway` with its `worker` and `controller`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from switchyard.console import say
from switchyard.imports import quick_imports
from switchyard.options import MAX_PORT

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

TokenOption = typer.Option(None, "--token", hidden=True, help="What tells this process from others; default: random.")


def gateway(
    host: str | None = typer.Option(None, "--host", help="Address to listen on; default 127.0.0.1."),
    port: int | None = typer.Option(None, "--port", min=1, max=MAX_PORT, help="Port to listen on; default 8000."),
    engine: list[str] | None = typer.Option(None, "--engine", help="Engine URL http://host:port; repeatable."),
    workers: int | None = typer.Option(
        None, "--workers", min=1, max=64, help="Processes that serve; with more than 1 the controller has its own."
    ),
) -> None:
    """Run the gateway in front of engines that run already. Everything else is set by SWITCHYARD_* (see the README)."""
    from gateway.admin_key import admin_key
    from gateway.fleet.sources import declared_fleet
    from gateway.serving.running import remembered
    from gateway.settings import GatewaySettings
    from registry.service import Registry

    settings = GatewaySettings()
    settings = settings.model_copy(
        update={
            "host": host or settings.host,
            "port": port or settings.port,
            "engines": engine or settings.engines,
            "workers": workers or settings.workers,
        }
    )
    _refuse_unless_addresses_are_free(settings)
    with Registry.open(settings) as registry:
        declared_fleet(registry, settings)  # read again where it is used; here a person gets one sentence
        admin_key(settings)  # likewise
        if settings.workers > 1:
            with quick_imports():  # all that its children need
                import gateway.api.admin.router
                import gateway.serving.one_process  # noqa: F401
                from gateway.serving.processes import run_family
                from telemetry.logs import log_to_stderr

                registry.load()
            log_to_stderr(settings)
            with remembered(settings):
                run_family(settings, registry, _command)
            return
    with quick_imports():
        from gateway.serving.one_process import serve

    with remembered(settings):
        serve(settings)


def worker(
    fd: list[int] = typer.Option(..., "--fd", help="An inherited descriptor of a socket to accept from; repeatable."),
    token: str | None = TokenOption,
) -> None:
    """One serving process of `gateway --workers N`, which starts it; the fleet's controller is another process."""
    with quick_imports():
        from gateway.serving.one_process import serve
        from gateway.settings import GatewaySettings

    serve(GatewaySettings(), inherited=fd, token=token)


def controller(token: str | None = TokenOption) -> None:
    """Run only the fleet's controller, or stand by to be the next; for workers and replicas that do not lead."""
    import asyncio

    with quick_imports():
        from gateway.serving.processes import lead
        from gateway.settings import GatewaySettings
        from registry.service import Registry
        from telemetry.logs import log_to_stderr

    settings = GatewaySettings()
    log_to_stderr(settings)
    with Registry.open(settings) as registry:
        registry.load()
        asyncio.run(lead(settings, registry, token))


def _command(arguments: list[str]) -> None:
    """What `switchyard` does with these arguments, in a process that has imported it already."""
    from switchyard.command_line import main

    sys.argv = ["switchyard", *arguments]
    main()


def _refuse_unless_addresses_are_free(settings: GatewaySettings) -> None:
    """Raise `InvalidInput`, or leave with what to do, when it could not listen where it is to."""
    from gateway import checks

    if settings.admin_port == settings.port:
        raise InvalidInput(
            f"admin_listen and the gateway have the same port, {settings.port}; give one of them another",
            param="admin_listen",
        )
    wanted = [checks.check_port("gateway port", settings.host, settings.port, "SWITCHYARD_PORT or --port")]
    if settings.admin_address is not None:
        wanted.append(checks.check_port("admin port", *settings.admin_address, "SWITCHYARD_ADMIN_LISTEN"))
    for check in wanted:
        if not check.ok:
            say(f"error: {check.name}: {check.found}; {check.remedy}", err=True)
            raise typer.Exit(1)

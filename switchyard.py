"""The `switchyard` command: each package brings its own commands, imported only when one of them is called."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("gateway.up:up", "Start engine and gateway with two sample tenants; Ctrl-C stops all."),
    "gateway": ("gateway.cli:gateway", "Run the gateway alone, in front of engines given by URL."),
    "controller": ("gateway.cli:controller", "Run only the fleet's controller, beside gateways that do not lead."),
    "worker": ("gateway.cli:worker", "One serving process; `gateway --workers N` starts these."),
    "adapters": ("registry.cli:adapters", "Publish, import, prove, list, show, promote, roll back, split, history."),
    "swaps": ("registry.swaps_cli:swaps", "Show what promotes and rollbacks did to traffic."),
    "fleet": ("gateway.admin_cli:fleet", "Show controller, workers, engines and hot adapters on one screen."),
    "engines": ("gateway.admin_cli:engines", "List engines; take one out of traffic and back in."),
    "residency": ("gateway.admin_cli:residency", "Show which adapter lives on which engine, and where it should."),
    "quarantine": ("gateway.admin_cli:quarantine", "List, put and release versions that no engine may have."),
    "tenants": ("registry.cli:tenants", "Create tenants and map external model names."),
    "keys": ("registry.cli:keys", "Create, list and revoke API keys."),
    "limits": ("registry.money_cli:limits", "Set and list what tenants, keys and adapters may use."),
    "tariff": ("registry.money_cli:tariff", "Add and list dated token prices of bases, tenants and adapters."),
    "base": ("trainer.cli:base", "Prepare and register base models."),
    "train": ("trainer.cli:train", "Train an adapter from a recipe, prove it and publish it."),
    "usage": ("gateway.cost.usage_cli:usage", "Show who used what: by tenant, adapter, version, key or day."),
    "ledger": ("gateway.cost.ledger_cli:ledger", "Prove that no usage is lost or counted twice; correct what is."),
    "cost": ("gateway.cost.cli:cost", "Report what was used and what it cost against an API."),
    "explain": ("gateway.cli:explain", "Show step by step what a model name resolves to, and why."),
    "doctor": ("gateway.doctor:doctor", "Check this machine and installation, and say what to do."),
}

BORROWED: dict[str, dict[str, tuple[str, str]]] = {
    "adapters": {
        "import": ("trainer.import_cli:import_", "Import somebody else's adapter: repair it, publish it, prove it."),
        "prove": ("trainer.cli:prove", "Measure what a version does to its base, so that engines can be held to it."),
    }
}
"""Commands of a group that another package brings; they too are imported only when they are called."""


class BorrowedCommand(TyperCommand):
    """Stands in a group for a command of another package until it is called."""

    def __init__(self, name: str, source: str, text: str) -> None:
        super().__init__(name, help=text)
        self._source = source

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which is what runs."""
        return command_of(self._source).make_context(info_name, args, parent, **extra)


def command_of(source: str) -> Any:
    """Import `module:attribute` and make a command of it: a typer group or one function."""
    from registry.typed import name_as_typed

    module, attribute = source.split(":")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(found)
        found = single
    command = typer.main.get_command(found)
    name_as_typed(command)
    return command


class LazyCommands(TyperGroup):
    """Knows every command's name and one-line help without importing the package behind it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of a newcomer's day."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the package that brings the command."""
        if cmd_name not in COMMANDS:
            return None
        command = command_of(COMMANDS[cmd_name][0])
        command.name = cmd_name
        if isinstance(command, TyperGroup):
            for name, (source, text) in BORROWED.get(cmd_name, {}).items():
                command.add_command(BorrowedCommand(name, source, text))
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands from the table, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


cli = typer.Typer(
    cls=LazyCommands,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would print local variables, and with them keys
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        import importlib.metadata

        from registry.console import say

        say(f"switchyard {importlib.metadata.version('switchyard')}")
        raise typer.Exit


@cli.callback()
def root(version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True)) -> None:
    """OpenAI-compatible serving for many tenants' LoRA adapters on vLLM."""


def main() -> None:
    """Entry point: every expected error is one sentence on stderr and exit status 1."""
    from registry.console import say
    from registry.errors import AdapterRefused, RegistryError

    os.umask(0o077)  # keys, usage and prompts of others lie in what is written
    try:
        cli()
    except AdapterRefused as error:
        say("adapter refused:", err=True)
        for finding in error.findings:
            say(f"  {finding}", err=True)
        sys.exit(1)
    except RegistryError as error:
        say(f"error: {error.message}", err=True)
        sys.exit(1)
    except ValueError as error:
        fault = fault_of_settings(error)
        if fault is None:
            raise
        say(f"error: {fault}", err=True)
        sys.exit(1)


def fault_of_settings(error: ValueError) -> str | None:
    """What is wrong with `SWITCHYARD_*` or switchyard.toml, in one sentence; `None` for any other error."""
    from tomllib import TOMLDecodeError

    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    if isinstance(error, ValidationError) and error.title.endswith("Settings"):
        deepest = max(error.errors(), key=lambda one: len(one["loc"]))  # of a union's members the one that was meant
        name, *below = (str(part) for part in deepest["loc"] if part not in ("str", "EngineSettings"))
        path = ".".join([f"SWITCHYARD_{name.upper()}", *below])
        return f"{path} is {_without_secrets(path, deepest['input'])}: {deepest['msg']}"
    if isinstance(error, TOMLDecodeError):
        return f"switchyard.toml: {error}"
    return f"SWITCHYARD_*: {error}" if isinstance(error, SettingsError) else None


def _without_secrets(path: str, value: object) -> str:
    """A setting's value as it may be shown: no key, no secret, no password in a URL."""
    if re.search("key|secret", path, re.IGNORECASE):
        return "…"
    shown = re.sub("(api_key.*?:).*", r"\1 …", repr(value))
    return re.sub(r"""(?<=://)[^/@'"]*@""", "…@", shown)


if __name__ == "__main__":
    main()

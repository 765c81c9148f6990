"""The entry point: which commands there are, each imported only when it is called, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from switchyard.imports import quick_imports

LIBRARIES = {
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # else it reads the metadata of every package to look for some
    "TQDM_DISABLE": "1",  # how far something is, our own lines tell
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""What the environment tells libraries, here and in processes that are started from here, unless it does already."""

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up:up", "Start engine, gateway, trainer and dashboard with two sample tenants; Ctrl-C stops all."),
    "gateway": ("gateway:gateway", "Run the gateway alone, in front of engines given by URL."),
    "controller": ("gateway:controller", "Run only the fleet's controller, beside gateways that do not lead."),
    "worker": ("gateway:worker", "One serving process; `gateway --workers N` starts these."),
    "dashboard": ("dashboard:dashboard", "Show a gateway in the browser; log in by a link or an operator's key."),
    "adapters": (
        "adapters:adapters",
        "Publish, import, prove, list, show, compare, promote, roll back, split, export.",
    ),
    "experiments": (
        "experiments:experiments",
        "Try versions on live traffic: ramp, compare, roll back, promote.",
    ),
    "swaps": ("swaps:swaps", "Show what promotes and rollbacks did to traffic."),
    "fleet": ("fleet:fleet", "Show controller, workers, engines and hot adapters on one screen."),
    "attention": ("attention:attention", "Show what is wrong or waits for somebody, with what to do."),
    "traffic": ("traffic:traffic", "Show requests, errors and latencies of the last minutes or hours."),
    "engines": ("engines:engines", "List engines; take one out of traffic and back in."),
    "residency": ("residency:residency", "Show which adapter lives on which engine, and where it should."),
    "quarantine": ("quarantine:quarantine", "List, put and release versions that no engine may have."),
    "tenants": ("tenants:tenants", "Create tenants and map external model names."),
    "responses": ("responses:responses", "Show and delete what is stored of tenants' Responses; change their key."),
    "feedback": ("feedback:feedback", "Count and delete what came of tenants' answers."),
    "files": ("files:files", "List, show, add and delete tenants' files; change their key."),
    "keys": ("keys:keys", "Create, list, rotate and revoke API keys."),
    "operators": ("operators:operators", "Create, list and revoke keys of people and programs that operate this."),
    "audit": ("audit:audit", "Show who ordered what and what it changed, and prove that nobody has touched the log."),
    "limits": ("limits:limits", "Set and list what tenants, keys and adapters may use."),
    "tariff": ("tariff:tariff", "Add and list dated token prices of bases, tenants and adapters."),
    "base": ("base:base", "Prepare and register base models."),
    "data": ("data:data", "Check, convert, split and measure training rows; generate and review them."),
    "jobs": ("jobs:jobs", "List, follow and steer tenants' fine-tuning jobs."),
    "webhooks": ("webhooks:webhooks", "Addresses that are told what became of tenants' jobs."),
    "train": ("train:train", "Train an adapter from a recipe, prove it and publish it."),
    "trainer": ("trainer:trainer", "Take fine-tuning jobs and carry them out; as many of these as you like."),
    "evaluate": ("evaluate:evaluate", "Compare a version with the one in production, through the gateway."),
    "advise": ("advise:advise", "Say whether to prompt, retrieve or fine-tune, and where to begin."),
    "quote": ("quote:quote", "Say what a recipe will take: tokens, memory, time, cost."),
    "plan-gpu": ("plan_gpu:plan_gpu", "Say which GPUs hold a model's training, beside rules of thumb."),
    "gates": ("gates:gates", "Set what a version must have shown before it is promoted."),
    "usage": ("usage:usage", "Show who used what: by tenant, adapter, version, key or day."),
    "ledger": ("ledger:ledger", "Prove that no usage is lost or counted twice; correct what is."),
    "cost": ("cost:cost", "Report what usage was charged, what it cost, and what APIs would have cost."),
    "explain": ("explain:explain", "Show step by step what a model name resolves to, and why."),
    "doctor": ("doctor:doctor", "Check this machine and installation, and say what to do."),
}
"""Name → what in `switchyard.commands` brings it, and its line in `--help`; in the order of a newcomer's day."""


SERVES = frozenset({"up", "gateway", "controller", "worker", "trainer"})
"""Commands that go on and on: what they write is nobody's order."""


def command_called(name: str) -> Any:
    """Import the command of that name: a group, or one function."""
    from switchyard.help_text import let_flow
    from switchyard.missing import name_all_missing
    from switchyard.numbers import bound_numbers
    from switchyard.ordering import write_down_orders
    from switchyard.typed import name_as_typed

    module, _, attribute = COMMANDS[name][0].partition(":")
    with quick_imports():
        found = getattr(importlib.import_module(f"switchyard.commands.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(found)
        found = single
    command = typer.main.get_command(found)
    bound_numbers(command)
    name_as_typed(command)
    name_all_missing(command)
    let_flow(command)
    if name not in SERVES:
        write_down_orders(command)
    command.name = name
    return command


class LazyCommands(TyperGroup):
    """Knows every command's name and one-line help without importing the file behind it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of a newcomer's day."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the file that brings the command."""
        return command_called(cmd_name) if cmd_name in COMMANDS else None

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

        from switchyard.console import say

        say(f"switchyard {importlib.metadata.version('switchyard')}")
        raise typer.Exit


@cli.callback()
def root(version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True)) -> None:
    """OpenAI-compatible serving for many tenants' LoRA adapters on vLLM."""


def main() -> None:
    """Entry point: every expected error is one sentence on stderr and exit status 1."""
    from registry.errors import AdapterRefused, RegistryError
    from switchyard.console import say

    for name, value in LIBRARIES.items():
        os.environ.setdefault(name, value)
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
        shown = "…" if _is_hidden(error.title, name) else _without_secrets(path, deepest["input"])
        return f"{path} is {shown}: {deepest['msg']}"
    if isinstance(error, TOMLDecodeError):
        return f"switchyard.toml: {error}"
    return f"SWITCHYARD_*: {error}" if isinstance(error, SettingsError) else None


def _is_hidden(settings: str, field: str) -> bool:
    """Whether a field of a class of settings is not to be shown, whatever is in it."""
    from registry.settings import SwitchyardSettings

    classes = [SwitchyardSettings]
    for one in classes:
        classes += one.__subclasses__()
    return any(
        field in one.model_fields and not one.model_fields[field].repr for one in classes if one.__name__ == settings
    )


def _without_secrets(path: str, value: object) -> str:
    """A setting's value as it may be shown: no key, no secret, no password in a URL."""
    if re.search("key|secret", path, re.IGNORECASE):
        return "…"
    shown = re.sub("(api_key.*?:).*", r"\1 …", repr(value))
    return re.sub(r"""(?<=://)[^/@'"]*@""", "…@", shown)
